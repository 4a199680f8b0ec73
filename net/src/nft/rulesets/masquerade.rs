//! Masquerading of pods whose network asks for it (`ipMasq`): what leaves their subnet does so under an address of the node.
//!
//! Each subnet has one chain and one set of the pods in it. A pod is one element; the first pod of a subnet needs [`base`] before.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    PRIORITY_SOURCE_NAT, address_type, chain_with, multicast, nat_chain, network_name, node_table, owner_comment, rule,
};
use crate::nft::model::{Change, Existing, Hook, Transaction};
use crate::nft::set::{Element, Set, Value};
use crate::nft::statement::{Field, Statement};

/// What a subnet needs before pods can be added: missing parts are made, present ones put right, and its pods stay.
///
/// To be committed when [`add_pod`] was refused because it is [missing](crate::nft::Error::is_missing).
#[must_use]
pub fn base(subnet: IpNet) -> Transaction {
    let subnet = subnet.trunc();
    let (table, name) = (node_table(subnet.addr()), chain(subnet));
    let set = Set {
        name: name.clone(),
        key: vec![address_type(subnet.addr())],
        data: None,
        interval: false,
        comment: Some(format!("masqueraded pods of {subnet}")),
    };
    let source = Field::source(subnet.addr());
    let outward = rule([
        Statement::Lookup { key: vec![source], set: name.clone(), negated: false },
        Statement::not_to(subnet),
        Statement::not_to(multicast(subnet.addr())),
        Statement::Masquerade { fully_random: false },
    ]);
    let mut changes =
        vec![Change::AddTable { table: table.clone(), comment: None }, Change::AddSet { table: table.clone(), set }];
    let chain = nat_chain(Hook::Postrouting, PRIORITY_SOURCE_NAT);
    changes.extend(chain_with(&table, &name, chain, vec![outward]));
    changes.into()
}

/// The pod's connections out of the subnet are masqueraded. An element that was left over by an earlier owner of the address is
/// replaced.
///
/// `owner` says who the pod is, see [`owner_comment`].
#[must_use]
pub fn add_pod(address: IpAddr, subnet: IpNet, owner: &str) -> Transaction {
    let element =
        Element { key: vec![Value::Address(address)], data: None, comment: Some(owner_comment(owner).to_owned()) };
    let (table, set) = (node_table(address), chain(subnet));
    vec![Change::AddElement { table, set, element, existing: Existing::Replaced }].into()
}

/// The pod's connections are masqueraded no longer. Missing is fine.
#[must_use]
pub fn remove_pod(address: IpAddr, subnet: IpNet) -> Transaction {
    let (table, set, key) = (node_table(address), chain(subnet), vec![Value::Address(address)]);
    vec![Change::DeleteElement { table, set, key, missing_ok: true }].into()
}

/// The subnet's chain and set go, pods included. Missing is fine.
#[must_use]
pub fn remove_subnet(subnet: IpNet) -> Transaction {
    let (table, name) = (node_table(subnet.addr()), chain(subnet));
    let chain = Change::DeleteChain { table: table.clone(), chain: name.clone(), missing_ok: true };
    vec![chain, Change::DeleteSet { table, set: name, missing_ok: true }].into()
}

/// Name of the subnet's chain, and of its set, in [`node_table`]. Without the chain, [`base`] is needed.
#[must_use]
pub fn chain(subnet: IpNet) -> String {
    network_name("masquerade", subnet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_of_an_ipv4_subnet_is_one_chain_and_one_set() {
        let text = "\
add table ip plexus
add set ip plexus masquerade-10.42.1.0-24 { type ipv4_addr; comment \"masqueraded pods of 10.42.1.0/24\"; }
add chain ip plexus masquerade-10.42.1.0-24 { type nat hook postrouting priority 100; policy accept; }
flush chain ip plexus masquerade-10.42.1.0-24
add rule ip plexus masquerade-10.42.1.0-24 ip saddr @masquerade-10.42.1.0-24 ip daddr != 10.42.1.0/24 ip daddr != 224.0.0.0/4 masquerade
";
        assert_eq!(base("10.42.1.7/24".parse().unwrap()).to_text(), text);
    }

    #[test]
    fn an_ipv6_subnet_has_a_name_without_colons_and_its_own_table() {
        let text = base("fd00:7::/64".parse().unwrap()).to_text();
        assert!(text.contains("add set ip6 plexus masquerade-fd00_7__-64 { type ipv6_addr;"), "{text}");
        assert!(text.contains("ip6 daddr != ff00::/8 masquerade"), "{text}");
    }

    #[test]
    fn a_pod_is_one_element() {
        let (address, subnet) = ("10.42.1.9".parse().unwrap(), "10.42.1.0/24".parse().unwrap());
        assert_eq!(
            add_pod(address, subnet, "cid/eth0").to_text(),
            "destroy element ip plexus masquerade-10.42.1.0-24 { 10.42.1.9 }\n\
             add element ip plexus masquerade-10.42.1.0-24 { 10.42.1.9 comment \"cid/eth0\" }\n"
        );
        assert_eq!(
            remove_pod(address, subnet).to_text(),
            "destroy element ip plexus masquerade-10.42.1.0-24 { 10.42.1.9 }\n"
        );
    }
}
