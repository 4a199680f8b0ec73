//! Transactions are all or nothing, say which change was refused, and tolerate what they are told to tolerate.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use net::nft::rulesets::flannel::{Network, Wanted};
use net::nft::rulesets::hostports::{HostPort, Masquerade};
use net::nft::rulesets::{flannel, hostports, masquerade, node_table};
use net::nft::{
    Change, Element, Event, Existing, Family, Field, Monitor, Rule, Socket, Statement, Table, Transaction, Value,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::common::on_a_node;

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn subnet() -> ipnet::IpNet {
    "10.42.0.0/16".parse().unwrap()
}

fn pod(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 42, high, low).into()
}

fn host_port(number: u16) -> HostPort {
    HostPort {
        protocol: 6,
        host_address: None,
        host_port: 20_000 + number,
        pod: ipnet::IpNet::new(pod(number), 16).unwrap(),
        pod_port: 80,
        masquerade: Masquerade::Neighbours,
    }
}

fn elements(socket: &mut Socket) -> usize {
    let state = socket.read_table(&node_table(ANY)).unwrap().unwrap_or_default();
    state.sets.values().map(|set| set.elements.len()).sum()
}

#[test]
fn a_refused_change_leaves_nothing_of_the_others() {
    on_a_node(|| {
        let mut socket = Socket::open().unwrap();
        let bad = Change::FlushChain { table: node_table(ANY), chain: "missing".into() };
        let transaction = masquerade::base(subnet()).then(vec![bad].into()).then(masquerade::base(subnet()));
        let error = socket.commit(&transaction).unwrap_err();
        assert_eq!((error.errno, error.position), (libc::ENOENT, Some(5)));
        assert_eq!(error.to_string(), "flush chain ip plexus missing: No such file or directory");
        assert_eq!(socket.tables().unwrap(), []);
    });
}

#[test]
fn what_cannot_be_encoded_is_refused_before_anything_is_sent() {
    on_a_node(|| {
        let mut socket = Socket::open().unwrap();
        let table = node_table(ANY);
        let with = |statements| Change::AddRule {
            table: table.clone(),
            chain: "c".into(),
            rule: Rule { statements, comment: None },
        };
        let quoted = Element { key: vec![Value::Port(1)], data: None, comment: Some("a\"b".into()) };
        let other = Statement::Match { field: Field::Ipv4Source, negated: false, value: Value::Port(1) };
        for change in [
            Change::AddTable { table: Table::new(Family::Ip, "a b"), comment: None },
            Change::AddTable { table: table.clone(), comment: Some("x".repeat(300)) },
            Change::AddElement { table: table.clone(), set: "s".into(), element: quoted, existing: Existing::Kept },
            with(vec![Statement::from("fd00::/8".parse().unwrap())]),
            with(vec![other]),
            with(vec![Statement::accept(); 200]),
        ] {
            let error = socket.commit(&vec![change.clone()].into()).unwrap_err();
            assert_eq!((error.errno, error.position), (libc::EINVAL, Some(0)), "{change}");
            assert!(error.explanation.is_some(), "{error}");
        }
    });
}

#[test]
fn the_first_pod_is_told_that_the_base_is_missing() {
    on_a_node(|| {
        let mut socket = Socket::open().unwrap();
        let add = masquerade::add_pod(pod(1), subnet(), "first");
        assert!(socket.commit(&add).unwrap_err().is_missing());
        socket.commit(&masquerade::base(subnet()).then(add.clone())).unwrap();
        socket.commit(&masquerade::add_pod(pod(2), subnet(), "second")).unwrap();
        socket.commit(&masquerade::base(subnet())).unwrap();
        socket.commit(&add).unwrap();
        assert_eq!(elements(&mut socket), 2, "the base keeps the pods");
        assert!(socket.chain_exists(&node_table(ANY), &masquerade::chain(subnet())).unwrap());
        assert!(!socket.chain_exists(&node_table(ANY), &hostports::chain(subnet())).unwrap());
        let other = "10.43.0.0/24".parse().unwrap();
        assert!(socket.commit(&masquerade::add_pod(pod(1), other, "other subnet")).unwrap_err().is_missing());
    });
}

#[test]
fn deletions_of_missing_things_are_taken_out_and_the_rest_is_done() {
    on_a_node(|| {
        let mut socket = Socket::open().unwrap();
        let removal = |numbers: &[u16]| {
            numbers.iter().fold(Transaction::default(), |all, n| all.then(masquerade::remove_pod(pod(*n), subnet())))
        };
        socket.commit(&removal(&[1, 2])).unwrap();
        socket.commit(&flannel::remove("nothing")).unwrap();
        assert_eq!(socket.tables().unwrap(), []);
        socket.commit(&masquerade::base(subnet())).unwrap();
        for number in [2, 4] {
            socket.commit(&masquerade::add_pod(pod(number), subnet(), "c")).unwrap();
        }
        socket.commit(&removal(&[1, 2, 3, 4, 5])).unwrap();
        assert_eq!(elements(&mut socket), 0);
        let mut strict = removal(&[1]);
        strict.changes.iter_mut().for_each(|change| {
            if let Change::DeleteElement { missing_ok, .. } = change {
                *missing_ok = false;
            }
        });
        assert!(socket.commit(&strict).unwrap_err().is_missing());
        socket.commit(&masquerade::remove_subnet(subnet())).unwrap();
        socket.commit(&masquerade::remove_subnet(subnet())).unwrap();
        let state = socket.read_table(&node_table(ANY)).unwrap().unwrap();
        assert!(state.chains.is_empty() && state.sets.is_empty(), "{state:?}");
    });
}

#[test]
fn a_host_port_that_is_taken_is_a_conflict_and_its_owner_is_known() {
    on_a_node(|| {
        let mut socket = Socket::open().unwrap();
        let first = host_port(1);
        socket
            .commit(&hostports::base(subnet()).then(hostports::add(std::slice::from_ref(&first), "first/eth0")))
            .unwrap();
        let second = HostPort { pod: "10.42.0.9/16".parse().unwrap(), ..first.clone() };
        for (mapping, comment) in [(&second, "second/eth0"), (&first, "first/eth0")] {
            let both = [host_port(2), mapping.clone()];
            let error = socket.commit(&hostports::add(&both, comment)).unwrap_err();
            assert!(error.is_conflict(), "{error}");
            assert_eq!(error.position, Some(2), "{error}");
            assert_eq!(elements(&mut socket), 2, "nothing of the refused transaction is there");
        }
        let (map, key) = second.entry().unwrap();
        assert_eq!(socket.owner(&node_table(ANY), map, &key).unwrap().as_deref(), Some("first/eth0"));
        let (_, free) = host_port(3).entry().unwrap();
        assert_eq!(socket.owner(&node_table(ANY), map, &free).unwrap(), None);
        socket.commit(&hostports::remove(&[first])).unwrap();
        assert_eq!(elements(&mut socket), 0);
        socket.commit(&hostports::add(&[second], "second/eth0")).unwrap();
    });
}

#[test]
fn an_element_left_over_by_an_earlier_owner_is_replaced() {
    on_a_node(|| {
        let mut socket = Socket::open().unwrap();
        let table = node_table(ANY);
        let owner = |socket: &mut Socket, number| {
            socket.owner(&table, &masquerade::chain(subnet()), &[Value::Address(pod(number))]).unwrap()
        };
        let add = |numbers: &[u16], owner: &str| {
            let add = |number: &u16| masquerade::add_pod(pod(*number), subnet(), owner);
            numbers.iter().map(add).fold(Transaction::default(), Transaction::then)
        };
        socket.commit(&masquerade::base(subnet()).then(add(&[1, 2], "earlier/eth0"))).unwrap();
        // The third is new, the second is there twice: once from before, once from this very transaction.
        socket.commit(&add(&[2, 3, 2], "later/eth0")).unwrap();
        let owners = [1, 2, 3].map(|number| owner(&mut socket, number).unwrap());
        assert_eq!(owners, ["earlier/eth0", "later/eth0", "later/eth0"]);

        let mut refused = add(&[1], "third/eth0");
        refused = refused.then(vec![Change::FlushChain { table: table.clone(), chain: "missing".into() }].into());
        assert_eq!(socket.commit(&refused).unwrap_err().position, Some(1));
        assert_eq!(owner(&mut socket, 1).unwrap(), "earlier/eth0");
        assert_eq!(elements(&mut socket), 3);
    });
}

#[test]
fn a_thousand_pods_come_and_go_and_nothing_is_left() {
    on_a_node(|| {
        let mut socket = Socket::open().unwrap();
        socket.commit(&masquerade::base(subnet()).then(hostports::base(subnet()))).unwrap();
        let empty = socket.read_table(&node_table(ANY)).unwrap().unwrap();
        for number in 1..=500 {
            let owner = format!("{number}/eth0");
            let add = masquerade::add_pod(pod(number), subnet(), &owner);
            socket.commit(&add.then(hostports::add(&[host_port(number)], &owner))).unwrap();
        }
        let many = (501..=1000).fold(Transaction::default(), |all, number| {
            let owner = format!("{number}/eth0");
            let add = masquerade::add_pod(pod(number), subnet(), &owner);
            all.then(add).then(hostports::add(&[host_port(number)], &owner))
        });
        socket.commit(&many).unwrap();
        assert_eq!(elements(&mut socket), 3000);
        let stale = socket.stale_elements(&node_table(ANY), |_, owner| owner == "7/eth0").unwrap();
        assert_eq!(stale.changes.len(), 2997);
        for number in 1..=400 {
            let remove = masquerade::remove_pod(pod(number), subnet());
            socket.commit(&remove.then(hostports::remove(&[host_port(number)]))).unwrap();
        }
        // Everything the garbage collection found, of which much has gone meanwhile.
        socket.commit(&stale).unwrap();
        assert_eq!(socket.read_table(&node_table(ANY)).unwrap().unwrap(), empty);
    });
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    on_a_node(|| {
        std::thread::scope(|scope| {
            for writer in 0..4_u16 {
                scope.spawn(move || {
                    let mut socket = Socket::open().unwrap();
                    for number in (1..200).map(|number| writer * 200 + number) {
                        let add = masquerade::add_pod(pod(number), subnet(), "c");
                        match socket.commit(&add) {
                            Err(error) if error.is_missing() => {
                                socket.commit(&masquerade::base(subnet()).then(add)).unwrap();
                            }
                            done => done.unwrap(),
                        }
                    }
                });
            }
        });
        assert_eq!(elements(&mut Socket::open().unwrap()), 4 * 199);
    });
}

#[test]
fn a_transaction_for_an_older_generation_is_refused() {
    on_a_node(|| {
        let mut socket = Socket::open().unwrap();
        let before = socket.generation().unwrap();
        socket.commit_at(&masquerade::base(subnet()), before).unwrap();
        let error = socket.commit_at(&flannel::remove("net1").then(masquerade::base(subnet())), before).unwrap_err();
        assert!(error.is_outdated(), "{error}");
        assert_ne!(socket.generation().unwrap(), before);
    });
}

fn overlay(name: &str, network: &str, subnet: &str) -> Transaction {
    let networks = [Network { network: network.parse().unwrap(), subnet: subnet.parse().unwrap() }];
    flannel::rules(name, &networks, Wanted { masquerade: true, forward: true })
}

#[test]
fn drift_is_found_and_repaired_and_other_networks_stay_as_they_are() {
    on_a_node(|| {
        let mut socket = Socket::open().unwrap();
        let (one, two) = (overlay("one", "10.42.0.0/16", "10.42.1.0/24"), overlay("two", "10.5.0.0/16", "10.5.1.0/24"));
        assert_eq!(socket.differences(&one).unwrap(), ["table ip plexus-one is missing"]);
        socket.commit(&one).unwrap();
        socket.commit(&two).unwrap();
        let table = flannel::table("two", Family::Ip);
        let untouched = socket.read_table(&table).unwrap();
        let none: [&str; 0] = [];
        assert_eq!(socket.differences(&one).unwrap(), none);

        let table = flannel::table("one", Family::Ip);
        let chain = "postrouting".to_owned();
        let stranger = Rule { statements: vec![Statement::accept()], comment: None };
        let drifts = [
            Change::DeleteRule { table: table.clone(), chain: chain.clone(), handle: 0, missing_ok: false },
            Change::FlushChain { table: table.clone(), chain: "forward".into() },
            Change::AddRule { table: table.clone(), chain: chain.clone(), rule: stranger },
            Change::DeleteChain { table: table.clone(), chain, missing_ok: false },
            Change::AddChain { table: table.clone(), chain: "stranger".into(), base: None },
            Change::DeleteTable { table, missing_ok: false },
        ];
        for drift in drifts {
            // A repair makes new rules, with new handles.
            let drift = match drift {
                Change::DeleteRule { table, chain, missing_ok, .. } => {
                    let state = socket.read_table(&table).unwrap().unwrap();
                    let handle = state.chains[&chain].rules[3].handle;
                    Change::DeleteRule { table, chain, handle, missing_ok }
                }
                drift => drift,
            };
            socket.commit(&vec![drift.clone()].into()).unwrap();
            assert_eq!(socket.differences(&one).unwrap().len(), 1, "{drift}");
            socket.commit(&one).unwrap();
            assert_eq!(socket.differences(&one).unwrap(), none, "{drift}");
        }
        assert_eq!(socket.read_table(&flannel::table("two", Family::Ip)).unwrap(), untouched);
        socket.commit(&flannel::remove("one")).unwrap();
        assert_eq!(socket.tables().unwrap(), [flannel::table("two", Family::Ip)]);
        assert_eq!(socket.differences(&flannel::remove("one")).unwrap(), none);
        assert_eq!(socket.differences(&flannel::remove("two")).unwrap(), ["table ip plexus-two is still there"]);
    });
}

#[test]
fn a_flush_by_somebody_else_is_told() {
    on_a_node(|| {
        let (mut monitor, mut socket, mut stranger) =
            (Monitor::open().unwrap(), Socket::open().unwrap(), Socket::open().unwrap());
        let mut wait = || {
            let mut events = Vec::new();
            let mut ready = [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
            poll(&mut ready, PollTimeout::NONE).unwrap();
            while monitor.read(&mut events).unwrap() {}
            events
        };
        let event =
            |table: &str, socket: &Socket| Event::Changed { table: table.into(), origin: socket.port().unwrap() };
        socket.commit(&overlay("one", "10.42.0.0/16", "10.42.1.0/24")).unwrap();
        assert!(wait().contains(&event("plexus-one", &socket)));
        stranger.commit(&flannel::remove("one")).unwrap();
        assert_eq!(wait(), [event("plexus-one", &stranger)]);
    });
}
