//! What becomes of packets.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use net::conntrack::{self, Connections};
use net::message::route::Route;
use net::message::{address, route};
use net::nft::rulesets::flannel::{Network, Wanted};
use net::nft::rulesets::hostports::{HostPort, Masquerade};
use net::nft::rulesets::{flannel, hostports, masquerade};
use net::nft::{Family, Socket};
use net::ns::Namespace;
use net::sysctl;

use super::lab::{Lab, Version, lab, seen, send, udp};

const PORT: u16 = 8080;
/// How long a connection may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn mapping(version: Version, host: u32, protocol: u8, masquerade: Masquerade) -> HostPort {
    HostPort {
        protocol,
        host_address: None,
        host_port: PORT,
        pod: ipnet::IpNet::new(version.pod(host), version.subnet().prefix_len()).unwrap(),
        pod_port: 80,
        masquerade,
    }
}

/// Connects to the destination and returns the address the server sees, once an answer has come back.
fn tcp_peer(client: Option<&Namespace>, destination: SocketAddr, server: &Namespace, port: u16) -> IpAddr {
    let any = if destination.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let listener = server.run(|| TcpListener::bind((any, port)).unwrap()).unwrap();
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            let (mut stream, peer) = accept(&listener);
            stream.write_all(b"answer").unwrap();
            peer.ip()
        });
        let ask = || {
            let mut answer = String::new();
            connect(destination).read_to_string(&mut answer).unwrap();
            answer
        };
        let answer = client.map_or_else(ask, |namespace| namespace.run(ask).unwrap());
        assert_eq!(answer, "answer");
        serving.join().unwrap()
    })
}

/// Waits for a client, but not for ever: one that failed would leave the test hanging.
fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(false).unwrap();
                return (stream, peer);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("no client came: {error}"),
        }
    }
}

/// Connects; on a loaded machine a fresh link may take a moment to carry anything.
fn connect(destination: SocketAddr) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect_timeout(&destination, PATIENCE) {
            Ok(stream) => return stream,
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => panic!("connect to {destination}: {error}"),
        }
    }
}

#[test]
fn a_masqueraded_pod_shows_its_own_address_to_neighbours_only() {
    lab(|lab| {
        let (pod, neighbour, outside) = (lab.pod(2), lab.pod(3), lab.outside());
        let mut nft = Socket::open().unwrap();
        for version in Version::BOTH {
            let add = masquerade::add_pod(version.pod(2), version.subnet(), "pod");
            nft.commit(&masquerade::base(version.subnet()).then(add)).unwrap();
            let from = |pod: &Namespace, host| udp(Some(pod), version.pod(host), 0);
            let stranger = udp(Some(&outside), version.outside(2), 53);
            let beside = udp(Some(&neighbour), version.pod(3), 53);
            let (to_stranger, to_neighbour) =
                (SocketAddr::new(version.outside(2), 53), SocketAddr::new(version.pod(3), 53));

            assert_eq!(seen(&from(&pod, 2), to_stranger, &stranger), version.outside(1));
            assert_eq!(seen(&from(&pod, 2), to_neighbour, &beside), version.pod(2));
            assert_eq!(seen(&from(&neighbour, 3), to_stranger, &stranger), version.pod(3), "not masqueraded");
            assert_eq!(tcp_peer(Some(&pod), SocketAddr::new(version.outside(2), 99), &outside, 99), version.outside(1));

            nft.commit(&masquerade::remove_pod(version.pod(2), version.subnet())).unwrap();
            assert_eq!(seen(&from(&pod, 2), to_stranger, &stranger), version.pod(2));
        }
    });
}

#[test]
fn a_host_port_leads_to_the_pod_from_everywhere() {
    lab(|lab| {
        let (pod, neighbour, outside) = (lab.pod(2), lab.pod(3), lab.outside());
        sysctl::write("net/ipv4/conf/br0/route_localnet", "1").unwrap();
        let mut nft = Socket::open().unwrap();
        for version in Version::BOTH {
            let ports = [mapping(version, 2, 6, Masquerade::Neighbours)];
            nft.commit(&hostports::base(version.subnet()).then(hostports::add(&ports, "pod"))).unwrap();
            let node = SocketAddr::new(version.outside(1), PORT);
            assert_eq!(tcp_peer(Some(&outside), node, &pod, 80), version.outside(2));
            assert_eq!(tcp_peer(Some(&neighbour), node, &pod, 80), version.pod(1), "the answer must come back here");
            assert_eq!(tcp_peer(Some(&pod), node, &pod, 80), version.pod(1), "even to itself");
            tcp_peer(None, node, &pod, 80);
            if version == Version::V4 {
                assert_eq!(tcp_peer(None, SocketAddr::from(([127, 0, 0, 1], PORT)), &pod, 80), version.pod(1));
            }
            nft.commit(&hostports::remove(&ports)).unwrap();
            let refused = outside.run(|| TcpStream::connect(node).unwrap_err()).unwrap();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn masquerading_of_host_ports_is_nobodys_or_everybodys_when_asked_for() {
    lab(|lab| {
        let (pod, neighbour, outside) = (lab.pod(2), lab.pod(3), lab.outside());
        let mut nft = Socket::open().unwrap();
        for version in Version::BOTH {
            nft.commit(&hostports::base(version.subnet())).unwrap();
            let node = SocketAddr::new(version.outside(1), PORT);
            let server = udp(Some(&pod), version.pod(2), 80);
            let from_neighbour = || udp(Some(&neighbour), version.pod(3), 0);
            let from_outside = || udp(Some(&outside), version.outside(2), 0);
            for (wanted, to_neighbour, to_outside) in [
                (Masquerade::Nobody, version.pod(3), version.outside(2)),
                (Masquerade::Neighbours, version.pod(1), version.outside(2)),
                (Masquerade::Everybody, version.pod(1), version.pod(1)),
            ] {
                let ports = [mapping(version, 2, 17, wanted)];
                nft.commit(&hostports::add(&ports, "pod")).unwrap();
                assert_eq!(seen(&from_neighbour(), node, &server), to_neighbour, "{wanted:?}");
                assert_eq!(seen(&from_outside(), node, &server), to_outside, "{wanted:?}");
                // Straight to the pod nothing is translated, whatever its host ports.
                let straight = SocketAddr::new(version.pod(2), 80);
                assert_eq!(seen(&from_neighbour(), straight, &server), version.pod(3), "{wanted:?}");
                nft.commit(&hostports::remove(&ports)).unwrap();
            }
        }
    });
}

#[test]
fn a_port_of_one_host_address_goes_before_the_port_of_every_address() {
    lab(|lab| {
        let (pod, other, outside) = (lab.pod(2), lab.pod(3), lab.outside());
        let mut nft = Socket::open().unwrap();
        for version in Version::BOTH {
            let special =
                HostPort { host_address: Some(version.outside(1)), ..mapping(version, 3, 17, Masquerade::Neighbours) };
            let ports = [mapping(version, 2, 17, Masquerade::Neighbours), special];
            nft.commit(&hostports::base(version.subnet()).then(hostports::add(&ports, "pods"))).unwrap();
            let (all, one) = (udp(Some(&pod), version.pod(2), 80), udp(Some(&other), version.pod(3), 80));
            let client = || udp(Some(&outside), version.outside(2), 0);
            seen(&client(), SocketAddr::new(version.outside(1), PORT), &one);
            // The bridge's address is another one of the node.
            let way = Route { gateway: Some(version.outside(1)), index: Some(2), ..Route::to(version.subnet()) };
            send(Some(&outside), &[route::add(&way)]);
            seen(&client(), SocketAddr::new(version.pod(1), PORT), &all);
        }
    });
}

#[test]
fn a_client_that_sent_before_the_port_was_mapped_is_translated_once_its_entry_is_deleted() {
    lab(|lab| {
        let (pod, outside) = (lab.pod(2), lab.outside());
        let mut nft = Socket::open().unwrap();
        for (version, family) in Version::BOTH.into_iter().zip([Family::Ip, Family::Inet]) {
            nft.commit(&hostports::base(version.subnet())).unwrap();
            let node = SocketAddr::new(version.outside(1), PORT);
            let (before, after) = (udp(None, version.outside(1), PORT), udp(Some(&pod), version.pod(2), 80));
            let client = udp(Some(&outside), version.outside(2), 0);
            let bystander = udp(Some(&outside), version.outside(2), 0);
            let unmapped = udp(None, version.outside(1), PORT + 1);
            seen(&client, node, &before);
            seen(&bystander, SocketAddr::new(version.outside(1), PORT + 1), &unmapped);
            nft.commit(&hostports::add(&[mapping(version, 2, 17, Masquerade::Neighbours)], "pod")).unwrap();
            seen(&client, node, &before);

            let mut delete =
                |protocol, port| conntrack::delete(nft.netlink(), Connections { protocol, port, family }).unwrap();
            assert_eq!((delete(6, PORT), delete(17, 80)), (0, 0));
            assert_eq!(delete(17, PORT), 1);
            seen(&client, node, &after);
            assert_eq!(delete(17, PORT), 1);
            assert_eq!(delete(17, PORT + 1), 1, "the bystander's entry was left alone");
        }
    });
}

/// A node of the overlay behind a link of its own, whose pods are in the given subnet.
fn remote_node(lab: &Lab, version: Version, index: u32) -> Namespace {
    let name = format!("peer{index}");
    let remote = lab.attach(&name, index, None);
    let (link, subnet, pod) = (
        [version.choose("10.42.0.0/32", "fd00:6::1/128"), version.choose("10.42.2.0/32", "fd00:6::2/128")],
        version.choose("10.42.2.0/24", "fd00:7:0:2::/64").parse().unwrap(),
        version.choose("10.42.2.9/32", "fd00:7:0:2::9/128").parse().unwrap(),
    );
    let [here, there] = link.map(|address| address.parse::<ipnet::IpNet>().unwrap());
    let on_link = |dst, index| Route { index: Some(index), ..Route::to(dst) };
    let by =
        |dst, gateway, index| Route { gateway: Some(gateway), index: Some(index), on_link: true, ..Route::to(dst) };
    send(None, &[address::add(index, &name, here), route::add(&on_link(there, index))]);
    send(None, &[route::add(&by(subnet, there.addr(), index))]);
    let everything = version.choose("0.0.0.0/0", "::/0").parse().unwrap();
    send(Some(&remote), &[address::add(2, "eth0", there), address::add(2, "eth0", pod), route::add(&on_link(here, 2))]);
    send(Some(&remote), &[route::add(&by(everything, here.addr(), 2))]);
    remote
}

#[test]
fn an_overlay_masquerades_what_leaves_it_and_what_enters_it_for_other_nodes() {
    lab(|lab| {
        let (pod, outside) = (lab.pod(2), lab.outside());
        let mut nft = Socket::open().unwrap();
        for (version, index) in Version::BOTH.into_iter().zip([400, 500]) {
            let remote = remote_node(lab, version, index);
            let network = version.choose("10.42.0.0/16", "fd00:7::/48").parse().unwrap();
            let networks = [Network { network, subnet: version.subnet() }];
            let wanted = Wanted { masquerade: true, forward: true };
            // A second overlay must not matter.
            let other = version.choose("10.5.0.0/16", "fd00:5::/48").parse().unwrap();
            nft.commit(&flannel::rules("other", &[Network { network: other, subnet: other }], wanted)).unwrap();
            nft.commit(&flannel::rules("overlay", &networks, wanted)).unwrap();

            let far = version.choose("10.42.2.9", "fd00:7:0:2::9").parse().unwrap();
            let pod_server = udp(Some(&pod), version.pod(2), 53);
            let far_server = udp(Some(&remote), far, 53);
            let stranger = udp(Some(&outside), version.outside(2), 53);
            let from_pod = || udp(Some(&pod), version.pod(2), 0);
            let from_outside = || udp(Some(&outside), version.outside(2), 0);
            let at = |address| SocketAddr::new(address, 53);
            let way = Route { gateway: Some(version.outside(1)), index: Some(2), ..Route::to(network) };
            send(Some(&outside), &[route::add(&way)]);

            assert_eq!(seen(&from_pod(), at(version.outside(2)), &stranger), version.outside(1));
            assert_eq!(seen(&from_pod(), at(far), &far_server), version.pod(2));
            assert_eq!(seen(&udp(Some(&remote), far, 0), at(version.pod(2)), &pod_server), far);
            assert_eq!(seen(&from_outside(), at(version.pod(2)), &pod_server), version.outside(2));
            let link = version.choose("10.42.0.0", "fd00:6::1").parse::<IpAddr>().unwrap();
            assert_eq!(seen(&from_outside(), at(far), &far_server), link);
        }
    });
}
