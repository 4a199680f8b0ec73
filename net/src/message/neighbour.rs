//! Neighbours (address to MAC) and forwarding-database entries (MAC to tunnel endpoint), both permanent.

use std::net::IpAddr;

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::CREATE_OR_REPLACE;
use super::address::family;
use crate::mac::Mac;
use crate::netlink::Message;

/// Sets a permanent neighbour entry.
#[must_use]
pub fn set(index: u32, address: IpAddr, mac: Mac) -> Message {
    let mut message = message(family(address), index, address);
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    Message::route(RouteNetlinkMessage::NewNeighbour(message), CREATE_OR_REPLACE, format!("set neighbour {address}"))
}

/// Deletes a neighbour entry.
#[must_use]
pub fn delete(index: u32, address: IpAddr) -> Message {
    let message = message(family(address), index, address);
    Message::route(RouteNetlinkMessage::DelNeighbour(message), 0, format!("delete neighbour {address}"))
}

/// Sets a permanent forwarding entry of a VXLAN device: frames to `mac` go to the tunnel endpoint `remote`.
#[must_use]
pub fn set_forwarding(index: u32, mac: Mac, remote: IpAddr) -> Message {
    let what = format!("set forwarding of {mac} to {remote}");
    Message::route(RouteNetlinkMessage::NewNeighbour(forwarding(index, mac, remote)), CREATE_OR_REPLACE, what)
}

/// Deletes a forwarding entry of a VXLAN device.
#[must_use]
pub fn delete_forwarding(index: u32, mac: Mac, remote: IpAddr) -> Message {
    let what = format!("delete forwarding of {mac} to {remote}");
    Message::route(RouteNetlinkMessage::DelNeighbour(forwarding(index, mac, remote)), 0, what)
}

fn forwarding(index: u32, mac: Mac, remote: IpAddr) -> NeighbourMessage {
    let mut message = message(AddressFamily::Bridge, index, remote);
    message.header.state = NeighbourState::Permanent;
    // NTF_SELF: the device's own table, not that of a bridge it may be a port of.
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message
}

fn message(family: AddressFamily, ifindex: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader { family, ifindex, ..NeighbourHeader::default() };
    message.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::from(address))];
    message
}
