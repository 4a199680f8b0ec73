//! The rule sets Plexus uses, as pure functions that return transactions.
//!
//! What a pod adds or takes away is always a few elements of sets, so that its cost does not grow with the pods on the node. The
//! elements are plain ones on purpose: a map from pods to chains (`vmap`) would need one chain less, but the kernel walks through
//! every element of such a map when it checks a commit for loops (`nft_lookup_validate` in net/netfilter/nft_lookup.c). Measured, a
//! pod more takes 7 microseconds beside ten thousand others this way, and 690 with a map of verdicts.

pub mod flannel;
pub mod hostports;
pub mod masquerade;

use std::net::IpAddr;

use ipnet::IpNet;

use super::encode::LONGEST_COMMENT;
use super::model::{Base, Change, Family, Hook, Kind, Policy, Rule, Table};
use super::set::DataType;
use super::statement::Statement;

/// Priorities of base chains (`enum nf_ip_hook_priorities`, linux/netfilter_ipv4.h).
const PRIORITY_DESTINATION_NAT: i32 = -100;
const PRIORITY_FILTER: i32 = 0;
const PRIORITY_SOURCE_NAT: i32 = 100;

/// The table for what pods need on this node, one for each version of IP.
#[must_use]
pub fn node_table(family_of: IpAddr) -> Table {
    Table::new(Family::of(family_of), "plexus")
}

/// `prefix` with a network, as a name that nft's syntax takes.
fn network_name(prefix: &str, network: IpNet) -> String {
    let network = network.trunc();
    format!("{prefix}-{}-{}", network.addr().to_string().replace(':', "_"), network.prefix_len())
}

const fn nat_chain(hook: Hook, priority: i32) -> Option<Base> {
    Some(Base { kind: Kind::Nat, hook, priority, policy: Policy::Accept })
}

fn address_type(address: IpAddr) -> DataType {
    if address.is_ipv4() { DataType::Ipv4Addr } else { DataType::Ipv6Addr }
}

/// All multicast addresses of the version of IP (RFC 5771, RFC 4291 section 2.7): never masqueraded.
fn multicast(family_of: IpAddr) -> IpNet {
    let all = match family_of {
        IpAddr::V4(_) => IpNet::new([224, 0, 0, 0].into(), 4),
        IpAddr::V6(_) => IpNet::new([0xff00, 0, 0, 0, 0, 0, 0, 0].into(), 8),
    };
    all.unwrap_or_else(|_| family_of.into())
}

/// The chain exists and holds just these rules.
fn chain_with(table: &Table, chain: &str, base: Option<Base>, rules: Vec<Rule>) -> Vec<Change> {
    let (table, chain) = (table.clone(), chain.to_owned());
    let mut changes = vec![
        Change::AddChain { table: table.clone(), chain: chain.clone(), base },
        Change::FlushChain { table: table.clone(), chain: chain.clone() },
    ];
    changes.extend(rules.into_iter().map(|rule| Change::AddRule { table: table.clone(), chain: chain.clone(), rule }));
    changes
}

/// The owner as it stands in the comment of an element: what is too long for the kernel is cut, so an owner has to begin with what
/// tells it from others.
#[must_use]
pub fn owner_comment(owner: &str) -> &str {
    let end = (0..=owner.len().min(LONGEST_COMMENT)).rev().find(|end| owner.is_char_boundary(*end));
    end.and_then(|end| owner.get(..end)).unwrap_or_default()
}

fn rule(statements: impl Into<Vec<Statement>>) -> Rule {
    Rule { statements: statements.into(), comment: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_that_is_too_long_is_cut_between_characters() {
        assert_eq!(owner_comment("cid/eth0/net1"), "cid/eth0/net1");
        let long = format!("c{}", "ä".repeat(200));
        let cut = owner_comment(&long);
        assert!(long.starts_with(cut) && (LONGEST_COMMENT - 1..=LONGEST_COMMENT).contains(&cut.len()), "{}", cut.len());
    }
}
