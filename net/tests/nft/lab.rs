//! A node with pods on a bridge and a stranger outside, who has no route to the pods.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use net::message::link::{Bridge, Veth};
use net::message::route::Route;
use net::message::{address, link, route};
use net::netlink::Message;
use net::ns::Namespace;
use net::sysctl;

use crate::common::{end, mac, on_a_node, pod, socket, socket_in};

/// How long an answer is waited for before it is asked for again, and how often it is: only a failing test waits long.
const PATIENCE: Duration = Duration::from_millis(200);
const ATTEMPTS: usize = 50;
const BRIDGE: &str = "br0";

/// A version of IP, for tests that do the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// The node is the namespace of the thread that made it.
#[derive(Debug)]
pub(super) struct Lab {
    bridge: u32,
}

impl Version {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The address of a host of the pods' subnet; the node is host 1.
    pub(super) fn pod(self, host: u32) -> IpAddr {
        self.choose(&format!("10.42.1.{host}"), &format!("fd00:7::{host}")).parse().unwrap()
    }

    /// The pods' subnet.
    pub(super) fn subnet(self) -> IpNet {
        self.choose("10.42.1.0/24", "fd00:7::/64").parse().unwrap()
    }

    /// The address of a host outside; the node is host 1, the stranger host 2.
    pub(super) fn outside(self, host: u32) -> IpAddr {
        self.choose(&format!("192.0.2.{host}"), &format!("2001:db8::{host}")).parse().unwrap()
    }

    pub(super) fn choose<'a>(self, v4: &'a str, v6: &'a str) -> &'a str {
        match self {
            Self::V4 => v4,
            Self::V6 => v6,
        }
    }

    fn with_length(self, address: IpAddr) -> IpNet {
        IpNet::new(address, if self == Self::V4 { 24 } else { 64 }).unwrap()
    }

    fn default_route(self) -> IpNet {
        self.choose("0.0.0.0/0", "::/0").parse().unwrap()
    }
}

/// Runs a test on a node of its own.
pub(super) fn lab(test: impl FnOnce(&Lab) + Send) {
    on_a_node(|| {
        sysctl::write("net/ipv4/ip_forward", "1").unwrap();
        sysctl::write("net/ipv6/conf/all/forwarding", "1").unwrap();
        let bridge = Bridge { name: BRIDGE, mac: mac(1), mtu: None, vlan_filtering: false, promisc: false };
        send(None, &[link::set_up(1, "lo"), link::create_bridge(&bridge)]);
        let index = nix::net::if_::if_nametoindex(BRIDGE).unwrap();
        for version in Version::BOTH {
            send(None, &[address::add(index, BRIDGE, version.with_length(version.pod(1)))]);
        }
        test(&Lab { bridge: index });
    });
}

impl Lab {
    /// A pod with this host number, whose default route leads to the node. Its bridge port lets frames turn back.
    pub(super) fn pod(&self, host: u32) -> Namespace {
        let namespace = self.attach(&format!("pod{host}"), 100 + host, Some(self.bridge));
        send(None, &[link::set_bridge_port(100 + host, "", true, false)]);
        for version in Version::BOTH {
            let default = Route { gateway: Some(version.pod(1)), index: Some(2), ..Route::to(version.default_route()) };
            let address = address::add(2, "eth0", version.with_length(version.pod(host)));
            send(Some(&namespace), &[address, route::add(&default)]);
        }
        namespace
    }

    /// The stranger outside.
    pub(super) fn outside(&self) -> Namespace {
        let namespace = self.attach("uplink", 300, None);
        for version in Version::BOTH {
            send(None, &[address::add(300, "uplink", version.with_length(version.outside(1)))]);
            send(Some(&namespace), &[address::add(2, "eth0", version.with_length(version.outside(2)))]);
        }
        namespace
    }

    /// A namespace with a link to the node and no addresses yet; its end has index 2.
    pub(super) fn attach(&self, name: &str, index: u32, master: Option<u32>) -> Namespace {
        use std::os::fd::AsFd;
        let namespace = pod();
        let (near, far) = (end(name, index), end("eth0", 2));
        let veth = Veth {
            near: &near,
            far: &net::op::VethEnd { mac: mac(index + 1000), ..far },
            far_namespace: Some(namespace.as_fd()),
            mtu: None,
            master,
            group: 0,
        };
        send(None, &[link::create_veth(&veth)]);
        send(Some(&namespace), &[link::set_up(1, "lo"), link::set_up(2, "eth0")]);
        namespace
    }
}

/// Carries out requests in a namespace; on the node without one.
pub(super) fn send(namespace: Option<&Namespace>, messages: &[Message]) {
    let mut socket = namespace.map_or_else(socket, socket_in);
    assert_eq!(socket.batch(messages), []);
}

/// A UDP socket in a namespace; on the node without one.
pub(super) fn udp(namespace: Option<&Namespace>, address: IpAddr, port: u16) -> UdpSocket {
    let bind = || UdpSocket::bind(SocketAddr::new(address, port)).unwrap();
    let socket = match namespace {
        None => bind(),
        Some(namespace) => namespace.run(bind).unwrap(),
    };
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends from one socket until it arrives at the other, and returns the address it seems to come from.
pub(super) fn seen(from: &UdpSocket, destination: SocketAddr, to: &UdpSocket) -> IpAddr {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    // What was sent again because it was late may still arrive when the next question has been asked.
    let question = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut buffer = [0; 8];
    for _ in 0..ATTEMPTS {
        from.send_to(&question, destination).unwrap();
        while let Ok((_, source)) = to.recv_from(&mut buffer) {
            if buffer == question {
                return source.ip();
            }
        }
    }
    panic!("nothing sent to {destination} arrived");
}
