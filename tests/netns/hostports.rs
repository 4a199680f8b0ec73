//! Ports of the node with real traffic: from another node, from the node itself, and from the pod that serves them.

use crate::stage::{Stage, bridge_with_ports, conf, with};
use lab::runtime::Verb;
use lab::{Node, Pod};
use net::ns::Namespace;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Ports of the node that lead to eth0 and to net1; inside the pods both are 80.
const ETH0: u16 = 8080;
const NET1: u16 = 8081;
/// How long a packet may take on a loaded machine before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

fn of_node(node: &Node) -> Namespace {
    Namespace::open(format!("/proc/{}/ns/net", node.space().pid())).unwrap()
}

fn of_pod(node: &Node, pod: &Pod) -> Namespace {
    Namespace::open(node.host_path(pod.netns())).unwrap()
}

/// A server in the pod on port 80 of its address, both protocols, which answers with `name` and what it was sent.
fn serve(inside: &Namespace, address: IpAddr, name: &'static str) {
    let bind = || (TcpListener::bind((address, 80)).unwrap(), UdpSocket::bind((address, 80)).unwrap());
    let (tcp, udp) = inside.run(bind).unwrap();
    thread::spawn(move || {
        for mut stream in tcp.incoming().map_while(Result::ok) {
            let mut text = [0; 64];
            let length = stream.read(&mut text).unwrap_or_default();
            let _client_gone = stream.write_all(&[name.as_bytes(), &text[..length]].concat());
        }
    });
    thread::spawn(move || {
        let mut text = [0; 64];
        while let Ok((length, client)) = udp.recv_from(&mut text) {
            let _client_gone = udp.send_to(&[name.as_bytes(), &text[..length]].concat(), client);
        }
    });
}

fn ask_tcp(target: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"!")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn ask_udp(target: SocketAddr) -> std::io::Result<String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"!")?;
    let mut text = [0; 64];
    let length = socket.recv(&mut text)?;
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

/// Whether `name` answers on the port, by TCP and by UDP, to a client in this namespace.
#[track_caller]
fn is_answered(from: &Namespace, address: IpAddr, port: u16, name: &str) {
    let target = SocketAddr::new(address, port);
    let answers = from.run(|| (ask_tcp(target), ask_udp(target))).unwrap();
    let expected = format!("{name}!");
    assert_eq!(answers.0.as_ref().ok(), Some(&expected), "tcp {target}: {answers:?}");
    assert_eq!(answers.1.as_ref().ok(), Some(&expected), "udp {target}: {answers:?}");
}

/// Whether a client is told that nobody listens.
#[track_caller]
fn is_refused(from: &Namespace, address: IpAddr, port: u16) {
    let target = SocketAddr::new(address, port);
    let (tcp, udp) = from.run(|| (ask_tcp(target), ask_udp(target))).unwrap();
    assert_eq!(tcp.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(udp.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// Both protocols of a port.
fn mappings(port: u16) -> Value {
    json!([
        {"hostPort": port, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": port, "containerPort": 80, "protocol": "udp"},
    ])
}

/// A node whose default network has a port mapper, as flannel's manifest has it, with ports from the runtime.
fn configuration(port: u16) -> Value {
    let flannel =
        json!({"type": "flannel", "delegate": {"bridge": "kbr0", "isDefaultGateway": true, "hairpinMode": true}});
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let delegate = json!({"cniVersion": "1.0.0", "name": "flannel.1", "plugins": [flannel, portmap]});
    let ports = json!({"portMappings": mappings(port)});
    with(
        conf(),
        json!({
            "cniVersion": "1.0.0", "delegates": [delegate], "capabilities": {"portMappings": true},
            "runtimeConfig": ports,
        }),
    )
}

/// A pod with a port on each network.
fn pod(stage: &Stage, name: &str) -> Pod {
    let mut list = bridge_with_ports("1.0.0", "web");
    list["plugins"][0]["hairpinMode"] = json!(true);
    stage.network("web", &list);
    stage.pod_with(name, &json!([{"name": "web", "portMappings": mappings(NET1)}]).to_string())
}

/// Serves the pod's port 80 on both of its interfaces.
fn serve_both(stage: &Stage, pod: &Pod) -> Namespace {
    let inside = of_pod(&stage.node, pod);
    for (ifname, name) in [("eth0", "first"), ("net1", "second")] {
        let address = lab::inspect::address_in(&stage.node, pod, ifname).unwrap();
        serve(&inside, address.addr(), name);
    }
    inside
}

#[test]
fn a_port_of_the_node_leads_to_the_pod_from_everywhere_and_to_nobody_after_del() {
    let mut stage = Stage::new("hostports");
    let elsewhere = stage.lab.node("elsewhere").unwrap();
    let (conf, pod) = (configuration(ETH0), pod(&stage, "web"));
    let before = stage.snapshot();
    stage.add(&pod, &conf);
    let inside = serve_both(&stage, &pod);
    // strict reverse path filters, which many distributions switch on
    let strict = ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter"];
    stage.node.run(strict).unwrap();
    stage.node.run_in(&pod, strict).unwrap();
    let (node, address) = (of_node(&stage.node), IpAddr::V4(stage.node.address()));
    for (port, name) in [(ETH0, "first"), (NET1, "second")] {
        is_answered(&of_node(&elsewhere), address, port, name);
        is_answered(&node, address, port, name);
        is_answered(&node, Ipv4Addr::LOCALHOST.into(), port, name);
        is_answered(&inside, address, port, name);
    }
    stage.del(&pod, &conf);
    stage.nothing_left(&before, &pod, &["10.42.15.2", "10.77.0.2"]);
    for port in [ETH0, NET1] {
        is_refused(&of_node(&elsewhere), address, port);
        is_refused(&node, address, port);
    }
}

#[test]
fn a_neighbour_on_the_same_bridge_reaches_the_port() {
    let stage = Stage::new("hostports-neighbour");
    let (conf, pod) = (configuration(ETH0), pod(&stage, "web"));
    stage.add(&pod, &conf);
    serve_both(&stage, &pod);
    let neighbour = stage.pod_with("neighbour", "web");
    stage.add(&neighbour, &self::conf());
    let inside = of_pod(&stage.node, &neighbour);
    is_answered(&inside, IpAddr::V4(stage.node.address()), ETH0, "first");
    is_answered(&inside, IpAddr::V4(stage.node.address()), NET1, "second");
}

#[test]
fn a_port_that_another_pod_has_is_refused_and_stays_with_it() {
    let stage = Stage::new("hostports-conflict");
    let first = pod(&stage, "first");
    stage.add(&first, &configuration(ETH0));
    serve_both(&stage, &first);
    let (node, address) = (of_node(&stage.node), IpAddr::V4(stage.node.address()));
    let second = pod(&stage, "second");
    let before = stage.snapshot();
    // by the runtime on eth0, and by the annotation on net1
    for port in [ETH0, 9090] {
        let (_, message) = stage.call(Verb::Add, &second, &configuration(port)).refusal();
        assert!(message.contains("host ports") || message.contains("port"), "{message}");
        stage.nothing_left(&before, &second, &["10.42.15.3", "10.77.0.3", "9090"]);
        stage.del(&second, &configuration(port));
        is_answered(&node, address, ETH0, "first");
        is_answered(&node, address, NET1, "second");
    }
}

#[test]
fn a_pod_that_takes_over_a_port_gets_datagrams_of_clients_that_never_stopped() {
    let mut stage = Stage::new("hostports-udp");
    let elsewhere = stage.lab.node("elsewhere").unwrap();
    let address = IpAddr::V4(stage.node.address());
    // a socket that sends on, from before there was a pod
    let socket = of_node(&elsewhere).run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"early", (address, ETH0)).unwrap();
    let pod = pod(&stage, "web");
    stage.add(&pod, &configuration(ETH0));
    serve_both(&stage, &pod);
    socket.send_to(b"!", (address, ETH0)).unwrap();
    let answer = || {
        let mut text = [0; 64];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    // the early one may have waited for the node's address to be resolved, and come after the pod
    let first = answer();
    assert_eq!(if first == "firstearly" { answer() } else { first }, "first!");
}

#[test]
fn plain_pods_without_ports_leave_no_rule_behind() {
    let stage = Stage::new("hostports-none");
    let conf = with(configuration(ETH0), json!({"runtimeConfig": {}}));
    let pod = stage.pod("overlay1pod");
    stage.add(&pod, &conf);
    assert_eq!(stage.ruleset(), "");
    assert!(Path::new(&stage.node.host_path(pod.netns())).exists());
}
