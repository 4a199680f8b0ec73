//! What to do with the VXLAN device: leave it, adjust it in place, or make it anew. Pure, like `diff`.
//!
//! A device that flanneld or an earlier run made is kept when what cannot change in place is right: recreating it
//! would interrupt every connection of the node's pods.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use net::Mac;

use crate::desired::Device;

/// A link that carries the wanted device's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedDevice {
    /// Interface index.
    pub index: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// MTU.
    pub mtu: u32,
    /// Link-layer address.
    pub mac: Mac,
    /// Its VXLAN settings; `None` when it is no VXLAN device.
    pub vxlan: Option<ObservedVxlan>,
    /// Its IPv4 addresses.
    pub addresses: Vec<Ipv4Net>,
}

/// The settings of a VXLAN device that only a new device can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObservedVxlan {
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// Source address, unspecified when it has none.
    pub local: Ipv4Addr,
    /// Index of the underlay interface, 0 for none.
    pub underlay: u32,
    /// Whether it learns.
    pub learning: bool,
    /// Whether it carries group policy ids.
    pub gbp: bool,
}

/// Why an existing device cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is some other kind of link.
    Kind,
    /// Another VXLAN network identifier.
    Vni,
    /// Another UDP port.
    Port,
    /// Another source address.
    Local,
    /// Another underlay interface.
    Underlay,
    /// Learning is on or off against the configuration.
    Learning,
    /// Group policy is on or off against the configuration.
    Gbp,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfit::Kind => "it is no vxlan device",
            Unfit::Vni => "its vni differs",
            Unfit::Port => "its udp port differs",
            Unfit::Local => "its source address differs",
            Unfit::Underlay => "it is bound to another interface",
            Unfit::Learning => "its learning setting differs",
            Unfit::Gbp => "its group policy setting differs",
        })
    }
}

/// What must change in place on a device that fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adjustments {
    /// Set this link-layer address.
    pub mac: Option<Mac>,
    /// Set this MTU.
    pub mtu: Option<u32>,
    /// Remove these addresses.
    pub remove: Vec<Ipv4Net>,
    /// Add this address.
    pub add: Option<Ipv4Net>,
    /// Set it up.
    pub up: bool,
}

impl Adjustments {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Adjustments::default()
    }
}

impl ObservedDevice {
    /// Why the link cannot become `wanted` in place, if so.
    #[must_use]
    pub fn unfit(&self, wanted: &Device) -> Option<Unfit> {
        let Some(vxlan) = self.vxlan else { return Some(Unfit::Kind) };
        let checks = [
            (vxlan.vni == wanted.vni, Unfit::Vni),
            (vxlan.port == wanted.port, Unfit::Port),
            (vxlan.local == wanted.local, Unfit::Local),
            (vxlan.underlay == wanted.underlay, Unfit::Underlay),
            (vxlan.learning == wanted.learning, Unfit::Learning),
            (vxlan.gbp == wanted.gbp, Unfit::Gbp),
        ];
        checks.into_iter().find_map(|(fits, unfit)| (!fits).then_some(unfit))
    }

    /// What remains to be done on a link that fits.
    ///
    /// Every IPv4 address but the wanted one goes: the device is the overlay's, and a second address would become the
    /// source of the node's own traffic into the overlay. While no subnet is known, addresses are left alone.
    #[must_use]
    pub fn adjustments(&self, wanted: &Device) -> Adjustments {
        let address = wanted.address.map(Ipv4Net::from);
        Adjustments {
            mac: (self.mac != wanted.mac).then_some(wanted.mac),
            mtu: (self.mtu != wanted.mtu).then_some(wanted.mtu),
            remove: match address {
                Some(keep) => self.addresses.iter().copied().filter(|found| *found != keep).collect(),
                None => Vec::new(),
            },
            add: address.filter(|address| !self.addresses.contains(address)),
            up: !self.up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Device {
        Device {
            name: "flannel.1".into(),
            vni: 1,
            port: 8472,
            local: Ipv4Addr::new(192, 168, 1, 1),
            underlay: 2,
            learning: false,
            gbp: false,
            mtu: 1450,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            address: Some(Ipv4Addr::new(10, 5, 9, 0)),
        }
    }

    fn as_wanted() -> ObservedDevice {
        ObservedDevice {
            index: 7,
            up: true,
            mtu: 1450,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            vxlan: Some(ObservedVxlan {
                vni: 1,
                port: 8472,
                local: Ipv4Addr::new(192, 168, 1, 1),
                underlay: 2,
                learning: false,
                gbp: false,
            }),
            addresses: vec!["10.5.9.0/32".parse().unwrap()],
        }
    }

    #[test]
    fn a_device_as_wanted_is_left_alone() {
        assert_eq!(as_wanted().unfit(&wanted()), None);
        assert!(as_wanted().adjustments(&wanted()).is_empty());
    }

    #[test]
    fn what_cannot_change_in_place_makes_a_device_unfit() {
        let change = |edit: &dyn Fn(&mut ObservedVxlan)| {
            let mut found = as_wanted();
            let mut vxlan = found.vxlan.unwrap();
            edit(&mut vxlan);
            found.vxlan = Some(vxlan);
            found.unfit(&wanted())
        };
        assert_eq!(change(&|v| v.vni = 2), Some(Unfit::Vni));
        assert_eq!(change(&|v| v.port = 4789), Some(Unfit::Port));
        assert_eq!(change(&|v| v.local = Ipv4Addr::UNSPECIFIED), Some(Unfit::Local));
        assert_eq!(change(&|v| v.underlay = 3), Some(Unfit::Underlay));
        assert_eq!(change(&|v| v.learning = true), Some(Unfit::Learning));
        assert_eq!(change(&|v| v.gbp = true), Some(Unfit::Gbp));
        assert_eq!(ObservedDevice { vxlan: None, ..as_wanted() }.unfit(&wanted()), Some(Unfit::Kind));
    }

    #[test]
    fn mtu_mac_state_and_addresses_change_in_place() {
        let old: Ipv4Net = "10.5.3.0/32".parse().unwrap();
        let found =
            ObservedDevice { up: false, mtu: 1400, mac: Mac([2, 0, 0, 0, 0, 9]), addresses: vec![old], ..as_wanted() };
        assert_eq!(found.unfit(&wanted()), None);
        assert_eq!(
            found.adjustments(&wanted()),
            Adjustments {
                mac: Some(wanted().mac),
                mtu: Some(1450),
                remove: vec![old],
                add: Some("10.5.9.0/32".parse().unwrap()),
                up: true,
            }
        );
    }

    #[test]
    fn addresses_stay_while_no_subnet_is_known() {
        let found = as_wanted().adjustments(&Device { address: None, ..wanted() });
        assert!(found.is_empty());
    }
}
