//! A lease: one node's claim on a pod subnet, and what its peers must know to reach it. Key and value are flannel's, byte for byte, since
//! nodes running flanneld read them too, and one value flanneld cannot parse makes it drop all of its peers.

mod attributes;
mod key;

pub use attributes::{Attributes, VxlanData};
pub use key::{KeyError, SubnetKey};

use ipnet::{Ipv4Net, Ipv6Net};
use std::time::SystemTime;

/// One node's claim on a pod subnet.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// The pod subnet of the node.
    pub subnet: Ipv4Net,
    /// Its IPv6 subnet, in a dual-stack network.
    pub subnet6: Option<Ipv6Net>,
    /// What peers must know.
    pub attributes: Attributes,
    /// When the claim ends unless it is renewed. None for peers (nobody needs it, and asking etcd would cost a round trip each) and for
    /// a reservation, which never ends.
    pub expires: Option<SystemTime>,
}

impl Lease {
    /// The name under which the store keeps this lease.
    pub fn key(&self) -> SubnetKey {
        SubnetKey { subnet: self.subnet, subnet6: self.subnet6 }
    }
}
