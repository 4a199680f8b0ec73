//! Next-hop objects: a gateway on an interface with a number that routes refer to.
//!
//! With thousands of routes over one device they are what keeps the kernel fast: it shares the next-hop parts of routes by a hash that
//! ignores the gateway (`fib_info_hashfn` in net/ipv4/fib_semantics.c), but not the object's number. netlink-packet-route does not
//! know these messages, so they are encoded here (linux/nexthop.h).

use std::net::IpAddr;

use super::{CREATE_NEW, CREATE_OR_REPLACE};
use crate::netlink::Message;

const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
/// Length of `struct nhmsg`, in bytes.
pub(crate) const HEADER: usize = 8;
pub(crate) const NHA_ID: u16 = 1;
pub(crate) const NHA_OIF: u16 = 5;
pub(crate) const NHA_GATEWAY: u16 = 6;
pub(crate) const RTNH_F_ONLINK: u32 = 4;

/// A next-hop object with one gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nexthop {
    /// Number, unique in the namespace.
    pub id: u32,
    /// Gateway.
    pub gateway: IpAddr,
    /// Index of the interface.
    pub index: u32,
    /// Protocol number: who owns the object.
    pub protocol: u8,
    /// Take the gateway as reachable on the link.
    pub on_link: bool,
}

/// Creates a next-hop object; one with this number, whoever owns it, is an error.
#[must_use]
pub fn add(nexthop: &Nexthop) -> Message {
    Message::raw(RTM_NEWNEXTHOP, CREATE_NEW, &body(nexthop), format!("add next hop {}", nexthop.id))
}

/// Creates or replaces a next-hop object.
#[must_use]
pub fn set(nexthop: &Nexthop) -> Message {
    Message::raw(RTM_NEWNEXTHOP, CREATE_OR_REPLACE, &body(nexthop), format!("set next hop {}", nexthop.id))
}

fn body(nexthop: &Nexthop) -> Vec<u8> {
    let flags = if nexthop.on_link { RTNH_F_ONLINK } else { 0 };
    let mut body = header(nexthop.gateway, nexthop.protocol, flags);
    attribute(&mut body, NHA_ID, &nexthop.id.to_ne_bytes());
    attribute(&mut body, NHA_OIF, &nexthop.index.to_ne_bytes());
    match nexthop.gateway {
        IpAddr::V4(gateway) => attribute(&mut body, NHA_GATEWAY, &gateway.octets()),
        IpAddr::V6(gateway) => attribute(&mut body, NHA_GATEWAY, &gateway.octets()),
    }
    body
}

/// Deletes a next-hop object. The kernel deletes the routes that refer to it as well.
#[must_use]
pub fn delete(id: u32) -> Message {
    let mut body = vec![0; HEADER];
    attribute(&mut body, NHA_ID, &id.to_ne_bytes());
    Message::raw(RTM_DELNEXTHOP, 0, &body, format!("delete next hop {id}"))
}

/// Asks for all next-hop objects.
#[must_use]
pub fn get_all() -> Message {
    Message::raw(RTM_GETNEXTHOP, netlink_packet_core::NLM_F_DUMP, &[0; HEADER], "list next hops")
}

/// `struct nhmsg`: family, scope, protocol, reserved byte, flags.
fn header(gateway: IpAddr, protocol: u8, flags: u32) -> Vec<u8> {
    let family = u8::from(super::address::family(gateway));
    let mut body = Vec::with_capacity(48);
    body.extend_from_slice(&[family, 0, protocol, 0]);
    body.extend_from_slice(&flags.to_ne_bytes());
    body
}

/// Appends an attribute whose value is a multiple of four bytes long, as all of a next hop are.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_is_encoded_as_the_kernel_header_says() {
        let nexthop = Nexthop { id: 1000, gateway: IpAddr::from([10, 0, 1, 0]), index: 7, protocol: 80, on_link: true };
        let message = set(&nexthop);
        let expected = [
            [48, 0, 0, 0, 104, 0, 1, 5].as_slice(),
            &[0; 8],
            &[2, 0, 80, 0, 4, 0, 0, 0],
            &[8, 0, 1, 0, 0xe8, 3, 0, 0],
            &[8, 0, 5, 0, 7, 0, 0, 0],
            &[8, 0, 6, 0, 10, 0, 1, 0],
        ]
        .concat();
        assert_eq!(message.bytes(), expected);
    }
}
