//! Nodes as network namespaces on one bridged underlay, for the tests of this crate. Everything vanishes with the last handle.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test support")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use net::message::{address, link, route};
use net::netlink::{Message, Protocol, Socket};
use net::ns::Namespace;
use net::op::VethEnd;
use net::{Mac, snapshot};
use nix::sched::{CloneFlags, unshare};

/// How long something may take that happens by itself. Only a failing test waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A new, empty network namespace.
pub(crate) fn namespace() -> Namespace {
    thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("this test needs root");
        Namespace::current().unwrap()
    })
    .join()
    .unwrap()
}

/// A node: a namespace with `eth0` on the underlay.
pub(crate) struct Node {
    pub(crate) ns: Namespace,
    pub(crate) address: Ipv4Addr,
}

/// Nodes `192.168.77.1`, `.2`, ... on one bridge.
pub(crate) struct Lab {
    switch: Namespace,
    pub(crate) nodes: Vec<Node>,
}

impl Lab {
    pub(crate) fn new(count: u8) -> Lab {
        let switch = namespace();
        call(
            &switch,
            &link::create_bridge(&link::Bridge {
                name: "br0",
                mac: Mac([2, 0xff, 0, 0, 0, 1]),
                mtu: None,
                vlan_filtering: false,
                promisc: false,
            }),
        );
        let nodes = (1..=count).map(|number| Lab::node(&switch, number)).collect();
        Lab { switch, nodes }
    }

    fn node(switch: &Namespace, number: u8) -> Node {
        let ns = namespace();
        let address = Ipv4Addr::new(192, 168, 77, number);
        let bridge = index(switch, "br0");
        let near = VethEnd {
            name: format!("port{number}"),
            index: 100 + u32::from(number),
            mac: Mac([2, 0xfe, 0, 0, 0, number]),
        };
        let far = VethEnd { name: "eth0".into(), index: 2, mac: Mac([2, 0xfd, 0, 0, 0, number]) };
        let veth = link::Veth {
            near: &near,
            far: &far,
            far_namespace: Some(ns_fd(&ns)),
            mtu: Some(1500),
            master: Some(bridge),
            group: 0,
        };
        call(switch, &link::create_veth(&veth));
        call(&ns, &link::set_up(1, "lo"));
        call(&ns, &link::set_up(2, "eth0"));
        call(&ns, &address::add(2, "eth0", IpNet::new(address.into(), 24).unwrap()));
        let default = route::Route {
            gateway: Some(Ipv4Addr::new(192, 168, 77, 254).into()),
            index: Some(2),
            ..route::Route::to("0.0.0.0/0".parse().unwrap())
        };
        call(&ns, &route::add(&default));
        Node { ns, address }
    }
}

fn ns_fd(ns: &Namespace) -> std::os::fd::BorrowedFd<'_> {
    ns.as_fd()
}

/// A route-netlink socket in the namespace.
pub(crate) fn socket(ns: &Namespace) -> Socket {
    Socket::open_in(Protocol::Route, ns).unwrap()
}

/// Sends one request that must succeed.
pub(crate) fn call(ns: &Namespace, message: &Message) {
    socket(ns).call(message).unwrap();
}

/// Index of a link that must exist.
pub(crate) fn index(ns: &Namespace, name: &str) -> u32 {
    snapshot::link_by_name(&mut socket(ns), name).unwrap().unwrap_or_else(|| panic!("no link {name}")).index
}

/// Waits until `done` holds.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a datagram sent from `from` to `to_address`, which must be an address of `to`, is echoed back. The sender uses
/// `from_address`. Repeated while packets are lost, so only a broken path makes it false.
pub(crate) fn reaches(
    from: &Namespace,
    from_address: Ipv4Addr,
    to: &Namespace,
    to_address: Ipv4Addr,
    tries: u32,
) -> bool {
    let server = to.run(|| UdpSocket::bind((to_address, 0))).unwrap().unwrap();
    let client = from.run(|| UdpSocket::bind((from_address, 0))).unwrap().unwrap();
    let wait = Some(Duration::from_millis(100));
    server.set_read_timeout(wait).unwrap();
    client.set_read_timeout(wait).unwrap();
    let target: SocketAddr = server.local_addr().unwrap();
    let mut buffer = [0; 16];
    for _ in 0..tries {
        if client.send_to(b"ping", target).is_err() {
            thread::sleep(Duration::from_millis(50));
            continue;
        }
        if let Ok((length, sender)) = server.recv_from(&mut buffer)
            && server.send_to(&buffer[..length], sender).is_ok()
            && client.recv_from(&mut buffer).is_ok()
        {
            return true;
        }
    }
    false
}

/// The host address `.1` of a subnet, on a dummy of our own (a bridge): what a pod network would hold.
pub(crate) fn add_pod_address(ns: &Namespace, name: &str, subnet: Ipv4Net, number: u8) -> Ipv4Addr {
    call(
        ns,
        &link::create_bridge(&link::Bridge {
            name,
            mac: Mac([2, 0xfc, 0, 0, 0, number]),
            mtu: None,
            vlan_filtering: false,
            promisc: false,
        }),
    );
    let host = Ipv4Addr::from(u32::from(subnet.network()) + 1);
    call(ns, &address::add(index(ns, name), name, IpNet::new(host.into(), subnet.prefix_len()).unwrap()));
    host
}
