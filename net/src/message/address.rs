//! Addresses of interfaces.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::CREATE_NEW;
use crate::netlink::Message;

/// Adds an address; one that is there already is an error. IPv6 addresses are usable at once (no duplicate address detection: whoever
/// assigns them knows who has which).
#[must_use]
pub fn add(index: u32, name: &str, address: IpNet) -> Message {
    let mut message = message(index, address);
    if let IpNet::V4(v4) = address {
        // A network of two addresses or one has no broadcast address (RFC 3021).
        message.attributes.extend((v4.prefix_len() < 31).then(|| AddressAttribute::Broadcast(v4.broadcast())));
    } else {
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    Message::route(RouteNetlinkMessage::NewAddress(message), CREATE_NEW, format!("add address {address} to {name}"))
}

/// Deletes an address.
#[must_use]
pub fn delete(index: u32, name: &str, address: IpNet) -> Message {
    let message = message(index, address);
    Message::route(RouteNetlinkMessage::DelAddress(message), 0, format!("delete address {address} of {name}"))
}

/// Asks for the addresses of a family, of one interface or (index 0) of all.
#[must_use]
pub fn get(family: AddressFamily, index: u32) -> Message {
    let mut message = AddressMessage::default();
    message.header = AddressHeader { family, index, ..AddressHeader::default() };
    Message::route(RouteNetlinkMessage::GetAddress(message), netlink_packet_core::NLM_F_DUMP, "list addresses")
}

fn message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    let family = family(address.addr());
    message.header = AddressHeader { family, prefix_len: address.prefix_len(), index, ..AddressHeader::default() };
    message.attributes = vec![AddressAttribute::Address(address.addr()), AddressAttribute::Local(address.addr())];
    message
}

/// The netlink family of an address.
pub(crate) const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
