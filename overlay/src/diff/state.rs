//! What the kernel holds and what can be done to it, as plain values: the two ends of the difference.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use net::Mac;

use crate::desired::ROUTE_PROTOCOL;

/// `RTPROT_BOOT`: what a route gets whose maker did not say, as flannel does.
pub const PROTOCOL_BOOT: u8 = 3;

/// A neighbour on the VXLAN device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Neighbour {
    /// The peer's overlay address.
    pub address: Ipv4Addr,
    /// Its link-layer address, all zero when the kernel has none.
    pub mac: Mac,
    /// Whether the state is `NUD_PERMANENT`; other entries are the kernel's own business.
    pub permanent: bool,
}

/// A forwarding entry of the VXLAN device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Forward {
    /// Link-layer destination.
    pub mac: Mac,
    /// Where the kernel sends the encapsulated frame.
    pub destination: Ipv4Addr,
    /// Whether it stays for ever (not learned from traffic).
    pub permanent: bool,
}

/// A nexthop object of the namespace, whoever made it: foreign ones show which ids are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextHop {
    /// `NHA_ID`.
    pub id: u32,
    /// Interface index, 0 for none (groups, blackholes).
    pub device: u32,
    /// IPv4 gateway.
    pub gateway: Option<Ipv4Addr>,
    /// Who made it.
    pub protocol: u8,
    /// `RTNH_F_ONLINK`.
    pub on_link: bool,
}

/// A unicast route of the main table that is on the VXLAN device or carries our protocol number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// Destination.
    pub destination: Ipv4Net,
    /// Interface index, 0 when the kernel names only a nexthop object.
    pub device: u32,
    /// Gateway.
    pub gateway: Option<Ipv4Addr>,
    /// Nexthop object, if it refers to one.
    pub nexthop: Option<u32>,
    /// Who made it.
    pub protocol: u8,
    /// Metric.
    pub priority: u32,
}

/// What the kernel holds, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Index of the VXLAN device.
    pub device: u32,
    /// IPv4 neighbours on it.
    pub neighbours: Vec<Neighbour>,
    /// Its forwarding entries.
    pub forwards: Vec<Forward>,
    /// All nexthop objects of the namespace.
    pub nexthops: Vec<NextHop>,
    /// Routes on the device or with our protocol number.
    pub routes: Vec<Route>,
}

impl Observed {
    /// The state after `changes`, all of which the kernel has taken. `underlay` is the index of the underlay interface.
    pub fn record(&mut self, changes: &[Planned], underlay: u32) {
        let mut gone = Gone::default();
        changes.iter().for_each(|planned| gone.note(&planned.change));
        self.forwards.retain(|forward| !gone.forwards.contains(&forward.mac));
        self.neighbours.retain(|neighbour| !gone.neighbours.contains(&neighbour.address));
        self.nexthops.retain(|nexthop| !gone.nexthops.contains(&nexthop.id));
        let mut replaced = gone.replaced;
        self.routes.retain(|route| {
            let lost =
                gone.routes.contains(route) || route.nexthop.is_some_and(|id| gone.deleted_nexthops.contains(&id));
            // A replacing request takes the place of the first route with its destination and metric only.
            !(lost || (route.priority == 0 && replaced.remove(&route.destination)))
        });
        changes.iter().for_each(|planned| self.add(&planned.change, underlay));
    }

    fn add(&mut self, change: &Change, underlay: u32) {
        let route = |destination, device, gateway, nexthop| Route {
            destination,
            device,
            gateway: Some(gateway),
            nexthop,
            protocol: ROUTE_PROTOCOL,
            priority: 0,
        };
        match *change {
            Change::SetForward { mac, destination } => {
                self.forwards.push(Forward { mac, destination, permanent: true });
            }
            Change::SetNeighbour { address, mac } => {
                self.neighbours.push(Neighbour { address, mac, permanent: true });
            }
            Change::SetNextHop { id, gateway, .. } => self.nexthops.push(NextHop {
                id,
                device: self.device,
                gateway: Some(gateway),
                protocol: ROUTE_PROTOCOL,
                on_link: true,
            }),
            // A peer's route leads to the first address of its destination.
            Change::SetRoute { destination, nexthop } => {
                self.routes.push(route(destination, self.device, destination.network(), Some(nexthop)));
            }
            Change::SetDirectRoute { destination, gateway } => {
                self.routes.push(route(destination, underlay, gateway, None));
            }
            Change::DeleteRoute(_)
            | Change::DeleteNextHop { .. }
            | Change::DeleteNeighbour { .. }
            | Change::DeleteForward { .. } => {}
        }
    }
}

/// What changes take away, or put something else in the place of.
#[derive(Debug, Default)]
struct Gone {
    forwards: HashSet<Mac>,
    neighbours: HashSet<Ipv4Addr>,
    nexthops: HashSet<u32>,
    /// Those of `nexthops` that are not put back, whose routes go with them.
    deleted_nexthops: HashSet<u32>,
    routes: HashSet<Route>,
    replaced: HashSet<Ipv4Net>,
}

impl Gone {
    fn note(&mut self, change: &Change) {
        match *change {
            Change::SetForward { mac, .. } | Change::DeleteForward { mac, .. } => {
                self.forwards.insert(mac);
            }
            Change::SetNeighbour { address, .. } | Change::DeleteNeighbour { address } => {
                self.neighbours.insert(address);
            }
            Change::SetNextHop { id, .. } => {
                self.nexthops.insert(id);
            }
            Change::DeleteNextHop { id } => {
                self.nexthops.insert(id);
                self.deleted_nexthops.insert(id);
            }
            Change::SetRoute { destination, .. } | Change::SetDirectRoute { destination, .. } => {
                self.replaced.insert(destination);
            }
            Change::DeleteRoute(route) => {
                self.routes.insert(route);
            }
        }
    }
}

/// One change, one netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// Create or replace a forwarding entry.
    SetForward {
        /// Link-layer destination.
        mac: Mac,
        /// Underlay address of the peer.
        destination: Ipv4Addr,
    },
    /// Create or replace a permanent neighbour.
    SetNeighbour {
        /// Overlay address of the peer.
        address: Ipv4Addr,
        /// Its link-layer address.
        mac: Mac,
    },
    /// Create or replace a nexthop object: gateway on the VXLAN device, on-link.
    SetNextHop {
        /// Id.
        id: u32,
        /// Overlay address of the peer.
        gateway: Ipv4Addr,
        /// Whether an object with this id, ours, is there already and is to be replaced.
        replace: bool,
    },
    /// Create or replace a route through a nexthop object.
    SetRoute {
        /// The peer's subnet.
        destination: Ipv4Net,
        /// Id of the nexthop object.
        nexthop: u32,
    },
    /// Create or replace a route via the peer's public address on the underlay.
    SetDirectRoute {
        /// The peer's subnet.
        destination: Ipv4Net,
        /// Its public address.
        gateway: Ipv4Addr,
    },
    /// Remove exactly this route.
    DeleteRoute(Route),
    /// Remove a nexthop object of ours.
    DeleteNextHop {
        /// Id.
        id: u32,
    },
    /// Remove a neighbour.
    DeleteNeighbour {
        /// Its address.
        address: Ipv4Addr,
    },
    /// Remove a forwarding entry.
    DeleteForward {
        /// Link-layer destination.
        mac: Mac,
        /// Where it leads.
        destination: Ipv4Addr,
    },
}

/// A change together with the peer it serves; removals serve none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// What to do.
    pub change: Change,
    /// Subnet of the peer.
    pub peer: Option<Ipv4Net>,
}
