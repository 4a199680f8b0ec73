//! Routes, with their next hop in place or by the number of a next-hop object.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType,
};

use super::address::family;
use super::{APPEND_NEW, CREATE_OR_REPLACE};
use crate::netlink::Message;
use crate::op::RouteSpec;

/// Protocol number of routes somebody added by hand or at boot (`RTPROT_BOOT`): what `ip route add` and flannel use.
pub const PROTOCOL_BOOT: u8 = 3;
/// The main routing table (`RT_TABLE_MAIN`).
pub const TABLE_MAIN: u32 = 254;

/// A unicast route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub dst: IpNet,
    /// Next hop; `None` for a destination on the link or with a next-hop object.
    pub gateway: Option<IpAddr>,
    /// Index of the interface it leaves by; `None` with a next-hop object.
    pub index: Option<u32>,
    /// Number of a next-hop object that holds gateway and interface.
    pub nexthop: Option<u32>,
    /// Protocol number: who owns the route. In a deletion 0 means "any".
    pub protocol: u8,
    /// Routing table.
    pub table: u32,
    /// Priority (metric).
    pub priority: Option<u32>,
    /// Scope; `None` is universe with a next hop and link without. IPv6 ignores it.
    pub scope: Option<u8>,
    /// Take the gateway as reachable on the link.
    pub on_link: bool,
    /// Path MTU in bytes.
    pub mtu: Option<u32>,
    /// Advertised TCP segment size in bytes.
    pub advmss: Option<u32>,
}

impl Route {
    /// A route in the main table to a destination, with neither next hop nor interface yet.
    #[must_use]
    pub const fn to(dst: IpNet) -> Self {
        Self {
            dst,
            gateway: None,
            index: None,
            nexthop: None,
            protocol: PROTOCOL_BOOT,
            table: TABLE_MAIN,
            priority: None,
            scope: None,
            on_link: false,
            mtu: None,
            advmss: None,
        }
    }

    /// A route through a next-hop object, owned by `protocol`.
    #[must_use]
    pub const fn through(dst: IpNet, nexthop: u32, protocol: u8) -> Self {
        let mut route = Self::to(dst);
        route.nexthop = Some(nexthop);
        route.protocol = protocol;
        route
    }
}

impl From<&RouteSpec> for Route {
    fn from(spec: &RouteSpec) -> Self {
        Self {
            gateway: spec.gateway,
            index: Some(spec.index),
            table: spec.table.unwrap_or(TABLE_MAIN),
            priority: spec.priority,
            scope: spec.scope,
            on_link: spec.on_link,
            mtu: spec.mtu,
            advmss: spec.advmss,
            ..Self::to(spec.dst)
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dst)?;
        match (self.gateway, self.nexthop, self.index) {
            (Some(gateway), ..) => write!(f, " via {gateway}"),
            (None, Some(nexthop), _) => write!(f, " through next hop {nexthop}"),
            (None, None, Some(index)) => write!(f, " on interface {index}"),
            (None, None, None) => Ok(()),
        }
    }
}

/// Adds a route; the same one once more is an error. One to the same destination through another next hop goes behind it
/// (`fib_table_insert` of net/ipv4/fib_trie.c): a pod that is on one network twice has the way there twice.
#[must_use]
pub fn add(route: &Route) -> Message {
    Message::route(RouteNetlinkMessage::NewRoute(message(route)), APPEND_NEW, format!("add route {route}"))
}

/// Adds a route or replaces the one to the same destination with the same priority.
#[must_use]
pub fn replace(route: &Route) -> Message {
    Message::route(RouteNetlinkMessage::NewRoute(message(route)), CREATE_OR_REPLACE, format!("set route {route}"))
}

/// Deletes the route that matches in every field.
#[must_use]
pub fn delete(route: &Route) -> Message {
    Message::route(RouteNetlinkMessage::DelRoute(message(route)), 0, format!("delete route {route}"))
}

fn message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let on_link = if route.on_link { RouteFlags::Onlink } else { RouteFlags::empty() };
    let scope = match (route.scope, route.gateway, route.nexthop) {
        (Some(scope), ..) => RouteScope::from(scope),
        (None, None, None) => RouteScope::Link,
        (None, ..) => RouteScope::Universe,
    };
    message.header = RouteHeader {
        address_family: family(route.dst.addr()),
        destination_prefix_length: route.dst.prefix_len(),
        // Tables beyond 255 are told by the attribute alone; 0 is `RT_TABLE_UNSPEC`.
        table: u8::try_from(route.table).unwrap_or(0),
        protocol: RouteProtocol::from(route.protocol),
        scope,
        kind: RouteType::Unicast,
        flags: on_link,
        ..RouteHeader::default()
    };
    let attributes = &mut message.attributes;
    if route.dst.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(RouteAddress::from(route.dst.network())));
    }
    if route.table > u32::from(u8::MAX) {
        attributes.push(RouteAttribute::Table(route.table));
    }
    attributes.extend(route.gateway.map(|gateway| RouteAttribute::Gateway(RouteAddress::from(gateway))));
    attributes.extend(route.index.map(RouteAttribute::Oif));
    attributes.extend(route.nexthop.map(RouteAttribute::NhId));
    attributes.extend(route.priority.map(RouteAttribute::Priority));
    let metrics: Vec<_> =
        route.mtu.map(RouteMetric::Mtu).into_iter().chain(route.advmss.map(RouteMetric::Advmss)).collect();
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}
