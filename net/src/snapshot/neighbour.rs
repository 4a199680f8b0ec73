//! Neighbours and forwarding entries as the kernel describes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::Parseable;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Family;
use crate::mac::Mac;
use crate::netlink::{Message, NetlinkError, Socket};

/// A neighbour: the Ethernet address of an IP address on a link.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NeighbourFacts {
    /// Index of the interface.
    pub index: u32,
    /// IP address.
    pub address: IpAddr,
    /// Ethernet address, when known.
    pub mac: Option<Mac>,
    /// It was configured and does not age.
    pub permanent: bool,
}

/// A forwarding entry: where frames to an Ethernet address go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ForwardingFacts {
    /// Index of the interface.
    pub index: u32,
    /// Ethernet address.
    pub mac: Mac,
    /// Tunnel endpoint, on a VXLAN device.
    pub remote: Option<IpAddr>,
    /// Index of the bridge the interface is a port of.
    pub master: Option<u32>,
    /// It is in the device's own table (`NTF_SELF`) and not in that of a bridge.
    pub own: bool,
    /// It was configured and does not age.
    pub permanent: bool,
}

/// The neighbours on an interface, or (index 0) on all.
///
/// # Errors
/// The kernel's refusal, or a failure of the socket.
pub fn neighbours(socket: &mut Socket, index: u32, family: Family) -> Result<Vec<NeighbourFacts>, NetlinkError> {
    let mut message = NeighbourMessage::default();
    message.header.family = family.netlink();
    if index != 0 {
        message.attributes.push(NeighbourAttribute::IfIndex(index));
    }
    socket.dump(&request(message, "list neighbours"), |_, payload| {
        let message = NeighbourMessage::parse(payload).ok()?;
        let (index, permanent) = (message.header.ifindex, message.header.state == NeighbourState::Permanent);
        let found = Attributes::of(message);
        Some(NeighbourFacts { index, address: found.address?, mac: found.mac, permanent })
    })
}

/// The forwarding entries of an interface, or (index 0) of all.
///
/// # Errors
/// The kernel's refusal, or a failure of the socket.
pub fn forwarding(socket: &mut Socket, index: u32) -> Result<Vec<ForwardingFacts>, NetlinkError> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    socket.dump(&request(message, "list forwarding entries"), |_, payload| {
        let message = NeighbourMessage::parse(payload).ok()?;
        let index = message.header.ifindex;
        let own = message.header.flags.contains(NeighbourFlags::Own);
        let permanent = message.header.state == NeighbourState::Permanent;
        let found = Attributes::of(message);
        Some(ForwardingFacts { index, mac: found.mac?, remote: found.address, master: found.master, own, permanent })
    })
}

fn request(message: NeighbourMessage, what: &str) -> Message {
    Message::route(RouteNetlinkMessage::GetNeighbour(message), netlink_packet_core::NLM_F_DUMP, what)
}

#[derive(Default)]
struct Attributes {
    address: Option<IpAddr>,
    mac: Option<Mac>,
    master: Option<u32>,
}

impl Attributes {
    fn of(message: NeighbourMessage) -> Self {
        let mut found = Self::default();
        for attribute in message.attributes {
            match attribute {
                NeighbourAttribute::Destination(address) => found.address = ip(&address),
                NeighbourAttribute::LinkLayerAddress(bytes) => found.mac = Mac::from_slice(&bytes),
                NeighbourAttribute::Controller(master) => found.master = Some(master),
                _ => {}
            }
        }
        found
    }
}

/// In a forwarding entry the endpoint has no family of its own: its length tells.
fn ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(address) => Some(IpAddr::V4(*address)),
        NeighbourAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        NeighbourAddress::Other(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
            let v6 = <[u8; 16]>::try_from(bytes.as_slice()).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
            v4.or(v6).ok()
        }
        _ => None,
    }
}
