//! Single cases by table; all others by applying the difference to a model of the kernel.

use super::*;
use crate::desired::{Device, Tunnel, Underlay, desired};
use proptest::prelude::*;

const DEVICE: u32 = 7;
const UNDERLAY: u32 = 2;

fn node(peers: Vec<Peer>, direct_routing: bool) -> Desired {
    let tunnel = Tunnel { vni: 1, port: 0, learning: false, gbp: false, direct_routing, mtu: None };
    let underlay = Underlay {
        index: UNDERLAY,
        name: "eth0".into(),
        mtu: 1500,
        address: Ipv4Addr::new(192, 168, 1, 1),
        public: Ipv4Addr::new(192, 168, 1, 1),
        on_link: vec!["192.168.1.0/24".parse().unwrap()],
    };
    let own = Some("10.5.255.0/24".parse().unwrap());
    desired("10.5.0.0/16".parse().unwrap(), &tunnel, &underlay, mac(255), own, peers)
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn peer(third: u8, host: u8, mac_end: u8) -> Peer {
    Peer { subnet: subnet(third), public: Ipv4Addr::new(192, 168, 1 + (host & 1), host), mac: mac(mac_end) }
}

fn subnet(third: u8) -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::new(10, 5, third, 0), 24).unwrap()
}

/// The kernel's answer to each change, as far as the difference relies on it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kernel {
    state: Observed,
    refused: Vec<Change>,
}

impl Kernel {
    fn new(state: Observed) -> Self {
        Kernel { state, refused: Vec::new() }
    }

    fn apply(&mut self, desired: &Desired) -> usize {
        let changes = diff(desired, &self.state);
        for planned in &changes {
            self.one(planned.change);
        }
        changes.len()
    }

    fn one(&mut self, change: Change) {
        let state = &mut self.state;
        match change {
            Change::SetForward { mac, destination } => {
                state.forwards.retain(|f| f.mac != mac);
                state.forwards.push(Forward { mac, destination, permanent: true });
            }
            Change::SetNeighbour { address, mac } => {
                state.neighbours.retain(|n| n.address != address);
                state.neighbours.push(Neighbour { address, mac, permanent: true });
            }
            Change::SetNextHop { id, gateway, replace } => {
                if state.nexthops.iter().any(|nh| nh.id == id) != replace {
                    return self.refused.push(change);
                }
                state.nexthops.retain(|nh| nh.id != id);
                let nexthop =
                    NextHop { id, device: DEVICE, gateway: Some(gateway), protocol: ROUTE_PROTOCOL, on_link: true };
                state.nexthops.push(nexthop);
            }
            Change::SetRoute { destination, nexthop } => {
                let Some(found) = state.nexthops.iter().find(|nh| nh.id == nexthop) else {
                    return self.refused.push(change);
                };
                let (device, gateway) = (found.device, found.gateway);
                self.replace_route(Route {
                    destination,
                    device,
                    gateway,
                    nexthop: Some(nexthop),
                    protocol: ROUTE_PROTOCOL,
                    priority: 0,
                });
            }
            Change::SetDirectRoute { destination, gateway } => self.replace_route(Route {
                destination,
                device: UNDERLAY,
                gateway: Some(gateway),
                nexthop: None,
                protocol: ROUTE_PROTOCOL,
                priority: 0,
            }),
            Change::DeleteRoute(route) => state.routes.retain(|r| *r != route),
            Change::DeleteNextHop { id } => {
                state.nexthops.retain(|nh| nh.id != id);
                state.routes.retain(|r| r.nexthop != Some(id));
            }
            Change::DeleteNeighbour { address } => state.neighbours.retain(|n| n.address != address),
            Change::DeleteForward { mac, destination } => {
                state.forwards.retain(|f| f.mac != mac || f.destination != destination);
            }
        }
    }

    /// `NLM_F_REPLACE`: the first route with this destination and metric makes way.
    fn replace_route(&mut self, route: Route) {
        let same = |r: &&mut Route| r.destination == route.destination && r.priority == 0;
        match self.state.routes.iter_mut().find(same) {
            Some(found) => *found = route,
            None => self.state.routes.push(route),
        }
    }
}

fn empty() -> Observed {
    Observed { device: DEVICE, ..Observed::default() }
}

fn flannels(third: u8) -> Route {
    Route {
        destination: subnet(third),
        device: DEVICE,
        gateway: Some(Ipv4Addr::new(10, 5, third, 0)),
        nexthop: None,
        protocol: PROTOCOL_BOOT,
        priority: 0,
    }
}

#[test]
fn a_new_peer_gets_forwarding_neighbour_nexthop_and_route_in_this_order() {
    let changes: Vec<Change> = diff(&node(vec![peer(4, 10, 4)], false), &empty()).iter().map(|p| p.change).collect();
    let vtep = Ipv4Addr::new(10, 5, 4, 0);
    let id = nexthop_id(1, vtep);
    assert_eq!(
        changes,
        [
            Change::SetForward { mac: mac(4), destination: Ipv4Addr::new(192, 168, 1, 10) },
            Change::SetNeighbour { address: vtep, mac: mac(4) },
            Change::SetNextHop { id, gateway: vtep, replace: false },
            Change::SetRoute { destination: subnet(4), nexthop: id },
        ]
    );
}

#[test]
fn a_peer_on_link_gets_a_plain_route_and_loses_the_encapsulated_objects() {
    let mut kernel = Kernel::new(empty());
    kernel.apply(&node(vec![peer(4, 10, 4)], false));
    kernel.apply(&node(vec![peer(4, 10, 4)], true));
    assert_eq!(
        kernel.state.routes,
        [Route {
            destination: subnet(4),
            device: UNDERLAY,
            gateway: Some(Ipv4Addr::new(192, 168, 1, 10)),
            nexthop: None,
            protocol: ROUTE_PROTOCOL,
            priority: 0,
        }]
    );
    let rest = (kernel.state.forwards.len(), kernel.state.neighbours.len(), kernel.state.nexthops.len());
    assert_eq!(rest, (0, 0, 0));
}

#[test]
fn a_new_mac_moves_the_peer_and_removes_the_old_forwarding_entry() {
    let mut kernel = Kernel::new(empty());
    kernel.apply(&node(vec![peer(4, 10, 4)], false));
    let changes: Vec<Change> =
        diff(&node(vec![peer(4, 10, 5)], false), &kernel.state).iter().map(|p| p.change).collect();
    let destination = Ipv4Addr::new(192, 168, 1, 10);
    assert_eq!(
        changes,
        [
            Change::SetForward { mac: mac(5), destination },
            Change::SetNeighbour { address: Ipv4Addr::new(10, 5, 4, 0), mac: mac(5) },
            Change::DeleteForward { mac: mac(4), destination },
        ]
    );
}

#[test]
fn a_new_public_address_changes_the_forwarding_entry_only() {
    let mut kernel = Kernel::new(empty());
    kernel.apply(&node(vec![peer(4, 10, 4)], false));
    let changes: Vec<Change> =
        diff(&node(vec![peer(4, 12, 4)], false), &kernel.state).iter().map(|p| p.change).collect();
    assert_eq!(changes, [Change::SetForward { mac: mac(4), destination: Ipv4Addr::new(192, 168, 1, 12) }]);
}

#[test]
fn what_flanneld_left_on_the_device_is_taken_over_or_removed() {
    let state = Observed { routes: vec![flannels(4), flannels(6)], ..empty() };
    let mut kernel = Kernel::new(state);
    kernel.apply(&node(vec![peer(4, 10, 4)], false));
    let left: Vec<_> = kernel.state.routes.iter().map(|r| (r.destination, r.protocol)).collect();
    assert_eq!(left, [(subnet(4), ROUTE_PROTOCOL)]);
}

#[test]
fn a_route_somebody_else_put_on_the_device_stays() {
    let by_hand = Route { gateway: Some(Ipv4Addr::new(10, 5, 4, 0)), ..flannels(77) };
    let scoped = Route { protocol: 2, gateway: None, ..flannels(78) };
    let elsewhere = Route { device: 9, ..flannels(79) };
    let state = Observed { routes: vec![by_hand, scoped, elsewhere], ..empty() };
    assert_eq!(diff(&node(vec![], false), &state), []);
}

#[test]
fn direct_routes_of_another_network_stay() {
    let other = Route {
        destination: "10.42.1.0/24".parse().unwrap(),
        device: UNDERLAY,
        protocol: ROUTE_PROTOCOL,
        ..flannels(1)
    };
    let stale = Route { device: UNDERLAY, protocol: ROUTE_PROTOCOL, ..flannels(1) };
    let state = Observed { routes: vec![other, stale], ..empty() };
    let changes: Vec<Change> = diff(&node(vec![], false), &state).iter().map(|p| p.change).collect();
    assert_eq!(changes, [Change::DeleteRoute(stale)]);
}

#[test]
fn a_nexthop_id_that_is_taken_is_passed_over() {
    let vtep = Ipv4Addr::new(10, 5, 4, 0);
    let foreign = NextHop { id: nexthop_id(1, vtep), device: 9, gateway: None, protocol: 4, on_link: false };
    let state = Observed { nexthops: vec![foreign], ..empty() };
    let mut kernel = Kernel::new(state);
    kernel.apply(&node(vec![peer(4, 10, 4)], false));
    assert!(kernel.refused.is_empty());
    assert!(kernel.state.nexthops.contains(&foreign));
    assert_eq!(kernel.state.routes.first().and_then(|r| r.nexthop), Some(nexthop_id(1, vtep) + 1));
}

fn any_peers() -> impl Strategy<Value = Vec<Peer>> {
    prop::collection::vec((0_u8..12, 2_u8..20, 0_u8..14).prop_map(|(a, b, c)| peer(a, b, c)), 0..12)
}

fn any_route() -> impl Strategy<Value = Route> {
    (0_u8..14, prop::sample::select(vec![DEVICE, UNDERLAY, 9]), any::<bool>(), 0_u8..4, any::<bool>()).prop_map(
        |(third, device, ours, via, metric)| Route {
            device,
            gateway: Some(Ipv4Addr::new(10, 5, if via == 0 { third } else { via }, 0)),
            protocol: if ours { ROUTE_PROTOCOL } else { PROTOCOL_BOOT },
            priority: u32::from(metric),
            ..flannels(third)
        },
    )
}

fn any_nexthop() -> impl Strategy<Value = NextHop> {
    (0_u8..14, prop::sample::select(vec![DEVICE, 9]), any::<bool>(), any::<bool>(), 0_u32..3).prop_map(
        |(third, device, ours, on_link, shift)| {
            let vtep = Ipv4Addr::new(10, 5, third, 0);
            NextHop {
                id: nexthop_id(1, vtep) + shift,
                device,
                gateway: Some(vtep),
                protocol: if ours { ROUTE_PROTOCOL } else { 4 },
                on_link,
            }
        },
    )
}

/// A kernel in any disorder: leftovers of ours and of flanneld, and things of others.
fn any_kernel() -> impl Strategy<Value = Observed> {
    let neighbour = (0_u8..14, 0_u8..14, any::<bool>()).prop_map(|(third, end, permanent)| Neighbour {
        address: Ipv4Addr::new(10, 5, third, 0),
        mac: mac(end),
        permanent,
    });
    let forward = (0_u8..14, 2_u8..20, any::<bool>()).prop_map(|(end, host, permanent)| Forward {
        mac: mac(end),
        destination: Ipv4Addr::new(192, 168, 1 + (host & 1), host),
        permanent,
    });
    let parts = (
        prop::collection::vec(neighbour, 0..8),
        prop::collection::vec(forward, 0..8),
        prop::collection::vec(any_nexthop(), 0..8),
        prop::collection::vec(any_route(), 0..8),
    );
    parts.prop_map(|(mut neighbours, mut forwards, mut nexthops, mut routes)| {
        let mut seen = HashSet::new();
        neighbours.retain(|n| seen.insert(n.address));
        let mut seen = HashSet::new();
        forwards.retain(|f| seen.insert(f.mac));
        let mut seen = HashSet::new();
        nexthops.retain(|nh| seen.insert(nh.id));
        let mut seen = HashSet::new();
        routes.retain(|r| seen.insert((r.destination, r.priority)));
        Observed { device: DEVICE, neighbours, forwards, nexthops, routes }
    })
}

fn device_of(desired: &Desired) -> &Device {
    &desired.device
}

/// What must hold once the changes are made.
fn assert_reached(desired: &Desired, before: &Observed, after: &Observed) {
    for (peer, way) in &desired.peers {
        let routes: Vec<&Route> =
            after.routes.iter().filter(|r| r.destination == peer.subnet && r.priority == 0).collect();
        let [route] = routes.as_slice() else { panic!("{} has routes {routes:?}", peer.subnet) };
        assert_eq!(route.protocol, ROUTE_PROTOCOL);
        match way {
            Way::Direct => {
                assert_eq!((route.device, route.gateway), (device_of(desired).underlay, Some(peer.public)));
            }
            Way::Encapsulated => {
                let nexthop = after.nexthops.iter().find(|nh| Some(nh.id) == route.nexthop).unwrap();
                assert_eq!((nexthop.device, nexthop.gateway, nexthop.on_link), (DEVICE, Some(peer.vtep()), true));
                assert!(after.neighbours.contains(&Neighbour { address: peer.vtep(), mac: peer.mac, permanent: true }));
                assert!(after.forwards.contains(&Forward { mac: peer.mac, destination: peer.public, permanent: true }));
            }
        }
    }
    let encapsulated = desired.peers.iter().filter(|(_, way)| *way == Way::Encapsulated).count();
    assert_eq!(after.neighbours.iter().filter(|n| n.permanent).count(), encapsulated);
    assert_eq!(after.forwards.iter().filter(|f| f.permanent).count(), encapsulated);
    assert_eq!(after.nexthops.iter().filter(|nh| is_ours(nh, DEVICE)).count(), encapsulated);
    assert_eq!(after.routes.iter().filter(|r| r.protocol == ROUTE_PROTOCOL).count(), desired.peers.len());
    for nexthop in before.nexthops.iter().filter(|nh| !is_ours(nh, DEVICE)) {
        assert!(after.nexthops.contains(nexthop), "foreign nexthop {nexthop:?} is gone");
    }
}

fn sorted(state: &Observed) -> Observed {
    let mut state = state.clone();
    state.neighbours.sort_unstable();
    state.forwards.sort_unstable();
    state.nexthops.sort_unstable();
    state.routes.sort_unstable();
    state
}

proptest! {
    #[test]
    fn what_is_remembered_of_a_round_is_what_the_kernel_then_holds(
        before in any_kernel(), peers in any_peers(), direct in any::<bool>(),
    ) {
        let desired = node(peers, direct);
        let mut kernel = Kernel::new(before.clone());
        kernel.apply(&desired);
        let mut remembered = before.clone();
        remembered.record(&diff(&desired, &before), UNDERLAY);
        prop_assert_eq!(sorted(&remembered), sorted(&kernel.state));
    }

    #[test]
    fn applying_the_difference_reaches_the_wanted_state_and_then_nothing_differs(
        before in any_kernel(), peers in any_peers(), direct in any::<bool>(),
    ) {
        let desired = node(peers, direct);
        let mut kernel = Kernel::new(before.clone());
        kernel.apply(&desired);
        prop_assert!(kernel.refused.is_empty(), "{:?}", kernel.refused);
        assert_reached(&desired, &before, &kernel.state);
        prop_assert_eq!(kernel.apply(&desired), 0);
    }

    #[test]
    fn one_peer_set_follows_another(first in any_peers(), second in any_peers(), direct in any::<bool>()) {
        let mut kernel = Kernel::new(empty());
        kernel.apply(&node(first, direct));
        let before = kernel.state.clone();
        let desired = node(second, direct);
        kernel.apply(&desired);
        assert_reached(&desired, &before, &kernel.state);
    }
}
