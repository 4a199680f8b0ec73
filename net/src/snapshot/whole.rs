//! A whole namespace as a set of lines, for telling what a run has left behind.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    AddressFacts, Family, ForwardingFacts, LinkFacts, NeighbourFacts, NexthopFacts, RouteFacts, RouteFilter, addresses,
    forwarding, links, neighbours, nexthops, routes,
};
use crate::netlink::{NetlinkError, Socket};

/// Everything that was configured in a namespace, one line each. What the kernel derives or learns by itself is left out: link-local
/// addresses and their routes, multicast, learned neighbours and forwarding entries, carrier state. Interfaces go by name, so that one
/// that was deleted and made again compares equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    lines: BTreeSet<String>,
}

impl Snapshot {
    /// Reads the namespace of a route-netlink socket.
    ///
    /// # Errors
    /// The kernel's refusal, or a failure of the socket.
    pub fn take(socket: &mut Socket) -> Result<Self, NetlinkError> {
        let links = links(socket)?;
        let names = Names(links.iter().map(|link| (link.index, link.name.clone())).collect());
        let mut lines: BTreeSet<_> = links.iter().map(|link| names.link(link)).collect();
        lines.extend(addresses(socket, 0, Family::Any)?.iter().filter_map(|address| names.address(address)));
        lines.extend(routes(socket, &RouteFilter::default())?.iter().filter_map(|route| names.route(route)));
        lines.extend(neighbours(socket, 0, Family::Any)?.iter().filter_map(|neighbour| names.neighbour(neighbour)));
        lines.extend(forwarding(socket, 0)?.iter().filter_map(|entry| names.forwarding(entry)));
        lines.extend(nexthops(socket)?.iter().map(|nexthop| names.nexthop(nexthop)));
        Ok(Self { lines })
    }

    /// The lines, sorted.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// What has appeared and disappeared since an earlier snapshot.
    #[must_use]
    pub fn since(&self, before: &Self) -> Difference {
        let minus = |a: &Self, b: &Self| a.lines.difference(&b.lines).cloned().collect();
        Difference { appeared: minus(self, before), disappeared: minus(before, self) }
    }
}

/// How two snapshots differ; prints as a list with `+` and `-`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Lines of the later one only.
    pub appeared: Vec<String>,
    /// Lines of the earlier one only.
    pub disappeared: Vec<String>,
}

impl Difference {
    /// Whether the snapshots were equal.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.appeared.is_empty() && self.disappeared.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disappeared.iter().try_for_each(|line| writeln!(f, "- {line}"))?;
        self.appeared.iter().try_for_each(|line| writeln!(f, "+ {line}"))
    }
}

/// Names of interfaces by index.
struct Names(HashMap<u32, String>);

impl Names {
    fn name(&self, index: u32) -> String {
        self.0.get(&index).cloned().unwrap_or_else(|| format!("interface {index}"))
    }

    fn link(&self, link: &LinkFacts) -> String {
        let mut line = format!("link {} mtu {}", link.name, link.mtu);
        let words = [
            link.kind.as_ref().map(|kind| format!("kind {kind}")),
            link.mac.map(|mac| format!("mac {mac}")),
            link.up.then(|| "up".to_owned()),
            link.promisc.then(|| "promisc".to_owned()),
            link.master.map(|master| format!("master {}", self.name(master))),
            (link.group != 0).then(|| format!("group {}", link.group)),
            link.alias.as_ref().map(|alias| format!("alias {alias}")),
            link.vxlan.as_ref().map(|vxlan| format!("{vxlan:?}")),
            link.bridge.as_ref().map(|bridge| format!("{bridge:?}")),
            link.port.as_ref().map(|port| format!("{port:?}")),
        ];
        for word in words.into_iter().flatten() {
            line.push(' ');
            line.push_str(&word);
        }
        line
    }

    fn address(&self, address: &AddressFacts) -> Option<String> {
        let line = || format!("address {} on {}", address.address, self.name(address.index));
        (!is_derived(address.address.addr())).then(line)
    }

    fn route(&self, route: &RouteFacts) -> Option<String> {
        if is_derived(route.dst.addr()) || route.gateway.is_some_and(is_derived) || is_all_multicast(route.dst) {
            return None;
        }
        let mut line = format!("route {} table {} protocol {}", route.dst, route.table, route.protocol);
        let words = [
            route.gateway.map(|gateway| format!("via {gateway}")),
            route.index.map(|index| format!("dev {}", self.name(index))),
            route.nexthop.map(|id| format!("nexthop {id}")),
            (route.kind != 1).then(|| format!("type {}", route.kind)),
            (route.priority != 0).then(|| format!("priority {}", route.priority)),
            Some(format!("scope {}", route.scope)),
            route.on_link.then(|| "onlink".to_owned()),
            route.mtu.map(|mtu| format!("mtu {mtu}")),
            route.advmss.map(|advmss| format!("advmss {advmss}")),
        ];
        for word in words.into_iter().flatten() {
            line.push(' ');
            line.push_str(&word);
        }
        Some(line)
    }

    fn neighbour(&self, neighbour: &NeighbourFacts) -> Option<String> {
        let mac = neighbour.mac.filter(|_| neighbour.permanent)?;
        Some(format!("neighbour {} mac {mac} on {}", neighbour.address, self.name(neighbour.index)))
    }

    fn forwarding(&self, entry: &ForwardingFacts) -> Option<String> {
        if !entry.permanent || !entry.mac.is_unicast() {
            return None;
        }
        let mut line = format!("forwarding {} on {}", entry.mac, self.name(entry.index));
        if let Some(remote) = entry.remote {
            line.push_str(&format!(" to {remote}"));
        }
        if let Some(master) = entry.master {
            line.push_str(&format!(" master {}", self.name(master)));
        }
        Some(line)
    }

    fn nexthop(&self, nexthop: &NexthopFacts) -> String {
        let gateway = nexthop.gateway.map_or_else(|| "none".to_owned(), |gateway| gateway.to_string());
        let device = nexthop.index.map_or_else(|| "none".to_owned(), |index| self.name(index));
        format!("nexthop {} via {gateway} dev {device} protocol {}", nexthop.id, nexthop.protocol)
    }
}

/// Whether the kernel makes such addresses by itself.
const fn is_derived(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    }
}

fn is_all_multicast(dst: IpNet) -> bool {
    dst.addr().is_multicast()
}
