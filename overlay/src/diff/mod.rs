//! From what the kernel holds to what is wanted: the ordered changes, and nothing that belongs to somebody else.
//!
//! What counts as ours: permanent neighbours and all forwarding entries on the network's VXLAN device; routes and
//! nexthop objects with our protocol number on that device; routes with our protocol number elsewhere whose
//! destination lies inside the network (direct routing). Besides, routes a flanneld left on the device are taken over
//! or removed: they are recognised by their shape, `<subnet> via <subnet's first address>` of protocol `boot`.
//!
//! Additions come before removals, and each peer's additions are together, so that traffic to a changed peer moves
//! over rather than stops and a failing peer concerns only itself.

mod state;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use net::Mac;

use crate::desired::{Desired, Peer, ROUTE_PROTOCOL, Way, next_nexthop_id, nexthop_id};
pub use state::{Change, Forward, Neighbour, NextHop, Observed, PROTOCOL_BOOT, Planned, Route};

/// The changes that turn `observed` into `desired`. Empty when nothing differs.
#[must_use]
pub fn diff(desired: &Desired, observed: &Observed) -> Vec<Planned> {
    let mut differ = Differ::new(desired, observed);
    for (peer, way) in &desired.peers {
        match way {
            Way::Encapsulated => differ.encapsulated(peer),
            Way::Direct => differ.direct(peer),
        }
    }
    differ.remove_the_rest();
    differ.changes
}

/// Look-up tables over the kernel's state, and what has been decided so far.
struct Differ<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    /// Permanent neighbours by address.
    neighbours: HashMap<Ipv4Addr, Mac>,
    /// Forwarding entries; a unicast MAC has one destination.
    forwards: HashMap<Mac, Forward>,
    /// Our nexthop objects on the device by gateway.
    nexthops: HashMap<Ipv4Addr, NextHop>,
    /// Ids no new object may take.
    taken: HashSet<u32>,
    /// Routes by destination: of those with metric 0 the first of ours, else the first, which a replacing request hits.
    routes: HashMap<Ipv4Net, Route>,
    /// Ids that wanted routes use.
    kept_ids: HashSet<u32>,
    /// Routes that are as wanted, and those that a replacing request removes by itself.
    kept_routes: HashSet<Route>,
    changes: Vec<Planned>,
}

impl<'a> Differ<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        let mut routes = HashMap::with_capacity(observed.routes.len());
        for route in observed.routes.iter().filter(|route| route.priority == 0) {
            let known = routes.entry(route.destination).or_insert(*route);
            if known.protocol != ROUTE_PROTOCOL && route.protocol == ROUTE_PROTOCOL {
                *known = *route;
            }
        }
        let mut nexthops = HashMap::with_capacity(observed.nexthops.len());
        for nexthop in observed.nexthops.iter().filter(|nh| is_ours(nh, observed.device)) {
            if let Some(gateway) = nexthop.gateway {
                nexthops.entry(gateway).or_insert(*nexthop);
            }
        }
        Differ {
            desired,
            observed,
            neighbours: observed.neighbours.iter().filter(|n| n.permanent).map(|n| (n.address, n.mac)).collect(),
            forwards: observed.forwards.iter().map(|f| (f.mac, *f)).collect(),
            nexthops,
            taken: observed.nexthops.iter().map(|nh| nh.id).collect(),
            routes,
            kept_ids: HashSet::with_capacity(desired.peers.len()),
            kept_routes: HashSet::with_capacity(desired.peers.len()),
            changes: Vec::new(),
        }
    }

    fn push(&mut self, peer: &Peer, change: Change) {
        self.changes.push(Planned { change, peer: Some(peer.subnet) });
    }

    fn encapsulated(&mut self, peer: &Peer) {
        let vtep = peer.vtep();
        if !self.forwards.get(&peer.mac).is_some_and(|f| f.destination == peer.public && f.permanent) {
            self.push(peer, Change::SetForward { mac: peer.mac, destination: peer.public });
        }
        if self.neighbours.get(&vtep) != Some(&peer.mac) {
            self.push(peer, Change::SetNeighbour { address: vtep, mac: peer.mac });
        }
        let id = self.nexthop(peer, vtep);
        self.kept_ids.insert(id);
        match self.routes.get(&peer.subnet) {
            Some(route) if route.protocol == ROUTE_PROTOCOL && route.nexthop == Some(id) => {
                self.kept_routes.insert(*route);
            }
            other => {
                self.kept_routes.extend(other);
                self.push(peer, Change::SetRoute { destination: peer.subnet, nexthop: id });
            }
        }
    }

    /// The id of the nexthop object for `vtep`, which is created when there is none yet.
    fn nexthop(&mut self, peer: &Peer, vtep: Ipv4Addr) -> u32 {
        match self.nexthops.get(&vtep).copied() {
            Some(found) => {
                if !found.on_link {
                    self.push(peer, Change::SetNextHop { id: found.id, gateway: vtep, replace: true });
                }
                found.id
            }
            None => {
                let mut id = nexthop_id(self.desired.device.vni, vtep);
                while !self.taken.insert(id) {
                    id = next_nexthop_id(id);
                }
                self.push(peer, Change::SetNextHop { id, gateway: vtep, replace: false });
                id
            }
        }
    }

    fn direct(&mut self, peer: &Peer) {
        let underlay = self.desired.device.underlay;
        match self.routes.get(&peer.subnet) {
            Some(route)
                if route.protocol == ROUTE_PROTOCOL
                    && route.device == underlay
                    && route.gateway == Some(peer.public)
                    && route.nexthop.is_none() =>
            {
                self.kept_routes.insert(*route);
            }
            other => {
                self.kept_routes.extend(other);
                self.push(peer, Change::SetDirectRoute { destination: peer.subnet, gateway: peer.public });
            }
        }
    }

    /// Routes first, then what they lean on.
    fn remove_the_rest(&mut self) {
        let encapsulated =
            || self.desired.peers.iter().filter(|(_, way)| *way == Way::Encapsulated).map(|(peer, _)| peer);
        let vteps: HashSet<Ipv4Addr> = encapsulated().map(Peer::vtep).collect();
        let macs: HashSet<Mac> = encapsulated().map(|peer| peer.mac).collect();
        let observed = self.observed;
        let routes = observed
            .routes
            .iter()
            .filter(|route| !self.kept_routes.contains(route) && self.may_remove(route))
            .map(|route| Change::DeleteRoute(*route));
        let nexthops = observed
            .nexthops
            .iter()
            .filter(|nh| is_ours(nh, observed.device) && !self.kept_ids.contains(&nh.id))
            .map(|nh| Change::DeleteNextHop { id: nh.id });
        let neighbours = observed
            .neighbours
            .iter()
            .filter(|n| n.permanent && !vteps.contains(&n.address))
            .map(|n| Change::DeleteNeighbour { address: n.address });
        let forwards = observed
            .forwards
            .iter()
            .filter(|f| f.permanent && !macs.contains(&f.mac))
            .map(|f| Change::DeleteForward { mac: f.mac, destination: f.destination });
        let removals: Vec<Planned> = routes
            .chain(nexthops)
            .chain(neighbours)
            .chain(forwards)
            .map(|change| Planned { change, peer: None })
            .collect();
        self.changes.extend(removals);
    }

    /// Whether an unwanted route is ours, or flannel's, to remove.
    fn may_remove(&self, route: &Route) -> bool {
        let device = self.observed.device;
        let on_device = route.device == device
            || route
                .nexthop
                .is_some_and(|id| self.observed.nexthops.iter().any(|nh| nh.id == id && nh.device == device));
        if route.protocol == ROUTE_PROTOCOL {
            return on_device || (route.nexthop.is_none() && self.desired.network.contains(&route.destination));
        }
        on_device && route.protocol == PROTOCOL_BOOT && route.gateway == Some(route.destination.network())
    }
}

fn is_ours(nexthop: &NextHop, device: u32) -> bool {
    nexthop.device == device && nexthop.protocol == ROUTE_PROTOCOL
}
