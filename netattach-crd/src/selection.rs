//! One element of the annotation that asks for networks (multi-net-spec v1.3, 4.1.2.1): which NAD, and what is wanted
//! of the attachment. The values are typed: what is in here has passed validation.

use crate::hardware::{Guid, Mac};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// One network a pod asks for. Serialises to the JSON element it can be read from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Selection {
    /// Name of the NAD: a DNS-1123 subdomain.
    pub name: String,
    /// Namespace of the NAD; the pod's own when the annotation names none.
    pub namespace: String,
    /// Name of the interface in the pod; chosen by position when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Addresses asked for, with or without a prefix length (capability `ips`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<Address>,
    /// Hardware address asked for (capability `mac`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// InfiniBand GUID asked for (capability `infinibandGUID`).
    #[serde(rename = "infiniband-guid", skip_serializing_if = "Option::is_none")]
    pub infiniband_guid: Option<Guid>,
    /// Ports of the node that lead to the pod (capability `portMappings`).
    #[serde(rename = "portMappings", skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMapping>,
    /// Limits of the traffic (capability `bandwidth`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// Arguments for the plugins, merged into `args.cni` of each of them; they win over the NAD's.
    #[serde(rename = "cni-args", skip_serializing_if = "Option::is_none")]
    pub cni_args: Option<Map<String, Value>>,
    /// Gateways of the pod's default route, in order. Present and empty: the default routes the network's plugins make
    /// are kept, and all other networks lose theirs.
    #[serde(rename = "default-route", skip_serializing_if = "Option::is_none")]
    pub default_route: Option<Vec<IpAddr>>,
    /// A device of the node (capability `deviceID`); not in the specification, but in Multus.
    #[serde(rename = "deviceID", skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Name of an IPAMClaim in the pod's namespace.
    #[serde(rename = "ipam-claim-reference", skip_serializing_if = "Option::is_none")]
    pub ipam_claim: Option<String>,
    /// Keys of other vendors, named as reverse DNS (`example.com/key`), as they came.
    #[serde(flatten)]
    pub extensions: Map<String, Value>,
}

/// An address asked for, with or without a prefix length; printed as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Length of the network's prefix in bits, when it was given.
    pub prefix: Option<u8>,
}

/// One port of the node that leads to the pod, as the `portMappings` capability carries it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct PortMapping {
    /// Port on the node, 1 to 65535.
    #[serde(rename = "hostPort")]
    pub host_port: u16,
    /// Port in the pod, 1 to 65535.
    #[serde(rename = "containerPort")]
    pub container_port: u16,
    /// Protocol; `tcp` when the annotation names none.
    pub protocol: Protocol,
    /// Address of the node on which the port is opened; all of them when absent.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

/// Limits of the traffic, as the `bandwidth` capability carries them. Zero: no limit in that direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bandwidth {
    /// Towards the pod, bits per second.
    pub ingress_rate: u64,
    /// Towards the pod, bits.
    pub ingress_burst: u64,
    /// From the pod, bits per second.
    pub egress_rate: u64,
    /// From the pod, bits.
    pub egress_burst: u64,
}

impl Selection {
    /// A selection of nothing but a network.
    pub fn of(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), ..Self::default() }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const NEITHER: &str = "is neither an IP address nor one with a prefix length, such as 10.5.1.7/24";
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| NEITHER)?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let digits =
            |prefix: &str| prefix.bytes().all(|byte| byte.is_ascii_digit()).then(|| prefix.parse().ok()).flatten();
        let prefix = prefix.map(|prefix| digits(prefix).filter(|length| *length <= most).ok_or(NEITHER)).transpose()?;
        usable(ip)?;
        Ok(Self { ip, prefix })
    }
}

/// Whether an address can belong to an interface or a gateway at all.
pub(crate) fn usable(ip: IpAddr) -> Result<(), &'static str> {
    if ip.is_unspecified() {
        Err("is the unspecified address")
    } else if ip.is_multicast() {
        Err("is a multicast address")
    } else {
        Ok(())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            Some(prefix) => write!(f, "{}/{prefix}", self.ip),
            None => self.ip.fmt(f),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Protocol {
    /// Reads a protocol's name in any case, as the reference port mapper does.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|protocol| text.eq_ignore_ascii_case(protocol.name()))
    }

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_they_were_written() {
        for text in ["10.5.1.7", "10.5.1.7/24", "fd00::7", "fd00::7/64", "10.0.0.1/32", "::1/128", "10.0.0.1/0"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn addresses_no_interface_can_have_are_refused() {
        for text in [
            "",
            "/",
            "10.5.1",
            "10.5.1.7/",
            "10.5.1.7/33",
            "fd00::7/129",
            "10.5.1.7/+8",
            "0.0.0.0",
            "::/64",
            "224.0.0.1",
            "ff02::1/64",
            "10.5.1.07",
            "fe80::1%eth0",
            "10.5.1.7/24/8",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
