//! From a lease to a peer: the few bytes the kernel needs out of the text a node published.

use std::fmt;

use etcd_subnet::{Attributes, Lease, VxlanData};
use net::Mac;

use crate::desired::{Peer, Underlay};

/// Why a lease is of no use to the VXLAN backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// It belongs to another backend.
    Backend(String),
    /// Its backend data is missing or broken.
    Data(String),
    /// The MAC in it is none.
    Mac(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Backend(kind) => write!(f, "its backend is {kind:?}, not vxlan"),
            Unreadable::Data(reason) => write!(f, "its backend data cannot be read: {reason}"),
            Unreadable::Mac(text) => write!(f, "{text:?} is no mac address"),
        }
    }
}

/// The peer a lease describes.
///
/// The VNI in the data is not compared with ours: flannel does not either, and what counts is the VNI of the packets.
///
/// # Errors
/// When the lease is not a VXLAN node's.
pub fn peer(lease: &Lease) -> Result<Peer, Unreadable> {
    if lease.attributes.backend_type != "vxlan" {
        return Err(Unreadable::Backend(lease.attributes.backend_type.clone()));
    }
    let data = lease.attributes.vxlan_data().map_err(|error| Unreadable::Data(error.to_string()))?;
    let mac: Mac = data.vtep_mac.parse().map_err(|_| Unreadable::Mac(data.vtep_mac))?;
    Ok(Peer { subnet: lease.subnet, public: lease.attributes.public_ip, mac })
}

/// What this node publishes in its lease.
#[must_use]
pub fn attributes(underlay: &Underlay, vni: u32, mac: Mac) -> Attributes {
    Attributes::vxlan(underlay.public, &VxlanData { vni, vtep_mac: mac.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(value: &str) -> Lease {
        let attributes = Attributes::from_json(value.as_bytes()).unwrap();
        Lease { subnet: "10.5.7.0/24".parse().unwrap(), subnet6: None, attributes, expires: None }
    }

    #[test]
    fn the_lease_of_a_flanneld_is_read() {
        let text = r#"{"PublicIP":"192.168.7.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"de:26:47:23:79:80"}}"#;
        let found = peer(&lease(text)).unwrap();
        assert_eq!(found.subnet.to_string(), "10.5.7.0/24");
        assert_eq!(found.public.to_string(), "192.168.7.1");
        assert_eq!(found.mac.to_string(), "de:26:47:23:79:80");
    }

    #[test]
    fn leases_that_are_of_no_use_say_why() {
        let reason = |text: &str| peer(&lease(text)).unwrap_err().to_string();
        assert_eq!(
            reason(r#"{"PublicIP":"1.2.3.4","BackendType":"host-gw"}"#),
            "its backend is \"host-gw\", not vxlan"
        );
        assert!(reason(r#"{"PublicIP":"1.2.3.4","BackendType":"vxlan"}"#).contains("cannot be read"));
        let text = r#"{"PublicIP":"1.2.3.4","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"nonsense"}}"#;
        assert_eq!(reason(text), "\"nonsense\" is no mac address");
    }
}
