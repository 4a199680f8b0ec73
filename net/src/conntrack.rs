//! Removal of stale connection-tracking entries.
//!
//! A connection keeps the translation it was given by its first packet. A client that has been sending UDP to a host port since
//! before the port was mapped is therefore never translated, until its entry is deleted.
//!
//! Numbers are from linux/netfilter/nfnetlink_conntrack.h, those of the filter's flags from net/netfilter/nf_internals.h.

use crate::netlink::{Message, NetlinkError, Socket};
use crate::nft::Family;
use crate::nft::wire::{Writer, attributes, body, find};

/// Message types: subsystem `NFNL_SUBSYS_CTNETLINK` (1), then the kind.
const CT_GET: u16 = 1 << 8 | 1;
const CT_DELETE: u16 = 1 << 8 | 2;
/// Request flags for the whole table (linux/netlink.h).
const NLM_F_DUMP: u16 = 0x300;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
/// `CTA_FILTER_F_CTA_PROTO_NUM | CTA_FILTER_F_CTA_PROTO_DST_PORT`.
const FILTER_BY_PORT: u32 = 1 << 3 | 1 << 5;

/// Which connections are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// IP protocol number, 17 for UDP.
    pub protocol: u8,
    /// Destination port of the first packet, before any translation.
    pub port: u16,
    /// [`Family::Ip`], [`Family::Ip6`], or [`Family::Inet`] for both.
    pub family: Family,
}

/// Deletes the entries of these connections and returns how many there were. `socket` speaks
/// [netfilter](crate::netlink::Protocol::Netfilter), as the one of [`crate::nft::Socket::netlink`] does.
///
/// The kernel is asked for matching entries only; kernels before 5.8 send all of them, which are sorted out here.
///
/// # Errors
/// The first refusal. An entry that has gone meanwhile is none.
pub fn delete(socket: &mut Socket, connections: Connections) -> Result<usize, NetlinkError> {
    let what = format!("delete connections to port {} of protocol {}", connections.port, connections.protocol);
    // The kernel filters one version of IP at a time.
    let families = match connections.family {
        Family::Ip | Family::Ip6 => &[connections.family][..],
        _ => &[Family::Ip, Family::Ip6],
    };
    let mut deletions = Vec::new();
    for family in families {
        let question = Message::raw(CT_GET, NLM_F_DUMP, &filter(*family, connections), &what);
        deletions.extend(socket.dump(&question, |_, payload| deletion(payload, connections, &what))?);
    }
    let failures = socket.batch(&deletions);
    let gone = failures.iter().filter(|failure| failure.error.is_missing()).count();
    match failures.into_iter().find(|failure| !failure.error.is_missing()) {
        Some(failure) => Err(failure.error),
        None => Ok(deletions.len() - gone),
    }
}

fn filter(family: Family, connections: Connections) -> Vec<u8> {
    let mut writer = Writer::message(family.number(), 0);
    writer.nest(CTA_TUPLE_ORIG, |tuple| {
        tuple.nest(CTA_TUPLE_PROTO, |protocol| {
            protocol.u8(CTA_PROTO_NUM, connections.protocol);
            protocol.bytes(CTA_PROTO_DST_PORT, &connections.port.to_be_bytes());
        });
    });
    // One of the few numbers of netfilter that are in the host's byte order.
    writer.nest(CTA_FILTER, |flags| flags.bytes(CTA_FILTER_ORIG_FLAGS, &FILTER_BY_PORT.to_ne_bytes()));
    writer.finish()
}

/// The request that deletes a dumped entry, if it is one of the connections: its tuple, zone and id exactly as the kernel gave
/// them, so that no newer entry of the same tuple is meant.
fn deletion(payload: &[u8], connections: Connections, what: &str) -> Option<Message> {
    let entry = body(payload);
    let protocol = find(find(entry, CTA_TUPLE_ORIG)?, CTA_TUPLE_PROTO)?;
    let same_protocol = find(protocol, CTA_PROTO_NUM) == Some(&[connections.protocol]);
    if !same_protocol || find(protocol, CTA_PROTO_DST_PORT) != Some(&connections.port.to_be_bytes()) {
        return None;
    }
    let mut writer = Writer::message(*payload.first()?, 0);
    for (kind, value) in attributes(entry) {
        match kind {
            CTA_TUPLE_ORIG => writer.nested_bytes(kind, value),
            CTA_ZONE | CTA_ID => writer.bytes(kind, value),
            _ => {}
        }
    }
    Some(Message::raw(CT_DELETE, 0, &writer.finish(), what))
}
