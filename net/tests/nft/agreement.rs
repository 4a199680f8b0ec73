//! What we send to the kernel is what `nft` would send for the text we print.

use std::net::IpAddr;

use net::nft::rulesets::flannel::{Network, Wanted};
use net::nft::rulesets::hostports::{HostPort, Masquerade};
use net::nft::rulesets::{flannel, hostports, masquerade};
use net::nft::{
    Base, Change, ConnectionState, Data, DataType, Element, Existing, Family, Field, Hook, Kind, Policy, Rule, Set,
    Socket, Statement, Table, Transaction, Value, Verdict,
};

use super::program::{listing, nft, nft_is_missing};
use crate::common::on_a_node;

/// What nft 1.0.6 does not understand: it lists the one, but does not read it in a concatenation; the other came with 1.0.7.
const NOT_UNDERSTOOD: [&str; 2] = ["ct original proto-dst", "destroy "];

/// Commits the transaction in one namespace and feeds its text to `nft` in another: both must list the same.
fn assert_agreement(transaction: &Transaction) -> String {
    let ours = on_a_node(|| {
        Socket::open().unwrap().commit(transaction).unwrap_or_else(|error| panic!("{error}\n{transaction}"));
        listing()
    });
    let is_understood = |line: &&str| !NOT_UNDERSTOOD.iter().any(|words| line.contains(words));
    let understood = |text: &str| text.lines().filter(is_understood).collect::<Vec<_>>().join("\n");
    let theirs = on_a_node(|| {
        nft(&["-f", "-"], &understood(&transaction.to_text()));
        listing()
    });
    assert_eq!(understood(&ours), understood(&theirs), "\n{transaction}");
    ours
}

fn transactions() -> Vec<Transaction> {
    let both = |v4: &str, v6: &str| [v4.parse().unwrap(), v6.parse().unwrap()];
    let [subnet, subnet6] = both("10.42.1.0/24", "fd00:7::/64");
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let port = |pod: &str, protocol, host_address: Option<&str>, masquerade| HostPort {
        protocol,
        host_address: host_address.map(address),
        host_port: 8080,
        pod: pod.parse().unwrap(),
        pod_port: 80,
        masquerade,
    };
    let ports = [
        port("10.42.1.5/24", 6, None, Masquerade::Neighbours),
        port("10.42.1.6/24", 17, Some("192.0.2.1"), Masquerade::Everybody),
    ];
    let ports6 = [
        port("fd00:7::5/64", 132, None, Masquerade::Neighbours),
        port("fd00:7::6/64", 6, Some("2001:db8::1"), Masquerade::Everybody),
    ];
    let networks = [
        Network { network: "10.5.0.0/16".parse().unwrap(), subnet: "10.5.15.0/24".parse().unwrap() },
        Network { network: "fd00:5::/48".parse().unwrap(), subnet: "fd00:5:0:15::/64".parse().unwrap() },
    ];
    vec![
        masquerade::base(subnet).then(masquerade::add_pod(address("10.42.1.9"), subnet, "cid/eth0")),
        masquerade::base(subnet6).then(masquerade::add_pod(address("fd00:7::9"), subnet6, "cid/eth0")),
        hostports::base(subnet).then(hostports::add(&ports, "cid/eth0")),
        hostports::base(subnet6).then(hostports::add(&ports6, "cid/eth0")),
        flannel::rules("net1", &networks, Wanted { masquerade: true, forward: true }),
    ]
}

#[test]
fn nft_lists_every_rule_set_as_if_it_had_made_it() {
    if nft_is_missing() {
        return;
    }
    for transaction in transactions() {
        assert_agreement(&transaction);
    }
}

#[test]
fn rule_sets_may_be_committed_twice() {
    for transaction in transactions() {
        let repeatable: Transaction = transaction
            .changes
            .iter()
            .filter(|change| !matches!(change, Change::AddElement { existing: Existing::Refused, .. }))
            .cloned()
            .collect::<Vec<_>>()
            .into();
        on_a_node(|| {
            let mut socket = Socket::open().unwrap();
            socket.commit(&repeatable).unwrap();
            let once = (!nft_is_missing()).then(listing);
            socket.commit(&repeatable).unwrap();
            assert_eq!((!nft_is_missing()).then(listing), once);
        });
    }
}

fn chain(table: &Table, name: &str, base: Option<Base>, rules: Vec<Vec<Statement>>) -> Vec<Change> {
    let mut changes = vec![Change::AddChain { table: table.clone(), chain: name.into(), base }];
    changes.extend(rules.into_iter().map(|statements| Change::AddRule {
        table: table.clone(),
        chain: name.into(),
        rule: Rule { statements, comment: None },
    }));
    changes
}

fn compare(field: Field, negated: bool, value: Value) -> Statement {
    Statement::Match { field, negated, value }
}

#[test]
fn nft_agrees_on_every_statement() {
    if nft_is_missing() {
        return;
    }
    let table = Table::new(Family::Inet, "filtering");
    let protocol = || compare(Field::Protocol, false, Value::Protocol(6));
    let base = |kind, hook, priority| Some(Base { kind, hook, priority, policy: Policy::Accept });
    let set = |name: &str, key: &[DataType], data, interval| Change::AddSet {
        table: table.clone(),
        set: Set { name: name.into(), key: key.to_vec(), data, interval, comment: Some("what it is for".into()) },
    };
    let element = |set: &str, key: &[Value], data| Change::AddElement {
        table: table.clone(),
        set: set.into(),
        element: Element { key: key.to_vec(), data, comment: Some("owner".into()) },
        existing: Existing::Kept,
    };
    let mut changes = vec![
        Change::AddTable { table: table.clone(), comment: Some("all of it".into()) },
        set("networks", &[DataType::Ipv4Addr], None, true),
        set("services", &[DataType::Ipv4Addr, DataType::InetService], None, true),
        set("links", &[DataType::Ifname], None, false),
        set("marks", &[DataType::Mark], Some(Data::Verdict(())), false),
        element("networks", &[Value::Network("10.0.0.0/8".parse().unwrap())], None),
        element("networks", &[Value::Network("192.0.2.7/32".parse().unwrap())], None),
        element("networks", &[Value::Network("240.0.0.0/4".parse().unwrap())], None),
        element("services", &[Value::Network("10.0.0.0/8".parse().unwrap()), Value::Ports(80, 90)], None),
        element("services", &[Value::Network("10.1.1.1/32".parse().unwrap()), Value::Port(443)], None),
        element("links", &[Value::Interface("eth0".into())], None),
    ];
    let rules = vec![
        vec![Statement::from("10.0.0.0/8".parse().unwrap()), Statement::not_to("10.1.1.1/32".parse().unwrap())],
        vec![Statement::from("fd00::/8".parse().unwrap()), Statement::Counter, Statement::accept()],
        vec![protocol(), compare(Field::DestinationPort, false, Value::Ports(80, 90)), Statement::accept()],
        vec![protocol(), compare(Field::SourcePort, true, Value::Port(53)), Statement::back()],
        vec![compare(Field::InputInterface, false, Value::Interface("eth0".into()))],
        vec![compare(Field::OutputInterface, true, Value::Interface("veth*".into()))],
        vec![Statement::State(vec![ConnectionState::Established, ConnectionState::Related]), Statement::accept()],
        vec![Statement::DestinationTranslated, Statement::SetMark { value: 0x4000, mask: 0x4000 }],
        vec![Statement::Mark { value: 0x4000, mask: 0x4000, negated: true }, Statement::accept()],
        vec![Statement::Mark { value: 7, mask: u32::MAX, negated: true }],
        vec![Statement::SetMark { value: 7, mask: u32::MAX }],
        vec![Statement::LocalDestination { negated: true }],
        vec![Statement::Limit { per_second: 10, burst: 5 }, Statement::Log { prefix: "denied: ".into() }],
        vec![Statement::Lookup { key: vec![Field::Ipv4Source], set: "networks".into(), negated: true }],
        vec![
            protocol(),
            Statement::Lookup {
                key: vec![Field::Ipv4Source, Field::DestinationPort],
                set: "services".into(),
                negated: false,
            },
        ],
        vec![Statement::Lookup { key: vec![Field::InputInterface], set: "links".into(), negated: false }],
        vec![Statement::VerdictMap { key: vec![Field::Mark], map: "marks".into() }],
        vec![Statement::Verdict(Verdict::Goto("denied".into()))],
    ];
    changes.extend(chain(&table, "denied", None, vec![vec![Statement::Verdict(Verdict::Drop)]]));
    changes.push(element("marks", &[Value::Mark(0x4000)], Some(Data::Verdict(Verdict::Goto("denied".into())))));
    changes.push(element("marks", &[Value::Mark(1)], Some(Data::Verdict(Verdict::Accept))));
    changes.extend(chain(&table, "input", base(Kind::Filter, Hook::Input, -5), rules));
    let snat = vec![vec![
        Statement::from("10.0.0.0/8".parse().unwrap()),
        Statement::Snat { address: "192.0.2.1".parse().unwrap(), port: None },
    ]];
    let nat = Table::new(Family::Ip6, "nat");
    changes.push(Change::AddTable { table: nat.clone(), comment: None });
    let snat6 = vec![vec![
        compare(Field::Protocol, false, Value::Protocol(17)),
        Statement::Snat { address: "2001:db8::1".parse().unwrap(), port: Some(99) },
    ]];
    changes.extend(chain(&nat, "post", base(Kind::Nat, Hook::Postrouting, 100), snat6));
    let nat = Table::new(Family::Ip, "nat");
    changes.push(Change::AddTable { table: nat.clone(), comment: None });
    changes.extend(chain(&nat, "post", base(Kind::Nat, Hook::Postrouting, 100), snat));
    let listing = assert_agreement(&changes.into());
    for words in ["log prefix \"denied: \"", "vmap @marks", "10.0.0.0/8 . 80-90", "limit rate 10/second"] {
        assert!(listing.contains(words), "{words}: {listing}");
    }
}
