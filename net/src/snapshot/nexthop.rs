//! Next-hop objects as the kernel describes them.

use std::net::IpAddr;

use netlink_packet_core::NlasIterator;

use crate::message::nexthop::{self, NHA_GATEWAY, NHA_ID, NHA_OIF, RTNH_F_ONLINK};
use crate::netlink::{NetlinkError, Socket};

/// A next-hop object. Groups have neither gateway nor interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NexthopFacts {
    /// Number.
    pub id: u32,
    /// Gateway.
    pub gateway: Option<IpAddr>,
    /// Index of the interface.
    pub index: Option<u32>,
    /// Protocol number: who owns it.
    pub protocol: u8,
    /// The gateway counts as reachable on the link.
    pub on_link: bool,
}

/// All next-hop objects.
///
/// # Errors
/// The kernel's refusal, or a failure of the socket.
pub fn nexthops(socket: &mut Socket) -> Result<Vec<NexthopFacts>, NetlinkError> {
    socket.dump(&nexthop::get_all(), |_, payload| parse(payload))
}

fn parse(payload: &[u8]) -> Option<NexthopFacts> {
    let (header, attributes) = payload.split_first_chunk::<{ nexthop::HEADER }>()?;
    let [_family, _scope, protocol, _reserved, flags @ ..] = *header;
    let on_link = u32::from_ne_bytes(flags) & RTNH_F_ONLINK != 0;
    let mut facts = NexthopFacts { id: 0, gateway: None, index: None, protocol, on_link };
    for nla in NlasIterator::new(attributes).flatten() {
        let word = nla.value().first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
        match nla.kind() {
            NHA_ID => facts.id = word?,
            NHA_OIF => facts.index = word,
            NHA_GATEWAY => facts.gateway = address(nla.value()),
            _ => {}
        }
    }
    (facts.id != 0).then_some(facts)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
