//! The network-status annotation (multi-net-spec v1.3, 5): what a pod has got, one entry per interface, in the order of
//! attachment. Key names and text are those every consumer of Multus reads.

use crate::device::DeviceInfo;
use serde::{Deserialize, Serialize};
use serde_json::ser::{PrettyFormatter, Serializer};
use std::net::IpAddr;

/// The annotation's key.
pub const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// One interface of a pod, in the order of keys in which Multus prints them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Entry {
    /// `namespace/name` of the NAD, or the name of the cluster's default network.
    pub name: String,
    /// Interface inside the pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Addresses, without prefix length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpAddr>,
    /// Hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Largest packet, bytes; 0 when it is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mtu: u32,
    /// Whether it is the interface of the pod's default network; required by the specification, of exactly one entry.
    #[serde(default)]
    pub default: bool,
    /// Name servers the network brings.
    #[serde(default)]
    pub dns: Dns,
    /// The device behind the interface.
    #[serde(rename = "device-info", default, skip_serializing_if = "Option::is_none")]
    pub device_info: Option<DeviceInfo>,
    /// Gateways of the pod's default routes through this interface, under the name Multus gives them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway: Vec<IpAddr>,
    /// The same gateways under the name the specification gives them.
    #[serde(rename = "default-route", default, skip_serializing_if = "Vec::is_empty")]
    pub default_route: Vec<IpAddr>,
}

/// Name servers and the search path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains to search in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// What one network has made of a pod, as the status needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attached {
    /// `namespace/name` of the NAD, or the name of the cluster's default network.
    pub name: String,
    /// The interface that was asked for; used when the plugins do not say which they made.
    pub ifname: String,
    /// The interfaces inside the pod, in the order of the result.
    pub interfaces: Vec<Interface>,
    /// Addresses that the result ties to no interface.
    pub ips: Vec<IpAddr>,
    /// Gateways of the pod's default routes through this network.
    pub gateways: Vec<IpAddr>,
    /// Whether it is the pod's default network.
    pub default: bool,
    /// Name servers.
    pub dns: Dns,
    /// The device behind the first interface.
    pub device_info: Option<DeviceInfo>,
}

/// One interface inside the pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Its MTU, bytes; 0 when it is not known.
    pub mtu: u32,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Whether one of its addresses has a gateway: then it is the one a default network is reached through.
    pub has_gateway: bool,
}

/// The entries of a pod: one per interface, or a minimal one for a network whose plugins name none
/// (multi-net-spec 5.1.1). Exactly one of them is the default.
pub fn entries(attached: impl IntoIterator<Item = Attached>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = attached.into_iter().flat_map(of_one).collect();
    let mut taken = false;
    for entry in &mut entries {
        entry.default = entry.default && !taken;
        taken |= entry.default;
    }
    entries
}

/// The entries of one network: what belongs to the network as a whole goes to its main interface.
fn of_one(mut network: Attached) -> Vec<Entry> {
    if network.interfaces.is_empty() {
        network.interfaces.push(Interface { name: network.ifname.clone(), ..Interface::default() });
    }
    let main = network.interfaces.iter().position(|interface| interface.has_gateway).unwrap_or_default();
    let entry = |(position, interface): (usize, Interface)| {
        let is_main = position == main;
        let mut ips = interface.ips;
        let gateways = if is_main { std::mem::take(&mut network.gateways) } else { Vec::new() };
        if is_main {
            ips.append(&mut network.ips);
        }
        Entry {
            name: network.name.clone(),
            interface: interface.name,
            ips,
            mac: interface.mac,
            mtu: interface.mtu,
            default: network.default && is_main,
            dns: network.dns.clone(),
            device_info: if position == 0 { network.device_info.take() } else { None },
            gateway: gateways.clone(),
            default_route: gateways,
        }
    };
    std::mem::take(&mut network.interfaces).into_iter().enumerate().map(entry).collect()
}

/// The annotation's text: each entry as indented JSON, as Multus writes it.
pub fn print(entries: &[Entry]) -> String {
    let mut text = vec![b'['];
    for (position, entry) in entries.iter().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
        // writing these types to memory cannot fail; an entry that did would be left out
        let _ = entry.serialize(&mut serializer);
    }
    text.push(b']');
    String::from_utf8(text).unwrap_or_default()
}

/// Reads the annotation's text, also as other writers leave it.
///
/// # Errors
/// Text that is not a list of entries.
pub fn parse(text: &str) -> Result<Vec<Entry>, serde_json::Error> {
    serde_json::from_str(text)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn interface(name: &str, address: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            mac: "0a:58:0a:2a:02:2b".to_owned(),
            mtu: 1450,
            ips: vec![ip(address)],
            has_gateway: false,
        }
    }

    #[test]
    fn the_text_is_that_of_multus_with_the_keys_the_specification_adds() {
        let entries = entries([
            Attached {
                name: "cbr0".to_owned(),
                default: true,
                interfaces: vec![interface("eth0", "10.42.2.43")],
                gateways: vec![ip("10.42.2.1")],
                ..Attached::default()
            },
            Attached {
                name: "default/flannel.2".to_owned(),
                interfaces: vec![interface("net1", "10.5.22.4")],
                ..Attached::default()
            },
        ]);
        let text = print(&entries);
        assert_eq!(
            text,
            r#"[{
    "name": "cbr0",
    "interface": "eth0",
    "ips": [
        "10.42.2.43"
    ],
    "mac": "0a:58:0a:2a:02:2b",
    "mtu": 1450,
    "default": true,
    "dns": {},
    "gateway": [
        "10.42.2.1"
    ],
    "default-route": [
        "10.42.2.1"
    ]
},{
    "name": "default/flannel.2",
    "interface": "net1",
    "ips": [
        "10.5.22.4"
    ],
    "mac": "0a:58:0a:2a:02:2b",
    "mtu": 1450,
    "default": false,
    "dns": {}
}]"#
        );
        assert_eq!(parse(&text).unwrap(), entries);
        assert_eq!(print(&[]), "[]");
    }

    #[test]
    fn a_network_without_interfaces_still_has_an_entry_with_its_addresses() {
        let entries = entries([Attached {
            name: "default/old".to_owned(),
            ifname: "net1".to_owned(),
            ips: vec![ip("10.0.0.7")],
            ..Attached::default()
        }]);
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].interface.as_str(), entries[0].ips.as_slice()), ("net1", [ip("10.0.0.7")].as_slice()));
    }

    #[test]
    fn the_interface_with_a_gateway_is_the_default_one_of_several() {
        let second = Interface { has_gateway: true, ..interface("b", "10.0.0.2") };
        let network = Attached {
            default: true,
            interfaces: vec![interface("a", "10.0.0.1"), second],
            gateways: vec![ip("10.0.0.254")],
            ..Attached::default()
        };
        let entries = entries([network.clone(), network]);
        let defaults: Vec<bool> = entries.iter().map(|entry| entry.default).collect();
        assert_eq!(defaults, [false, true, false, false]);
        assert_eq!(entries[1].gateway, [ip("10.0.0.254")]);
        assert!(entries[0].gateway.is_empty());
    }

    #[test]
    fn what_others_write_is_read() {
        let text = r#"[{"name":"a","interface":"net1","ips":["10.0.0.1"],"dns":{},"extra":1,"device-info":{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:03:02.3"}}}]"#;
        let entries = parse(text).unwrap();
        let device = entries[0].device_info.as_ref().unwrap();
        assert_eq!(device.pci.as_ref().unwrap().pci_address, "0000:03:02.3");
        assert!(!entries[0].default);
    }
}
