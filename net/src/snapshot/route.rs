//! Routes as the kernel describes them, filtered by the kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::Parseable;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Family;
use crate::netlink::{Message, NetlinkError, Socket};

/// A route. Multipath routes appear with neither gateway nor interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RouteFacts {
    /// Destination.
    pub dst: IpNet,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Index of the interface.
    pub index: Option<u32>,
    /// Number of the next-hop object.
    pub nexthop: Option<u32>,
    /// Protocol number: who owns it.
    pub protocol: u8,
    /// Routing table.
    pub table: u32,
    /// Priority (metric); 0 when the kernel tells none.
    pub priority: u32,
    /// Scope (`rtm_scope`).
    pub scope: u8,
    /// Kind (`rtm_type`): 1 is unicast.
    pub kind: u8,
    /// The gateway counts as reachable on the link.
    pub on_link: bool,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Path MTU in bytes.
    pub mtu: Option<u32>,
    /// Advertised TCP segment size in bytes.
    pub advmss: Option<u32>,
}

/// Which routes to read; `None` does not restrict. The kernel applies it, so that a large table costs nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// Address family.
    pub family: Family,
    /// Routing table.
    pub table: Option<u32>,
    /// Protocol number.
    pub protocol: Option<u8>,
    /// Index of the interface.
    pub index: Option<u32>,
}

/// The routes that pass the filter.
///
/// # Errors
/// `ENODEV` when the filter names a missing interface, the kernel's refusal, or a failure of the socket. A table that does not exist
/// is empty.
pub fn routes(socket: &mut Socket, filter: &RouteFilter) -> Result<Vec<RouteFacts>, NetlinkError> {
    match socket.dump(&request(filter), |_, payload| parse(payload)) {
        Err(error) if error.errno == libc::ENOENT => Ok(Vec::new()),
        other => other,
    }
}

/// The route packets to `destination` would take now: interface, next hop and source address. `None` when there is none.
///
/// # Errors
/// The kernel's refusal, or a failure of the socket.
pub fn route_towards(socket: &mut Socket, destination: IpAddr) -> Result<Option<RouteFacts>, NetlinkError> {
    let mut message = RouteMessage::default();
    let prefix_length = if destination.is_ipv4() { 32 } else { 128 };
    message.header = RouteHeader {
        address_family: if destination.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: prefix_length,
        ..RouteHeader::default()
    };
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(destination)));
    let what = format!("find route to {destination}");
    let question = Message::route(RouteNetlinkMessage::GetRoute(message), 0, what);
    match socket.get(&question, |_, payload| parse_any(payload)) {
        Err(error) if error.errno == libc::ENETUNREACH || error.errno == libc::EHOSTUNREACH => Ok(None),
        other => other,
    }
}

fn request(filter: &RouteFilter) -> Message {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: filter.family.netlink(),
        protocol: RouteProtocol::from(filter.protocol.unwrap_or(0)),
        ..RouteHeader::default()
    };
    message.attributes.extend(filter.table.map(RouteAttribute::Table));
    message.attributes.extend(filter.index.map(RouteAttribute::Oif));
    Message::route(RouteNetlinkMessage::GetRoute(message), netlink_packet_core::NLM_F_DUMP, "list routes")
}

/// A route of a table. Routes cached for single destinations are no configuration.
fn parse(payload: &[u8]) -> Option<RouteFacts> {
    let flags = payload.get(8..)?.first_chunk().map(|flags| u32::from_ne_bytes(*flags))?;
    if flags & RouteFlags::Cloned.bits() == 0 { parse_any(payload) } else { None }
}

fn parse_any(payload: &[u8]) -> Option<RouteFacts> {
    let message = RouteMessage::parse(payload).ok()?;
    let header = message.header;
    let everything = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut facts = RouteFacts {
        dst: IpNet::new(everything, header.destination_prefix_length).ok()?,
        gateway: None,
        index: None,
        nexthop: None,
        protocol: header.protocol.into(),
        table: header.table.into(),
        priority: 0,
        scope: header.scope.into(),
        kind: header.kind.into(),
        on_link: header.flags.contains(RouteFlags::Onlink),
        source: None,
        mtu: None,
        advmss: None,
    };
    if header.kind == RouteType::Unspec {
        return None;
    }
    for attribute in message.attributes {
        facts.take(attribute);
    }
    Some(facts)
}

impl RouteFacts {
    fn take(&mut self, attribute: RouteAttribute) {
        match attribute {
            RouteAttribute::Destination(address) => {
                let address = ip(&address).and_then(|address| IpNet::new(address, self.dst.prefix_len()).ok());
                self.dst = address.unwrap_or(self.dst);
            }
            RouteAttribute::Gateway(address) => self.gateway = ip(&address),
            RouteAttribute::PrefSource(address) => self.source = ip(&address),
            RouteAttribute::Oif(index) => self.index = Some(index),
            RouteAttribute::NhId(id) => self.nexthop = Some(id),
            RouteAttribute::Table(table) => self.table = table,
            RouteAttribute::Priority(priority) => self.priority = priority,
            RouteAttribute::Metrics(metrics) => metrics.into_iter().for_each(|metric| match metric {
                RouteMetric::Mtu(mtu) => self.mtu = Some(mtu),
                RouteMetric::Advmss(advmss) => self.advmss = Some(advmss),
                _ => {}
            }),
            _ => {}
        }
    }
}

const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
