//! Netlink against the real kernel.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, helpers too"
)]

mod common;

use std::net::{IpAddr, Ipv4Addr};

use common::{end, mac, on_a_node, pod, socket, socket_in};
use ipnet::IpNet;
use net::message::{address, link, neighbour, nexthop, route};
use net::netlink::{Group, Message, NetlinkError, Notice, Notifications, Socket};
use net::ns::Namespace;
use net::snapshot::{
    Family, RouteFilter, addresses, forwarding, link_by_index, link_by_name, links, neighbours, nexthops, routes,
};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn bridge(socket: &mut Socket, name: &str) -> u32 {
    let wanted = link::Bridge { name, mac: mac(1), mtu: Some(1450), vlan_filtering: false, promisc: false };
    socket.call(&link::create_bridge(&wanted)).unwrap();
    link_by_name(socket, name).unwrap().unwrap().index
}

fn carry_out(socket: &mut Socket, messages: &[Message]) {
    let failures = socket.batch(messages);
    assert!(failures.is_empty(), "{} failures, the first: {}", failures.len(), failures[0]);
}

fn vxlan(socket: &mut Socket, name: &str, lower: u32) -> u32 {
    let wanted = link::Vxlan {
        name: name.to_owned(),
        mac: mac(7),
        id: 1,
        port: 8472,
        local: Ipv4Addr::new(192, 0, 2, 1),
        lower,
        mtu: 1400,
        gbp: false,
        learning: false,
    };
    socket.call(&link::create_vxlan(&wanted)).unwrap();
    let index = link_by_name(socket, name).unwrap().unwrap().index;
    // Without any local address the kernel takes every gateway for a broadcast address, hence the loopback.
    carry_out(socket, &[link::set_up(1, "lo"), link::set_up(index, name)]);
    index
}

#[test]
fn a_pod_is_attached_with_two_datagrams() {
    on_a_node(|| {
        let pod = pod();
        let mut host = socket();
        let master = bridge(&mut host, "kbr0");
        let (near, far) = (end("veth1", 70_001), end("eth0", 80_001));
        let far_namespace = Some(std::os::fd::AsFd::as_fd(&pod));
        let veth = link::Veth {
            near: &near,
            far: &far,
            far_namespace,
            mtu: Some(1450),
            master: Some(master),
            group: 0x8000_0001,
        };
        let messages = [address::add(master, "kbr0", net("10.42.1.1/24")), link::create_veth(&veth)];
        carry_out(&mut host, &messages);

        let mut inside = socket_in(&pod);
        let mut default = route::Route::to(net("0.0.0.0/0"));
        default.gateway = Some(ip("10.42.1.1"));
        default.index = Some(far.index);
        let messages = [
            link::set_up(1, "lo"),
            link::set_up_announcing(far.index, "eth0"),
            address::add(far.index, "eth0", net("10.42.1.2/24")),
            address::add(far.index, "eth0", net("fd00:42::2/64")),
            route::add(&default),
        ];
        carry_out(&mut inside, &messages);

        let port = link_by_name(&mut host, "veth1").unwrap().unwrap();
        assert_eq!((port.index, port.master, port.mtu, port.group), (70_001, Some(master), 1450, 0x8000_0001));
        assert_eq!((port.kind.as_deref(), port.up, port.mac), (Some("veth"), true, Some(near.mac)));
        let eth0 = link_by_index(&mut inside, 80_001).unwrap().unwrap();
        assert_eq!((eth0.name.as_str(), eth0.mtu, eth0.up, eth0.mac), ("eth0", 1450, true, Some(far.mac)));
        let found: Vec<_> = addresses(&mut inside, far.index, Family::V4)
            .unwrap()
            .into_iter()
            .map(|a| (a.address, a.broadcast))
            .collect();
        assert_eq!(found, [(net("10.42.1.2/24"), Some(ip("10.42.1.255")))]);
        let notify = pod.run(|| net::sysctl::read("net/ipv4/conf/eth0/arp_notify").unwrap()).unwrap();
        assert_eq!(notify, "1");
        let filter = RouteFilter { family: Family::V4, table: Some(254), ..RouteFilter::default() };
        let default =
            routes(&mut inside, &filter).unwrap().into_iter().find(|route| route.dst.prefix_len() == 0).unwrap();
        assert_eq!((default.gateway, default.index, default.protocol), (Some(ip("10.42.1.1")), Some(80_001), 3));
    });
}

#[test]
fn a_batch_carries_on_behind_a_failure_and_names_every_failed_message() {
    on_a_node(|| {
        let mut socket = socket();
        let index = bridge(&mut socket, "br");
        let messages = [
            address::add(index, "br", net("10.0.0.1/24")),
            address::add(index, "br", net("10.0.0.1/24")),
            address::add(index, "br", net("10.0.1.1/24")),
            link::set_up(999_999, "nothing"),
        ];
        let failures = socket.batch(&messages);
        let found: Vec<_> = failures.iter().map(|failure| (failure.index, failure.error.errno)).collect();
        assert_eq!(found, [(1, libc::EEXIST), (3, libc::ENODEV)]);
        assert!(failures[0].to_string().starts_with("add address 10.0.0.1/24 to br: "), "{}", failures[0]);
        assert_eq!(addresses(&mut socket, index, Family::V4).unwrap().len(), 2);
        assert_eq!(socket.call(&address::delete(index, "br", net("10.0.1.1/24"))), Ok(()));
    });
}

#[test]
fn failures_of_a_batch_of_thousands_are_all_found() {
    on_a_node(|| {
        let mut socket = socket();
        let messages: Vec<_> = (0..3000).map(|n| link::set_up(1_000_000 + n, "nothing")).collect();
        let failures = socket.batch(&messages);
        assert!(failures.iter().map(|failure| failure.index).eq(0..3000));
        assert!(failures.iter().all(|failure| failure.error.errno == libc::ENODEV));
        assert_eq!(socket.call(&link::set_up(1, "lo")), Ok(()));
    });
}

#[test]
fn the_kernels_own_explanation_is_part_of_the_error() {
    on_a_node(|| {
        let mut socket = socket();
        let index = bridge(&mut socket, "br");
        let mut unreachable = route::Route::to(net("10.9.0.0/24"));
        unreachable.gateway = Some(ip("192.0.2.1"));
        unreachable.index = Some(index);
        let error = socket.call(&route::add(&unreachable)).unwrap_err();
        assert_eq!(error.errno, libc::ENETUNREACH);
        assert_eq!(error.explanation.as_deref(), Some("Nexthop has invalid gateway"));
        assert!(error.to_string().ends_with("(Nexthop has invalid gateway)"), "{error}");
    });
}

#[test]
fn a_missing_link_is_no_error_but_nothing() {
    on_a_node(|| {
        let mut socket = socket();
        assert_eq!(link_by_name(&mut socket, "nothing").unwrap(), None);
        assert_eq!(link_by_index(&mut socket, 12_345).unwrap(), None);
        let names: Vec<_> = links(&mut socket).unwrap().into_iter().map(|link| link.name).collect();
        assert_eq!(names, ["lo"]);
    });
}

#[test]
fn links_of_a_group_are_deleted_together_and_others_stay() {
    on_a_node(|| {
        let mut socket = socket();
        for n in 0..6_u32 {
            let (near, far) = (end(&format!("a{n}"), 100 + n), end(&format!("b{n}"), 200 + n));
            let group = if n < 4 { 0x8000_0007 } else { 0x8000_0008 };
            let veth = link::Veth { near: &near, far: &far, far_namespace: None, mtu: None, master: None, group };
            carry_out(&mut socket, &[link::create_veth(&veth)]);
        }
        carry_out(&mut socket, &[link::delete_group(0x8000_0007)]);
        let mut names: Vec<_> = links(&mut socket).unwrap().into_iter().map(|link| link.name).collect();
        names.sort();
        assert_eq!(names, ["a4", "a5", "b4", "b5", "lo"]);
        let error = socket.call(&link::delete_group(0x8000_0007)).unwrap_err();
        assert!(error.is_missing(), "{error}");
    });
}

#[test]
fn bridge_and_port_settings_are_read_back() {
    on_a_node(|| {
        let mut socket = socket();
        let wanted = link::Bridge { name: "br", mac: mac(3), mtu: None, vlan_filtering: false, promisc: true };
        carry_out(&mut socket, &[link::create_bridge(&wanted)]);
        let bridge = link_by_name(&mut socket, "br").unwrap().unwrap();
        assert!(bridge.up && bridge.promisc && bridge.bridge.is_some());
        assert_eq!(bridge.mac, Some(mac(3)));
        let (near, far) = (end("a", 100), end("b", 200));
        let master = Some(bridge.index);
        let veth = link::Veth { near: &near, far: &far, far_namespace: None, mtu: None, master, group: 0 };
        carry_out(&mut socket, &[link::create_veth(&veth), link::set_bridge_port(100, "a", true, true)]);
        let port = link_by_name(&mut socket, "a").unwrap().unwrap().port.unwrap();
        assert!(port.hairpin && port.isolated);
    });
}

#[test]
fn a_vxlan_device_is_made_as_flannel_makes_it() {
    on_a_node(|| {
        let mut socket = socket();
        let lower = bridge(&mut socket, "underlay");
        let index = vxlan(&mut socket, "flannel.1", lower);
        let found = link_by_index(&mut socket, index).unwrap().unwrap();
        let details = found.vxlan.unwrap();
        assert_eq!((found.mtu, found.mac), (1400, Some(mac(7))));
        assert_eq!((details.id, details.port, details.lower), (1, 8472, Some(lower)));
        assert_eq!((details.local, details.ageing, details.ttl), (Some(ip("192.0.2.1")), 300, 0));
        assert!(details.udp_checksum && !details.learning && !details.gbp && !details.l2miss);
    });
}

#[test]
fn peers_of_an_overlay_are_programmed_and_read_back_by_the_thousand() {
    on_a_node(|| {
        const PEERS: u32 = 5000;
        const PROTOCOL: u8 = 80;
        let mut socket = socket();
        let lower = bridge(&mut socket, "underlay");
        let index = vxlan(&mut socket, "flannel.1", lower);
        let messages: Vec<_> = (0..PEERS)
            .flat_map(|n| {
                let peer = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + ((n + 256) << 8)));
                let remote = IpAddr::from(Ipv4Addr::from(0xac10_0000 + n));
                let subnet = IpNet::new(peer, 24).unwrap();
                let hop = nexthop::Nexthop { id: 1000 + n, gateway: peer, index, protocol: PROTOCOL, on_link: true };
                [
                    neighbour::set(index, peer, mac(n)),
                    neighbour::set_forwarding(index, mac(n), remote),
                    nexthop::set(&hop),
                    route::replace(&route::Route::through(subnet, hop.id, PROTOCOL)),
                ]
            })
            .collect();
        carry_out(&mut socket, &messages);

        let count = usize::try_from(PEERS).unwrap();
        let found = neighbours(&mut socket, index, Family::V4).unwrap();
        assert_eq!(found.len(), count);
        assert!(found.iter().all(|neighbour| neighbour.permanent && neighbour.mac.is_some()));
        let found = forwarding(&mut socket, index).unwrap();
        assert_eq!(found.iter().filter(|entry| entry.own && entry.permanent && entry.remote.is_some()).count(), count);
        let filter = RouteFilter { family: Family::V4, protocol: Some(PROTOCOL), ..RouteFilter::default() };
        let found = routes(&mut socket, &filter).unwrap();
        assert_eq!(found.len(), count);
        assert!(found.iter().all(|route| route.nexthop.is_some()));
        assert_eq!(nexthops(&mut socket).unwrap().len(), count);

        // The routes go with their next hops.
        let messages: Vec<_> = (0..PEERS).map(|n| nexthop::delete(1000 + n)).collect();
        carry_out(&mut socket, &messages);
        assert_eq!(routes(&mut socket, &filter).unwrap(), []);
    });
}

#[test]
fn a_peers_entries_are_deleted_one_by_one() {
    on_a_node(|| {
        let mut socket = socket();
        let lower = bridge(&mut socket, "underlay");
        let index = vxlan(&mut socket, "flannel.1", lower);
        let mut plain = route::Route::to(net("10.1.0.0/24"));
        (plain.gateway, plain.index, plain.on_link) = (Some(ip("10.1.0.0")), Some(index), true);
        let setup = [
            neighbour::set(index, ip("10.1.0.0"), mac(1)),
            neighbour::set_forwarding(index, mac(1), ip("192.0.2.9")),
            route::replace(&plain),
        ];
        carry_out(&mut socket, &setup);
        let found =
            routes(&mut socket, &RouteFilter { index: Some(index), family: Family::V4, ..RouteFilter::default() });
        assert!(found.unwrap().iter().any(|route| route.on_link && route.gateway == Some(ip("10.1.0.0"))));
        let cleanup = [
            neighbour::delete(index, ip("10.1.0.0")),
            neighbour::delete_forwarding(index, mac(1), ip("192.0.2.9")),
            route::delete(&plain),
        ];
        carry_out(&mut socket, &cleanup);
        let again = socket.batch(&cleanup);
        assert!(again.len() == 3 && again.iter().all(|failure| failure.error.is_missing()), "{again:?}");
    });
}

#[test]
fn a_routing_table_that_does_not_exist_is_empty() {
    on_a_node(|| {
        let filter = RouteFilter { table: Some(4242), family: Family::V4, ..RouteFilter::default() };
        assert_eq!(routes(&mut socket(), &filter).unwrap(), []);
    });
}

fn drain(notifications: &mut Notifications) -> Vec<Notice> {
    let mut notices = Vec::new();
    while notifications.read(&mut notices).unwrap() {}
    notices
}

#[test]
fn a_subscriber_is_told_what_changed_and_by_whom() {
    on_a_node(|| {
        let groups = [Group::Link, Group::Address, Group::Route, Group::Neighbour, Group::Nexthop];
        let mut notifications = Notifications::open(&groups).unwrap();
        let mut socket = socket();
        let lower = bridge(&mut socket, "underlay");
        let index = vxlan(&mut socket, "vx", lower);
        let hop = nexthop::Nexthop { id: 9, gateway: ip("10.0.0.9"), index, protocol: 80, on_link: true };
        let port = socket.port().unwrap();
        drain(&mut notifications);
        carry_out(&mut socket, &[neighbour::set(index, ip("10.0.0.9"), mac(9)), nexthop::set(&hop)]);
        carry_out(&mut socket, &[route::add(&route::Route::through(net("10.7.0.0/16"), 9, 80))]);
        let seen = drain(&mut notifications);
        for group in [Group::Nexthop, Group::Route] {
            let by_us = |notice: &Notice| matches!(notice, Notice::Changed { group: g, removed: false, origin, .. } if *g == group && *origin == port);
            assert!(seen.iter().any(by_us), "{group:?} in {seen:?}");
        }
        carry_out(&mut socket, &[link::delete(index, "vx")]);
        let seen = drain(&mut notifications);
        let gone = |notice: &Notice| matches!(notice, Notice::Changed { group: Group::Link, removed: true, index: Some(i), .. } if *i == index);
        assert!(seen.iter().any(gone), "{seen:?}");
        assert_eq!(drain(&mut notifications), []);
    });
}

#[test]
fn lost_notifications_are_reported_once_and_the_rest_still_comes() {
    on_a_node(|| {
        let mut notifications = Notifications::open(&[Group::Neighbour]).unwrap();
        let mut socket = socket();
        let index = bridge(&mut socket, "br");
        let flood: Vec<_> =
            (0..20_000).map(|n| neighbour::set(index, Ipv4Addr::from(0x0a00_0000 + n).into(), mac(n))).collect();
        carry_out(&mut socket, &flood);
        let seen = drain(&mut notifications);
        assert!(seen.contains(&Notice::Overrun), "{} notices and no overrun", seen.len());
        carry_out(&mut socket, &[neighbour::delete(index, ip("10.0.0.1"))]);
        let seen = drain(&mut notifications);
        let removed =
            |notice: &Notice| matches!(notice, Notice::Changed { group: Group::Neighbour, removed: true, .. });
        assert!(seen.iter().any(removed) && !seen.contains(&Notice::Overrun), "{seen:?}");
    });
}

#[test]
fn a_socket_stays_in_its_namespace_and_the_thread_in_its_own() {
    on_a_node(|| {
        let pod = pod();
        let here = Namespace::current().unwrap();
        let mut inside = socket_in(&pod);
        assert_eq!(Namespace::current().unwrap().id(), here.id());
        assert_ne!(pod.id(), here.id());
        bridge(&mut inside, "inside");
        assert!(link_by_name(&mut inside, "inside").unwrap().is_some());
        assert!(link_by_name(&mut socket(), "inside").unwrap().is_none());
        assert_eq!(pod.run(|| Namespace::current().unwrap().id()).unwrap(), pod.id());
    });
}

#[test]
fn a_path_that_is_no_namespace_is_told_from_one_that_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("unmounted");
    std::fs::write(&file, "").unwrap();
    let missing = Namespace::open(directory.path().join("gone")).unwrap_err();
    let ordinary = Namespace::open(&file).unwrap_err();
    let other_kind = Namespace::open("/proc/self/ns/mnt").unwrap_err();
    assert!(missing.is_gone() && missing.to_string().ends_with("gone does not exist"), "{missing}");
    assert!(ordinary.is_gone() && ordinary.to_string().ends_with("is not a network namespace"), "{ordinary}");
    assert!(other_kind.is_gone());
}

#[test]
fn an_error_prints_what_was_asked_and_why_it_was_refused() {
    let error = NetlinkError { explanation: Some("no way".to_owned()), ..NetlinkError::new(libc::ENODEV, "set x up") };
    assert_eq!(error.to_string(), "set x up: No such device (no way)");
}
