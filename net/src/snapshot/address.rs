//! Addresses of interfaces as the kernel describes them.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::Parseable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};

use crate::message;
use crate::netlink::{NetlinkError, Socket};

/// Which addresses or routes to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    pub(super) const fn netlink(self) -> AddressFamily {
        match self {
            Self::Any => AddressFamily::Unspec,
            Self::V4 => AddressFamily::Inet,
            Self::V6 => AddressFamily::Inet6,
        }
    }
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AddressFacts {
    /// Index of the interface.
    pub index: u32,
    /// Address with its prefix length.
    pub address: IpNet,
    /// Address of the other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// Broadcast address.
    pub broadcast: Option<IpAddr>,
    /// Scope (`ifa_scope`): 0 is global, 253 link.
    pub scope: u8,
}

/// The addresses of one interface, or (index 0) of all.
///
/// # Errors
/// `ENODEV` when there is no such interface, the kernel's refusal, or a failure of the socket.
pub fn addresses(socket: &mut Socket, index: u32, family: Family) -> Result<Vec<AddressFacts>, NetlinkError> {
    socket.dump(&message::address::get(family.netlink(), index), |_, payload| parse(payload))
}

fn parse(payload: &[u8]) -> Option<AddressFacts> {
    let message = AddressMessage::parse(payload).ok()?;
    let (mut address, mut local, mut broadcast) = (None, None, None);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Address(value) => address = Some(value),
            AddressAttribute::Local(value) => local = Some(value),
            AddressAttribute::Broadcast(value) => broadcast = Some(IpAddr::V4(value)),
            _ => {}
        }
    }
    // IFA_LOCAL is the address of the interface; where it is absent (IPv6 without a peer) IFA_ADDRESS is (linux/if_addr.h).
    let own = local.or(address)?;
    Some(AddressFacts {
        index: message.header.index,
        address: IpNet::new(own, message.header.prefix_len).ok()?,
        peer: address.filter(|address| *address != own),
        broadcast,
        scope: message.header.scope.into(),
    })
}
