//! Plans carried out on the real kernel: what they do, and that nothing is left of those that fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, helpers too"
)]

mod common;

use std::fs;
use std::path::Path;

use common::{assert_same, end, mac, on_a_node, pod, snapshot, socket, socket_in};
use net::apply::{Context, Executor, FailAt, Failed, FailureKind, Kernel, Recorder, undo_of};
use net::message::link;
use net::nft::rulesets::hostports::{self, HostPort, Masquerade};
use net::nft::rulesets::node_table;
use net::ns::Namespace;
use net::op::{Op, Place, PlacedOp, RouteSpec, Step, VethEnd};
use net::snapshot::{Family, addresses, link_by_name};

const GROUP: u32 = 0x8000_1234;

fn step(place: Place, op: Op, undo: Option<Op>) -> Step {
    Step { place, op, undo, why: "test".to_owned() }
}

fn kernel(pod: &Namespace) -> Kernel {
    Kernel::new(Context { pod: Some(pod.try_clone().unwrap()), ..Context::default() })
}

fn failure(result: Result<net::apply::Applied, Box<Failed>>) -> Failed {
    *result.expect_err("the plan must fail")
}

/// The shared objects of a node: a bridge with an address, and forwarding.
fn node(number: u8) -> Vec<Step> {
    let bridge = format!("kbr{number}");
    let ensure = Op::EnsureBridge {
        name: bridge.clone(),
        mtu: Some(1450),
        mac: mac(u32::from(number)),
        vlan_filtering: false,
        promisc: false,
    };
    let address = Op::EnsureAddress { link: bridge, address: format!("10.{number}.0.1/24").parse().unwrap() };
    let forward = Op::Sysctl { key: "net/ipv4/ip_forward".to_owned(), value: "1".to_owned() };
    [ensure, address, forward].map(|op| step(Place::Host, op, None)).into()
}

fn veth(number: u8, name: &str) -> (VethEnd, VethEnd) {
    let index = u32::from(number);
    (end(&format!("veth{number}"), 500_000 + index), end(name, 600_000 + index))
}

/// One attachment of a pod: reservation, veth, address, routes.
fn attachment(number: u8, name: &str, store: &Path) -> Vec<Step> {
    let (host, pod) = veth(number, name);
    let index = pod.index;
    let address: ipnet::IpNet = format!("10.{number}.0.2/24").parse().unwrap();
    let path = store.join(format!("10.{number}.0.2")).to_str().unwrap().to_owned();
    let contents = "container\r\neth0".to_owned();
    let route = RouteSpec {
        index,
        dst: format!("10.{number}.0.0/16").parse().unwrap(),
        gateway: Some(format!("10.{number}.0.1").parse().unwrap()),
        priority: None,
        table: None,
        mtu: Some(1400),
        advmss: None,
        scope: None,
        on_link: false,
        name: name.to_owned(),
    };
    let name = name.to_owned();
    let create = Op::CreateFile { path: path.clone(), contents: contents.clone(), mode: 0o600, make_dirs: true };
    let names = vec![host.name.clone()];
    let bridge = Some(format!("kbr{number}"));
    let veth =
        Op::CreateVeth { host, pod, mtu: Some(1450), bridge, group: GROUP, hairpin: number % 2 == 1, isolated: false };
    vec![
        step(Place::Host, create, Some(Op::RemoveFile { path, only_if: Some(contents) })),
        step(Place::Host, veth, Some(Op::DeleteLinks { group: GROUP, names })),
        step(Place::Pod, Op::LinkUp { index, arp_notify: true, name: name.clone() }, None),
        step(
            Place::Pod,
            Op::AddAddress { index, address, name: name.clone() },
            Some(Op::DeleteAddress { index, address, name }),
        ),
        step(Place::Pod, Op::AddRoute(route.clone()), Some(Op::DeleteRoute(route))),
    ]
}

/// A pod with two networks.
fn plan(store: &Path) -> Vec<Step> {
    [node(1), node(2), attachment(1, "eth0", store), attachment(2, "net1", store)].concat()
}

fn files(store: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(store).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_pod_with_two_networks_is_attached_and_detached() {
    on_a_node(|| {
        let (pod, store) = (pod(), tempfile::tempdir().unwrap());
        let mut kernel = kernel(&pod);
        kernel.apply(&[node(1), node(2)].concat()).unwrap();
        let before = (snapshot(&mut socket()), snapshot(&mut socket_in(&pod)));
        let steps = plan(store.path());
        kernel.apply(&steps).unwrap();
        let lines: Vec<_> = snapshot(&mut socket_in(&pod)).lines().map(str::to_owned).collect();
        for expected in ["address 10.1.0.2/24 on eth0", "address 10.2.0.2/24 on net1"] {
            assert!(lines.iter().any(|line| line == expected), "{lines:#?}");
        }
        let route = "route 10.1.0.0/16 table 254 protocol 3 via 10.1.0.1 dev eth0 scope 0 mtu 1400";
        assert!(lines.iter().any(|line| line == route), "{lines:#?}");
        assert_eq!(net::sysctl::read("net/ipv4/ip_forward").unwrap(), "1");
        assert!(link_by_name(&mut socket(), "veth1").unwrap().unwrap().port.unwrap().hairpin);
        assert_eq!(files(store.path()), ["10.1.0.2", "10.2.0.2"]);

        let undo: Vec<_> = undo_of(&steps).collect();
        assert_eq!(kernel.undo(&undo), []);
        assert_same(&before.0, &snapshot(&mut socket()));
        assert_eq!(files(store.path()), [""; 0]);
        // The same again finds nothing and says nothing.
        assert_eq!(kernel.undo(&undo), []);
    });
}

#[test]
fn wherever_a_plan_fails_nothing_is_left_of_it() {
    on_a_node(|| {
        let (pod, store) = (pod(), tempfile::tempdir().unwrap());
        kernel(&pod).apply(&[node(1), node(2)].concat()).unwrap();
        let before = (snapshot(&mut socket()), snapshot(&mut socket_in(&pod)));
        let steps = plan(store.path());
        for n in 0..steps.len() {
            let failed = failure(FailAt::new(kernel(&pod), n, libc::ENOSPC).apply(&steps));
            assert_eq!((failed.step, failed.errno), (n, Some(libc::ENOSPC)));
            assert_eq!(failed.undo_errors, []);
            assert_same(&before.0, &snapshot(&mut socket()));
            assert_same(&before.1, &snapshot(&mut socket_in(&pod)));
            assert_eq!(files(store.path()), [""; 0], "after a failure at step {n}");
        }
        FailAt::new(kernel(&pod), steps.len(), libc::ENOSPC).apply(&steps).unwrap();
    });
}

#[test]
fn what_happened_behind_the_failed_message_of_a_datagram_is_undone_too() {
    on_a_node(|| {
        let pod = pod();
        let address = |text: &str| -> ipnet::IpNet { text.parse().unwrap() };
        let add = |text: &str| {
            let (index, name) = (1, "lo".to_owned());
            let undo = Op::DeleteAddress { index, address: address(text), name: name.clone() };
            step(Place::Pod, Op::AddAddress { index, address: address(text), name }, Some(undo))
        };
        let mut kernel = kernel(&pod);
        kernel.apply(&[add("10.0.0.1/32")]).unwrap();
        let failed = failure(kernel.apply(&[add("10.0.0.2/32"), add("10.0.0.1/32"), add("10.0.0.3/32")]));
        assert_eq!((failed.step, failed.errno, failed.kind), (1, Some(libc::EEXIST), FailureKind::Other));
        assert!(failed.to_string().starts_with("add address 10.0.0.1/32 to lo (test): File exists"), "{failed}");
        let left: Vec<_> =
            addresses(&mut socket_in(&pod), 1, Family::V4).unwrap().into_iter().map(|found| found.address).collect();
        assert_eq!(left, [address("10.0.0.1/32")]);
    });
}

fn create(host: VethEnd, pod: VethEnd) -> Step {
    let undo = Op::DeleteLinks { group: GROUP, names: vec![host.name.clone()] };
    let op = Op::CreateVeth { host, pod, mtu: None, bridge: None, group: GROUP, hairpin: false, isolated: false };
    step(Place::Host, op, Some(undo))
}

#[test]
fn a_taken_index_is_told_from_a_taken_name() {
    on_a_node(|| {
        let pod = pod();
        let mut kernel = kernel(&pod);
        kernel.apply(&[create(end("first", 1001), end("eth0", 2001))]).unwrap();
        let before = (snapshot(&mut socket()), snapshot(&mut socket_in(&pod)));
        let cases = [
            (
                end("second", 1001),
                end("eth1", 2002),
                FailureKind::IndexTaken,
                "index 1001 chosen for second belongs to first",
            ),
            (
                end("second", 1002),
                end("eth1", 2001),
                FailureKind::IndexTaken,
                "index 2001 chosen for eth1 belongs to eth0",
            ),
            (
                end("first", 1002),
                end("eth1", 2002),
                FailureKind::NameTaken,
                "interface first exists already on the node",
            ),
            (
                end("second", 1002),
                end("eth0", 2002),
                FailureKind::NameTaken,
                "interface eth0 exists already in the pod",
            ),
        ];
        for (host, far, kind, cause) in cases {
            let failed = failure(kernel.apply(&[Step { undo: None, ..create(host, far) }]));
            assert_eq!(failed.kind, kind, "{failed}");
            assert!(failed.cause.starts_with(cause), "{failed}");
            assert_same(&before.0, &snapshot(&mut socket()));
            assert_same(&before.1, &snapshot(&mut socket_in(&pod)));
        }
    });
}

#[test]
fn a_later_operation_never_hits_the_link_that_had_the_chosen_index() {
    on_a_node(|| {
        let pod = pod();
        kernel(&pod).apply(&[create(end("theirs", 1001), end("eth0", 2001))]).unwrap();
        let before = snapshot(&mut socket());
        let address = "192.0.2.1/32".parse().unwrap();
        let steps = [
            create(end("ours", 1001), end("eth1", 2002)),
            step(Place::Host, Op::AddAddress { index: 1001, address, name: "ours".to_owned() }, None),
        ];
        let steps = steps.map(|step| Step { undo: None, ..step });
        assert_eq!(failure(kernel(&pod).apply(&steps)).step, 0);
        assert_same(&before, &snapshot(&mut socket()));
    });
}

#[test]
fn both_ends_of_a_veth_must_have_their_own_index() {
    on_a_node(|| {
        let failed = failure(kernel(&pod()).apply(&[create(end("a", 77), end("b", 77))]));
        assert_eq!(failed.errno, Some(libc::EINVAL));
    });
}

#[test]
fn a_pod_that_is_gone_stops_a_plan_and_not_an_undo() {
    on_a_node(|| {
        let store = tempfile::tempdir().unwrap();
        let steps = plan(store.path());
        {
            let pod = pod();
            kernel(&pod).apply(&steps).unwrap();
        }
        let mut kernel = Kernel::new(Context::default());
        let failed = failure(kernel.apply(&steps[8..9]));
        assert_eq!(failed.kind, FailureKind::NamespaceGone, "{failed}");
        let undo: Vec<_> = undo_of(&steps).collect();
        assert_eq!(kernel.undo(&undo), []);
        assert_eq!(files(store.path()), [""; 0]);
        assert_eq!(link_by_name(&mut socket(), "veth1").unwrap(), None);
    });
}

#[test]
fn an_interface_that_is_no_bridge_is_refused() {
    on_a_node(|| {
        let veth = (end("kbr1", 11), end("peer", 12));
        let veth = link::Veth { near: &veth.0, far: &veth.1, far_namespace: None, mtu: None, master: None, group: 0 };
        socket().call(&link::create_veth(&veth)).unwrap();
        let failed = failure(Kernel::new(Context::default()).apply(&node(1)));
        assert_eq!((failed.step, failed.errno), (0, Some(libc::EEXIST)));
        assert!(failed.cause.contains("kbr1 exists and is not a bridge"), "{failed}");
    });
}

#[test]
fn a_bridge_that_is_there_keeps_its_settings_and_comes_up() {
    on_a_node(|| {
        let mut socket = socket();
        let bridge =
            link::Bridge { name: "kbr1", mac: mac(99), mtu: Some(1300), vlan_filtering: false, promisc: false };
        socket.call(&link::create_bridge(&bridge)).unwrap();
        let index = link_by_name(&mut socket, "kbr1").unwrap().unwrap().index;
        socket.call(&link::set_down(index, "kbr1")).unwrap();
        let mut kernel = Kernel::new(Context::default());
        kernel.apply(&node(1)).unwrap();
        let found = link_by_name(&mut socket, "kbr1").unwrap().unwrap();
        assert_eq!((found.up, found.mtu, found.mac), (true, 1300, Some(mac(99))));
        let once = snapshot(&mut socket);
        kernel.apply(&node(1)).unwrap();
        assert_same(&once, &snapshot(&mut socket));
    });
}

#[test]
fn a_reservation_that_somebody_else_has_is_a_kind_of_its_own_and_stays() {
    on_a_node(|| {
        let (pod, store) = (pod(), tempfile::tempdir().unwrap());
        fs::write(store.path().join("10.1.0.2"), "theirs").unwrap();
        let failed = failure(kernel(&pod).apply(&attachment(1, "eth0", store.path())[..1]));
        assert_eq!((failed.kind, failed.errno), (FailureKind::FileExists, Some(libc::EEXIST)));
        assert_eq!(fs::read_to_string(store.path().join("10.1.0.2")).unwrap(), "theirs");
    });
}

#[test]
fn an_undo_tries_everything_and_collects_what_failed() {
    on_a_node(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir(path("not-a-file")).unwrap();
        fs::write(path("file"), "x").unwrap();
        let ops = ["not-a-file", "file"]
            .map(|name| PlacedOp { place: Place::Host, op: Op::RemoveFile { path: path(name), only_if: None } });
        let errors = Kernel::new(Context::default()).undo(&ops);
        assert_eq!(errors.iter().map(|error| error.position).collect::<Vec<_>>(), [0]);
        assert_eq!(errors[0].errno, Some(libc::EISDIR));
        assert_eq!(files(directory.path()), ["not-a-file"]);
    });
}

fn shell(script: &str, deadline_ms: u64) -> Op {
    let environment = vec![("SCRIPT".to_owned(), script.to_owned()), ("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    // The shell reads its script from the standard input, as a plugin its configuration.
    let stdin = format!("{script}\n");
    Op::Exec { program: "/bin/sh".to_owned(), environment, stdin, deadline_ms, what: "ADD of a test".to_owned() }
}

#[test]
fn what_a_program_prints_is_kept_and_its_failure_is_undone_by_its_own_undo() {
    on_a_node(|| {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let undo = Op::RemoveFile { path: mark.to_str().unwrap().to_owned(), only_if: None };
        let mut kernel = Kernel::new(Context::default());
        let applied = kernel.apply(&[step(Place::Host, shell("echo '{\"ips\":[]}'", 10_000), None)]).unwrap();
        assert_eq!((applied.outputs[0].step, applied.outputs[0].stdout.as_str()), (0, "{\"ips\":[]}\n"));

        let script = format!("echo half > {}; echo '{{\"code\":11}}'; echo why >&2; exit 3", mark.display());
        let failed = failure(kernel.apply(&[step(Place::Host, shell(&script, 10_000), Some(undo))]));
        assert_eq!((failed.kind, failed.cause.as_str()), (FailureKind::Exec, "it ended with status 3"));
        let output = failed.exec.unwrap();
        assert_eq!(
            (output.status, output.stdout.as_str(), output.stderr.as_str()),
            (Some(3), "{\"code\":11}\n", "why\n")
        );
        assert!(!mark.exists());
        assert!(!failed.op.contains("half"), "the standard input must not be shown: {}", failed.op);
    });
}

#[test]
fn a_program_that_hangs_costs_its_deadline_and_no_more() {
    on_a_node(|| {
        let failed =
            failure(Kernel::new(Context::default()).apply(&[step(Place::Host, shell("sleep 1000", 50), None)]));
        assert_eq!(failed.cause, "no answer within 50 ms; it was killed with its children");
        assert!(failed.exec.unwrap().timed_out);
    });
}

#[test]
fn a_recorder_touches_nothing_and_answers_what_was_laid_ready() {
    on_a_node(|| {
        let store = tempfile::tempdir().unwrap();
        let before = snapshot(&mut socket());
        let mut recorder = Recorder::default();
        recorder.answers.push_back("{}".to_owned());
        let steps = [plan(store.path()), vec![step(Place::Host, shell("exit 1", 1), None)]].concat();
        let applied = recorder.apply(&steps).unwrap();
        assert_eq!(
            applied.outputs.iter().map(|output| (output.step, output.stdout.as_str())).collect::<Vec<_>>(),
            [(steps.len() - 1, "{}")]
        );
        assert_eq!(recorder.steps, steps);
        assert_same(&before, &snapshot(&mut socket()));
        assert_eq!(files(store.path()), [""; 0]);
    });
}

#[test]
fn a_plan_survives_its_journal() {
    let steps = plan(Path::new("/store"));
    let text = serde_json::to_string(&steps).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Step>>(&text).unwrap(), steps);
    let undo: Vec<PlacedOp> = undo_of(&steps).collect();
    let text = serde_json::to_string(&undo).unwrap();
    assert_eq!(serde_json::from_str::<Vec<PlacedOp>>(&text).unwrap(), undo);
    assert!(text.contains(r#"{"place":"host","do":"delete_links","group":2147488308,"names":["veth2"]}"#), "{text}");
}

fn host_port(host_port: u16) -> HostPort {
    let pod = "10.1.0.2/24".parse().unwrap();
    HostPort { protocol: 6, host_address: None, host_port, pod, pod_port: 80, masquerade: Masquerade::Neighbours }
}

fn map_port(port: u16) -> Step {
    let (add, remove) = (hostports::add(&[host_port(port)], "test"), hostports::remove(&[host_port(port)]));
    let op = |transaction| Op::Nft { transaction, foundation: None, owner: None };
    step(Place::Host, op(add), Some(op(remove)))
}

#[test]
fn host_ports_are_taken_back_and_a_taken_one_stays_with_its_owner() {
    on_a_node(|| {
        let transaction = hostports::base("10.1.0.0/24".parse().unwrap());
        let base = Op::Nft { transaction, foundation: None, owner: None };
        let mut kernel = Kernel::new(Context::default());
        kernel.apply(&[step(Place::Host, base, None), map_port(8080)]).unwrap();
        let table = node_table("10.1.0.2".parse().unwrap());
        let mut nft = net::nft::Socket::open().unwrap();
        let before = nft.read_table(&table).unwrap().unwrap();

        let failed = failure(kernel.apply(&[map_port(8081), map_port(8080), map_port(8082)]));
        assert_eq!((failed.step, failed.errno), (1, Some(libc::EEXIST)), "{failed}");
        assert_eq!(failed.undo_errors, []);
        assert_eq!(nft.read_table(&table).unwrap().unwrap(), before);

        let undo: Vec<_> = undo_of(&[map_port(8080)]).collect();
        assert_eq!(kernel.undo(&undo), []);
        assert_eq!(kernel.undo(&undo), [], "missing is fine");
        assert_ne!(nft.read_table(&table).unwrap().unwrap(), before);
    });
}

#[test]
fn connections_that_cannot_be_dropped_stop_no_plan() {
    on_a_node(|| {
        let drop_stale = step(Place::Host, Op::DeleteConntrack { protocol: 17, port: 53 }, None);
        let forward = node(1).remove(2);
        Kernel::new(Context::default()).apply(&[drop_stale, forward]).unwrap();
        assert_eq!(net::sysctl::read("net/ipv4/ip_forward").unwrap(), "1");
    });
}
