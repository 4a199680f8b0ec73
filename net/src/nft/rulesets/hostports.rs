//! Ports of the node that lead to a pod (`portMappings`).
//!
//! A mapping is an element of a map from protocol and port to the pod's address and port; one with a host address is an element
//! of a second map that is asked first. Elements are created exclusively, so a port that another pod has is refused by the kernel
//! (`EEXIST`). A pod that reaches itself or a neighbour through the node, and a client on the node's loopback address, would get
//! answers from a stranger; their connections are masqueraded. Those are told from others by the pod's address together with the
//! port that was asked for, so that no mark is needed and no other translation (of services, say) is touched.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    PRIORITY_DESTINATION_NAT, PRIORITY_SOURCE_NAT, address_type, chain_with, nat_chain, network_name, node_table,
    owner_comment, rule,
};
use crate::nft::model::{Change, Existing, Hook, Rule, Table, Transaction};
use crate::nft::set::{Data, DataType, Element, Set, Value};
use crate::nft::statement::{Field, Statement, Verdict};

/// Map from protocol and port to pod address and port, for every address of the node.
pub const ANY_ADDRESS_MAP: &str = "hostports";
/// Map from address, protocol and port to pod address and port.
pub const ONE_ADDRESS_MAP: &str = "hostports_by_address";
/// Set of pod address, protocol and host port whose every connection is masqueraded.
const MASQUERADE_ALL_SET: &str = "hostports_masquerade_all";
const TRANSLATE_CHAIN: &str = "hostports";
const PREROUTING_CHAIN: &str = "hostports_prerouting";
const OUTPUT_CHAIN: &str = "hostports_output";
const POSTROUTING_CHAIN: &str = "hostports_postrouting";

/// One port of the node that leads to a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// IP protocol number: 6, 17 or 132.
    pub protocol: u8,
    /// Address of the node; every address without one, or with an unspecified one.
    pub host_address: Option<IpAddr>,
    /// Port of the node.
    pub host_port: u16,
    /// Address of the pod with the length of its subnet's prefix.
    pub pod: IpNet,
    /// Port of the pod.
    pub pod_port: u16,
    /// Whose connections are masqueraded.
    pub masquerade: Masquerade,
}

/// Whose connections to a host port are masqueraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Masquerade {
    /// Nobody's (`snat: false`): pods of the subnet and the node's loopback address cannot use the port.
    Nobody,
    /// Those from the pod's own subnet and, with IPv4, from the node's loopback address.
    Neighbours,
    /// Everybody's (`masqAll`).
    Everybody,
}

/// What host ports to pods of a subnet need before they can be added: missing parts are made, present ones put right, and the
/// mappings stay.
///
/// To be committed when [`add`] was refused because it is [missing](crate::nft::Error::is_missing).
#[must_use]
pub fn base(subnet: IpNet) -> Transaction {
    let subnet = subnet.trunc();
    let address = subnet.addr();
    let (table, subnet_name) = (node_table(address), chain(subnet));
    let mut changes = vec![Change::AddTable { table: table.clone(), comment: None }];
    changes.extend(sets(address, &subnet_name).into_iter().map(|set| Change::AddSet { table: table.clone(), set }));
    changes.extend(shared_chains(&table, address));
    let postrouting = nat_chain(Hook::Postrouting, PRIORITY_SOURCE_NAT);
    let neighbours = neighbour_rules(subnet, &subnet_name);
    changes.extend(chain_with(&table, &subnet_name, postrouting, neighbours));
    changes.into()
}

/// Name of the subnet's chain, and of its set, in [`node_table`]. Without the chain, [`base`] is needed.
#[must_use]
pub fn chain(subnet: IpNet) -> String {
    network_name("hostports", subnet)
}

/// The mappings exist. `owner` says who the pod is, see [`owner_comment`]. A mapping whose host address is of the other version of
/// IP is left out.
///
/// A port that is taken is refused with a [conflict](crate::nft::Error::is_conflict); nothing was added then.
#[must_use]
pub fn add(mappings: &[HostPort], owner: &str) -> Transaction {
    let comment = Some(owner_comment(owner).to_owned());
    let mut changes = Vec::new();
    for (mapping, (map, key)) in mappings.iter().filter_map(|mapping| Some((mapping, mapping.entry()?))) {
        let table = node_table(mapping.pod.addr());
        let data = vec![Value::Address(mapping.pod.addr()), Value::Port(mapping.pod_port)];
        let element = Element { key, data: Some(Data::Values(data)), comment: comment.clone() };
        changes.push(Change::AddElement {
            table: table.clone(),
            set: map.to_owned(),
            element,
            existing: Existing::Refused,
        });
        if let Some((set, key)) = mapping.masquerade_entry() {
            // Nobody else can have it, so one that is there is left over. Two host addresses may share it.
            let element = Element { key, data: None, comment: comment.clone() };
            let change = Change::AddElement { table, set, element, existing: Existing::Replaced };
            if !changes.contains(&change) {
                changes.push(change);
            }
        }
    }
    changes.into()
}

/// The mappings are gone. Missing is fine.
#[must_use]
pub fn remove(mappings: &[HostPort]) -> Transaction {
    let mut changes: Vec<Change> = Vec::new();
    for (mapping, (map, key)) in mappings.iter().filter_map(|mapping| Some((mapping, mapping.entry()?))) {
        let table = node_table(mapping.pod.addr());
        changes.push(Change::DeleteElement { table: table.clone(), set: map.to_owned(), key, missing_ok: true });
        if let Some((set, key)) = mapping.masquerade_entry() {
            let change = Change::DeleteElement { table, set, key, missing_ok: true };
            if !changes.contains(&change) {
                changes.push(change);
            }
        }
    }
    changes.into()
}

impl HostPort {
    /// The map and the key of the mapping; `None` when its host address is of the other version of IP.
    #[must_use]
    pub fn entry(&self) -> Option<(&'static str, Vec<Value>)> {
        let port = [Value::Protocol(self.protocol), Value::Port(self.host_port)];
        match self.host_address.filter(|address| !address.is_unspecified()) {
            None => Some((ANY_ADDRESS_MAP, port.to_vec())),
            Some(address) if address.is_ipv4() == self.pod.addr().is_ipv4() => {
                Some((ONE_ADDRESS_MAP, [&[Value::Address(address)], &port[..]].concat()))
            }
            Some(_) => None,
        }
    }

    fn masquerade_entry(&self) -> Option<(String, Vec<Value>)> {
        let set = match self.masquerade {
            Masquerade::Nobody => return None,
            Masquerade::Neighbours => chain(self.pod),
            Masquerade::Everybody => MASQUERADE_ALL_SET.to_owned(),
        };
        let pod = Value::Address(self.pod.addr());
        Some((set, vec![pod, Value::Protocol(self.protocol), Value::Port(self.host_port)]))
    }
}

fn sets(family_of: IpAddr, subnet_name: &str) -> [Set; 4] {
    let address = address_type(family_of);
    let port = [DataType::InetProto, DataType::InetService];
    let addressed_port = vec![address, DataType::InetProto, DataType::InetService];
    let target = Some(Data::Values(vec![address, DataType::InetService]));
    let set = |name: &str, key, data| Set { name: name.to_owned(), key, data, interval: false, comment: None };
    [
        set(ANY_ADDRESS_MAP, port.to_vec(), target.clone()),
        set(ONE_ADDRESS_MAP, addressed_port.clone(), target),
        set(MASQUERADE_ALL_SET, addressed_port.clone(), None),
        set(subnet_name, addressed_port, None),
    ]
}

fn shared_chains(table: &Table, family_of: IpAddr) -> Vec<Change> {
    let (protocol, port) = (Field::Protocol, Field::DestinationPort);
    let one_address = vec![Field::destination(family_of), protocol, port];
    let translate = vec![
        rule([Statement::DnatMap { key: one_address, map: ONE_ADDRESS_MAP.to_owned() }]),
        rule([Statement::DnatMap { key: vec![protocol, port], map: ANY_ADDRESS_MAP.to_owned() }]),
    ];
    let enter = vec![rule([
        Statement::LocalDestination { negated: false },
        Statement::Verdict(Verdict::Jump(TRANSLATE_CHAIN.to_owned())),
    ])];
    let everybody = vec![masquerade_rule(family_of, MASQUERADE_ALL_SET, None)];
    let (inbound, outbound) = (PRIORITY_DESTINATION_NAT, PRIORITY_SOURCE_NAT);
    [
        chain_with(table, TRANSLATE_CHAIN, None, translate),
        chain_with(table, PREROUTING_CHAIN, nat_chain(Hook::Prerouting, inbound), enter.clone()),
        chain_with(table, OUTPUT_CHAIN, nat_chain(Hook::Output, inbound), enter),
        chain_with(table, POSTROUTING_CHAIN, nat_chain(Hook::Postrouting, outbound), everybody),
    ]
    .concat()
}

fn neighbour_rules(subnet: IpNet, subnet_name: &str) -> Vec<Rule> {
    let mut rules = vec![masquerade_rule(subnet.addr(), subnet_name, Some(subnet))];
    if let (true, Ok(loopback)) = (subnet.addr().is_ipv4(), IpNet::new([127, 0, 0, 0].into(), 8)) {
        rules.push(masquerade_rule(subnet.addr(), subnet_name, Some(loopback)));
    }
    rules
}

/// Masquerades connections from a network that a mapping in the set has translated.
fn masquerade_rule(family_of: IpAddr, set: &str, from: Option<IpNet>) -> Rule {
    let key = vec![Field::destination(family_of), Field::Protocol, Field::OriginalDestinationPort];
    let mut statements = vec![Statement::DestinationTranslated];
    statements.extend(from.map(Statement::from));
    statements.push(Statement::Lookup { key, set: set.to_owned(), negated: false });
    statements.push(Statement::Masquerade { fully_random: false });
    rule(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host_address: Option<&str>, masquerade: Masquerade) -> HostPort {
        HostPort {
            protocol: 6,
            host_address: host_address.map(|address| address.parse().unwrap()),
            host_port: 8080,
            pod: "10.42.1.9/24".parse().unwrap(),
            pod_port: 80,
            masquerade,
        }
    }

    #[test]
    fn a_mapping_is_an_exclusive_element_and_one_for_its_masquerading() {
        assert_eq!(
            add(&[mapping(None, Masquerade::Neighbours)], "cid/eth0").to_text(),
            "create element ip plexus hostports { tcp . 8080 comment \"cid/eth0\" : 10.42.1.9 . 80 }\n\
             destroy element ip plexus hostports-10.42.1.0-24 { 10.42.1.9 . tcp . 8080 }\n\
             add element ip plexus hostports-10.42.1.0-24 { 10.42.1.9 . tcp . 8080 comment \"cid/eth0\" }\n"
        );
        assert_eq!(
            remove(&[mapping(Some("192.0.2.1"), Masquerade::Nobody)]).to_text(),
            "destroy element ip plexus hostports_by_address { 192.0.2.1 . tcp . 8080 }\n"
        );
    }

    #[test]
    fn an_unspecified_host_address_is_any_and_one_of_the_other_version_is_left_out() {
        assert_eq!(mapping(Some("0.0.0.0"), Masquerade::Nobody).entry(), mapping(None, Masquerade::Nobody).entry());
        assert!(add(&[mapping(Some("fd00::1"), Masquerade::Nobody)], "c").is_empty());
    }

    #[test]
    fn one_port_of_two_host_addresses_is_masqueraded_and_cleared_once() {
        let both =
            [mapping(Some("192.0.2.1"), Masquerade::Everybody), mapping(Some("192.0.2.2"), Masquerade::Everybody)];
        assert_eq!(remove(&both).changes.len(), 3);
    }

    #[test]
    fn the_base_translates_on_the_way_in_and_masquerades_on_the_way_out() {
        let text = base("10.42.1.0/24".parse().unwrap()).to_text();
        let expected = "\
add table ip plexus
add map ip plexus hostports { type inet_proto . inet_service : ipv4_addr . inet_service; }
add map ip plexus hostports_by_address { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
add set ip plexus hostports_masquerade_all { type ipv4_addr . inet_proto . inet_service; }
add set ip plexus hostports-10.42.1.0-24 { type ipv4_addr . inet_proto . inet_service; }
add chain ip plexus hostports
flush chain ip plexus hostports
add rule ip plexus hostports dnat to ip daddr . meta l4proto . th dport map @hostports_by_address
add rule ip plexus hostports dnat to meta l4proto . th dport map @hostports
add chain ip plexus hostports_prerouting { type nat hook prerouting priority -100; policy accept; }
flush chain ip plexus hostports_prerouting
add rule ip plexus hostports_prerouting fib daddr type local jump hostports
add chain ip plexus hostports_output { type nat hook output priority -100; policy accept; }
flush chain ip plexus hostports_output
add rule ip plexus hostports_output fib daddr type local jump hostports
add chain ip plexus hostports_postrouting { type nat hook postrouting priority 100; policy accept; }
flush chain ip plexus hostports_postrouting
add rule ip plexus hostports_postrouting ct status dnat ip daddr . meta l4proto . ct original proto-dst @hostports_masquerade_all masquerade
add chain ip plexus hostports-10.42.1.0-24 { type nat hook postrouting priority 100; policy accept; }
flush chain ip plexus hostports-10.42.1.0-24
add rule ip plexus hostports-10.42.1.0-24 ct status dnat ip saddr 10.42.1.0/24 ip daddr . meta l4proto . ct original proto-dst @hostports-10.42.1.0-24 masquerade
add rule ip plexus hostports-10.42.1.0-24 ct status dnat ip saddr 127.0.0.0/8 ip daddr . meta l4proto . ct original proto-dst @hostports-10.42.1.0-24 masquerade
";
        assert_eq!(text, expected);
    }
}
