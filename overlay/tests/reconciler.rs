//! The reconciler against a real kernel: what it programs carries traffic, and what is broken it mends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::net::Ipv4Addr;
use std::time::Instant;

use common::{Lab, Node, add_pod_address, call, index, reaches, socket};
use ipnet::Ipv4Net;
use net::message::{address, link, neighbour, nexthop, route};
use net::snapshot::{self, Family, RouteFilter, Snapshot};
use net::{Mac, ns::Namespace};
use overlay::desired::{Peer, ROUTE_PROTOCOL, Tunnel};
use overlay::device::Unfit;
use overlay::reconcile::{Look, Reconciler, Report};
use overlay::underlay::{self, Choice};
use overlay::vxlan::{Fate, Vxlan};

fn subnet(number: u8) -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::new(10, 5, number, 0), 24).unwrap()
}

fn subnet_of_ten(second: u8) -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::new(10, second, 0, 0), 24).unwrap()
}

fn mac(number: u8) -> Mac {
    Mac([2, 0, 0, 0, 5, number])
}

fn peer(node: &Node, number: u8) -> Peer {
    Peer { subnet: subnet(number), public: node.address, mac: mac(number) }
}

const TUNNEL: Tunnel = Tunnel { vni: 1, port: 0, learning: false, gbp: false, direct_routing: false, mtu: None };

fn reconciler(ns: &Namespace, number: u8, tunnel: Tunnel) -> Reconciler {
    let (vxlan, underlay) = ns.run(|| (Vxlan::open().unwrap(), underlay::choose(&Choice::default()).unwrap())).unwrap();
    let mut made = Reconciler::new(vxlan, "10.5.0.0/16".parse().unwrap(), tunnel, underlay, mac(number));
    made.set_own(Some(subnet(number)));
    made
}

/// A round; the device's sysctl is written in the namespace.
fn round(ns: &Namespace, reconciler: &mut Reconciler) -> Report {
    let report = ns.run(|| reconciler.reconcile(Look::Fresh, Instant::now())).unwrap().unwrap();
    assert_eq!(report.failures, []);
    report
}

/// Two nodes with one peer each, connected.
struct Pair {
    lab: Lab,
    reconcilers: [Reconciler; 2],
    pods: [Ipv4Addr; 2],
}

impl Pair {
    fn new(tunnel: Tunnel) -> Pair {
        let lab = Lab::new(2);
        let [a, b] = lab.nodes.as_slice() else { unreachable!() };
        let pods = [add_pod_address(&a.ns, "kbr0", subnet(1), 1), add_pod_address(&b.ns, "kbr0", subnet(2), 2)];
        let mut reconcilers = [reconciler(&a.ns, 1, tunnel), reconciler(&b.ns, 2, tunnel)];
        reconcilers[0].put(peer(b, 2));
        reconcilers[1].put(peer(a, 1));
        round(&a.ns, &mut reconcilers[0]);
        round(&b.ns, &mut reconcilers[1]);
        Pair { lab, reconcilers, pods }
    }

    fn connected(&self, tries: u32) -> bool {
        let [a, b] = self.lab.nodes.as_slice() else { unreachable!() };
        reaches(&a.ns, self.pods[0], &b.ns, self.pods[1], tries)
    }

    fn round(&mut self) -> Report {
        round(&self.lab.nodes[0].ns, &mut self.reconcilers[0])
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::take(&mut socket(&self.lab.nodes[0].ns)).unwrap()
    }

    fn ns(&self) -> &Namespace {
        &self.lab.nodes[0].ns
    }
}

#[test]
fn two_nodes_reach_each_other_and_a_second_round_finds_nothing_to_do() {
    let mut pair = Pair::new(TUNNEL);
    assert!(pair.connected(50));
    let report = pair.round();
    assert_eq!((report.fate, report.changes, report.peers), (Fate::Kept, 0, 1));
}

#[test]
fn the_objects_are_flannels_but_for_the_nexthop() {
    let pair = Pair::new(TUNNEL);
    let lines: Vec<String> =
        pair.snapshot().lines().filter(|line| line.contains("flannel.1")).map(str::to_owned).collect();
    let has = |text: &str| assert!(lines.iter().any(|line| line.starts_with(text)), "no {text:?} in {lines:#?}");
    has("address 10.5.1.0/32 on flannel.1");
    has("forwarding 02:00:00:00:05:02 on flannel.1 to 192.168.77.2");
    has("neighbour 10.5.2.0 mac 02:00:00:00:05:02 on flannel.1");
    has("link flannel.1 mtu 1450 kind vxlan mac 02:00:00:00:05:01 up");
    let facts = snapshot::link_by_name(&mut socket(pair.ns()), "flannel.1").unwrap().unwrap().vxlan.unwrap();
    assert_eq!(
        (facts.id, facts.port, facts.learning, facts.gbp, facts.ageing, facts.ttl),
        (1, 8472, false, false, 300, 0)
    );
    assert_eq!(facts.local, Some(pair.lab.nodes[0].address.into()));
    assert!(facts.udp_checksum);
    let filter = RouteFilter { protocol: Some(ROUTE_PROTOCOL), family: Family::V4, ..RouteFilter::default() };
    let routes = snapshot::routes(&mut socket(pair.ns()), &filter).unwrap();
    assert_eq!(routes.len(), 1);
    assert_eq!(
        (routes[0].dst, routes[0].gateway, routes[0].on_link),
        (subnet(2).into(), Some(Ipv4Addr::new(10, 5, 2, 0).into()), true)
    );
}

#[test]
fn whatever_is_removed_comes_back() {
    let mut pair = Pair::new(TUNNEL);
    let whole = pair.snapshot();
    let device = index(pair.ns(), "flannel.1");
    let vtep = Ipv4Addr::new(10, 5, 2, 0);
    let remote = pair.lab.nodes[1].address;
    let id = overlay::desired::nexthop_id(1, vtep);
    let damages = [
        route::delete(&route::Route::through(subnet(2).into(), id, ROUTE_PROTOCOL)),
        neighbour::delete(device, vtep.into()),
        neighbour::delete_forwarding(device, mac(2), remote.into()),
        nexthop::delete(id),
        link::set_down(device, "flannel.1"),
        link::set_mtu(device, "flannel.1", 1300),
        link::set_mac(device, "flannel.1", mac(99)),
        link::delete(device, "flannel.1"),
    ];
    for damage in damages {
        call(pair.ns(), &damage);
        assert!(!pair.snapshot().since(&whole).is_empty(), "{} changed nothing", damage.what());
        pair.round();
        let difference = pair.snapshot().since(&whole);
        assert!(difference.is_empty(), "after {}:\n{difference}", damage.what());
    }
    assert!(pair.connected(50));
}

#[test]
fn a_peer_that_changed_or_left_while_nobody_watched_leaves_nothing_behind() {
    let mut pair = Pair::new(TUNNEL);
    let (vxlan, underlay) =
        pair.ns().run(|| (Vxlan::open().unwrap(), underlay::choose(&Choice::default()).unwrap())).unwrap();
    let mut restarted = Reconciler::new(vxlan, "10.5.0.0/16".parse().unwrap(), TUNNEL, underlay, mac(1));
    restarted.set_own(Some(subnet(1)));
    restarted.put(Peer { subnet: subnet(3), public: Ipv4Addr::new(192, 168, 77, 3), mac: mac(3) });
    restarted.put(Peer { subnet: subnet(2), public: Ipv4Addr::new(192, 168, 77, 9), mac: mac(9) });
    assert_eq!(round(pair.ns(), &mut restarted).fate, Fate::Kept);
    let text = pair.snapshot().lines().collect::<Vec<_>>().join("\n");
    assert!(!text.contains(&mac(2).to_string()), "{text}");
    assert!(text.contains("10.5.3.0/24") && text.contains(&mac(9).to_string()), "{text}");
    restarted.replace([]);
    round(pair.ns(), &mut restarted);
    let text = pair.snapshot().lines().collect::<Vec<_>>().join("\n");
    for gone in ["10.5.2.0", "10.5.3.0", "nexthop", &mac(2).to_string(), &mac(9).to_string()] {
        assert!(!text.contains(gone), "{gone} in\n{text}");
    }
    pair.reconcilers[0].put(peer(&pair.lab.nodes[1], 2));
}

#[test]
fn what_flanneld_programmed_is_taken_over_without_a_new_device() {
    let lab = Lab::new(2);
    let [a, b] = lab.nodes.as_slice() else { unreachable!() };
    let made = link::Vxlan {
        name: "flannel.1".into(),
        mac: mac(1),
        id: 1,
        port: 8472,
        local: a.address,
        lower: 2,
        mtu: 1450,
        gbp: false,
        learning: false,
    };
    call(&a.ns, &link::create_vxlan(&made));
    let device = index(&a.ns, "flannel.1");
    call(&a.ns, &link::set_up(device, "flannel.1"));
    for number in [2, 7] {
        let vtep = Ipv4Addr::new(10, 5, number, 0);
        call(&a.ns, &neighbour::set(device, vtep.into(), mac(number)));
        call(&a.ns, &neighbour::set_forwarding(device, mac(number), b.address.into()));
        call(
            &a.ns,
            &route::add(&route::Route {
                gateway: Some(vtep.into()),
                index: Some(device),
                on_link: true,
                ..route::Route::to(subnet(number).into())
            }),
        );
    }
    let mut taking_over = reconciler(&a.ns, 1, TUNNEL);
    taking_over.put(peer(b, 2));
    let report = round(&a.ns, &mut taking_over);
    assert_eq!(report.fate, Fate::Adjusted, "only the address was missing");
    assert_eq!(index(&a.ns, "flannel.1"), device);
    let routes = snapshot::routes(
        &mut socket(&a.ns),
        &RouteFilter { index: Some(device), family: Family::V4, table: Some(254), ..RouteFilter::default() },
    )
    .unwrap();
    assert_eq!(routes.iter().map(|r| (r.dst, r.protocol)).collect::<Vec<_>>(), [(subnet(2).into(), ROUTE_PROTOCOL)]);
    let text = Snapshot::take(&mut socket(&a.ns)).unwrap().lines().collect::<Vec<_>>().join("\n");
    assert!(!text.contains("10.5.7.0"), "{text}");
}

#[test]
fn an_incompatible_device_is_made_anew() {
    let pair = Pair::new(TUNNEL);
    let mut other = reconciler(pair.ns(), 1, Tunnel { port: 4789, ..TUNNEL });
    other.put(peer(&pair.lab.nodes[1], 2));
    let report = round(pair.ns(), &mut other);
    assert_eq!(report.fate, Fate::Recreated(Unfit::Port));
    assert_eq!(report.changes, 4, "all of the peer's objects were replayed");
}

#[test]
fn direct_routing_uses_the_underlay() {
    let pair = Pair::new(Tunnel { direct_routing: true, ..TUNNEL });
    assert!(pair.connected(50));
    let text = pair.snapshot().lines().collect::<Vec<_>>().join("\n");
    assert!(text.contains("route 10.5.2.0/24 table 254 protocol 112 via 192.168.77.2 dev eth0"), "{text}");
    assert!(!text.contains(&mac(2).to_string()), "{text}");
}

#[test]
fn a_refused_peer_waits_alone() {
    let lab = Lab::new(1);
    let mut node = reconciler(&lab.nodes[0].ns, 1, TUNNEL);
    node.put(Peer { subnet: subnet(2), public: Ipv4Addr::new(192, 168, 77, 2), mac: mac(2) });
    node.put(Peer { subnet: subnet(3), public: Ipv4Addr::new(192, 168, 77, 3), mac: mac(3) });
    // The kernel refuses a gateway that is an address of the node itself.
    call(&lab.nodes[0].ns, &address::add(1, "lo", "10.5.3.0/32".parse().unwrap()));
    let now = Instant::now();
    let report = lab.nodes[0].ns.run(|| node.reconcile(Look::Fresh, now)).unwrap().unwrap();
    assert_eq!(report.failures.iter().map(|f| f.planned.peer).collect::<Vec<_>>(), [Some(subnet(3))]);
    assert!(report.retry.is_some_and(|due| due > now));
    let again = lab.nodes[0].ns.run(|| node.reconcile(Look::Fresh, now)).unwrap().unwrap();
    assert_eq!((again.changes, again.failures.len()), (0, 0), "it is not tried again before its time");
    assert_eq!(again.retry, report.retry);
    let later = lab.nodes[0].ns.run(|| node.reconcile(Look::Fresh, report.retry.unwrap())).unwrap().unwrap();
    assert_eq!(later.failures.len(), 1);
    call(&lab.nodes[0].ns, &address::delete(1, "lo", "10.5.3.0/32".parse().unwrap()));
    let healed = lab.nodes[0].ns.run(|| node.reconcile(Look::Fresh, later.retry.unwrap())).unwrap().unwrap();
    assert_eq!((healed.failures.len(), healed.retry), (0, None));
}

#[test]
fn five_thousand_peers_are_programmed_and_removed() {
    let lab = Lab::new(1);
    let ns = &lab.nodes[0].ns;
    let (vxlan, underlay) = ns.run(|| (Vxlan::open().unwrap(), underlay::choose(&Choice::default()).unwrap())).unwrap();
    let mut node = Reconciler::new(vxlan, "10.0.0.0/8".parse().unwrap(), TUNNEL, underlay, mac(1));
    let count = std::env::var("PEERS").ok().and_then(|text| text.parse().ok()).unwrap_or(5000_u32);
    node.replace((0..count).map(|number| {
        let [_, a, b, c] = number.to_be_bytes();
        let subnet = Ipv4Net::new(Ipv4Addr::new(10, 1 + b, c, 0), 24).unwrap();
        Peer { subnet, public: Ipv4Addr::new(172, 16 + a, b, c), mac: Mac([0x0a, 0x42, 0, a, b, c]) }
    }));
    let start = Instant::now();
    let report = round(ns, &mut node);
    eprintln!("{count} peers programmed in {:?}", start.elapsed());
    assert_eq!(report.changes, 4 * count as usize);
    let start = Instant::now();
    assert_eq!(round(ns, &mut node).changes, 0);
    eprintln!("compared in {:?}", start.elapsed());
    let last = subnet_of_ten(255);
    node.put(Peer { subnet: last, public: Ipv4Addr::new(172, 31, 0, 1), mac: mac(77) });
    let start = Instant::now();
    let report = ns.run(|| node.reconcile(Look::Remembered, start)).unwrap().unwrap();
    eprintln!("one more in {:?}", start.elapsed());
    assert_eq!((report.changes, report.failures.len()), (4, 0));
    node.remove(&last);
    assert_eq!(round(ns, &mut node).changes, 4);
    let device = index(ns, "flannel.1");
    let filter = RouteFilter { protocol: Some(ROUTE_PROTOCOL), ..RouteFilter::default() };
    assert_eq!(snapshot::routes(&mut socket(ns), &filter).unwrap().len(), count as usize);
    node.replace([]);
    let start = Instant::now();
    round(ns, &mut node);
    eprintln!("removed in {:?}", start.elapsed());
    assert_eq!(snapshot::routes(&mut socket(ns), &filter).unwrap().len(), 0);
    assert_eq!(snapshot::nexthops(&mut socket(ns)).unwrap().len(), 0);
    assert_eq!(snapshot::forwarding(&mut socket(ns), device).unwrap().len(), 0);
    let neighbours = snapshot::neighbours(&mut socket(ns), device, Family::V4).unwrap();
    assert!(neighbours.iter().all(|n| !n.permanent));
}
