//! An overlay's masquerading and forwarding, with the meaning of the rules that flannel writes with iptables.
//!
//! Every network has tables of its own, named for it, so that two overlays on a node never touch each other's rules. A network's
//! transaction is its whole desired state: committing it again repairs whatever has drifted.
//!
//! One thing differs from iptables and cannot be otherwise: the kernel asks the chains of every table, so an `accept` here does
//! not overrule a `drop` in a table of somebody else's.

use ipnet::IpNet;

use super::{PRIORITY_FILTER, PRIORITY_SOURCE_NAT, chain_with, multicast, nat_chain, rule};
use crate::nft::model::{Base, Change, Family, Hook, Kind, Policy, Rule, Table, Transaction};
use crate::nft::statement::Statement;

/// Packets that kube-proxy and others have marked for masquerading of their own are left to them.
const MASQUERADE_MARK: u32 = 0x4000;

/// A network in one version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The whole overlay.
    pub network: IpNet,
    /// This node's part of it.
    pub subnet: IpNet,
}

/// What is wanted of a network's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Masquerade what leaves the overlay, and what enters it from outside.
    pub masquerade: bool,
    /// Accept what is forwarded from and to the overlay.
    pub forward: bool,
}

/// The whole desired state of the network `name`. Whatever its tables held before is replaced in the same moment.
#[must_use]
pub fn rules(name: &str, networks: &[Network], wanted: Wanted) -> Transaction {
    let mut changes = Vec::new();
    for network in networks {
        let table = table(name, Family::of(network.network.addr()));
        let comment = Some(format!("overlay {}", ascii(name)));
        let add = Change::AddTable { table: table.clone(), comment };
        // Added before it is deleted, because a table that is not there cannot be deleted.
        changes.extend([add.clone(), Change::DeleteTable { table: table.clone(), missing_ok: false }, add]);
        if wanted.masquerade {
            let base = nat_chain(Hook::Postrouting, PRIORITY_SOURCE_NAT);
            changes.extend(chain_with(&table, "postrouting", base, masquerade_rules(*network)));
        }
        if wanted.forward {
            let base =
                Base { kind: Kind::Filter, hook: Hook::Forward, priority: PRIORITY_FILTER, policy: Policy::Accept };
            changes.extend(chain_with(&table, "forward", Some(base), forward_rules(network.network)));
        }
    }
    changes.into()
}

/// The network's tables go. Missing is fine.
#[must_use]
pub fn remove(name: &str) -> Transaction {
    let delete = |family| Change::DeleteTable { table: table(name, family), missing_ok: true };
    vec![delete(Family::Ip), delete(Family::Ip6)].into()
}

/// The table of the network `name`. A name that nft's syntax does not take as it is gets a hash at its end.
#[must_use]
pub fn table(name: &str, family: Family) -> Table {
    let plain = ascii(name);
    if plain == name {
        return Table::new(family, format!("plexus-{name}"));
    }
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Table::new(family, format!("plexus-{plain}-{hash:08x}"))
}

/// The beginning of the name, with `_` for everything but letters, digits, `-`, `_` and `.`.
fn ascii(name: &str) -> String {
    const LONGEST: usize = 64;
    let ordinary = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.chars().take(LONGEST).map(|c| if ordinary(c) { c } else { '_' }).collect()
}

fn masquerade_rules(Network { network, subnet }: Network) -> Vec<Rule> {
    let (network, subnet) = (network.trunc(), subnet.trunc());
    let masquerade = Statement::Masquerade { fully_random: true };
    let marked = Statement::Mark { value: MASQUERADE_MARK, mask: MASQUERADE_MARK, negated: false };
    let rules = [
        vec![marked, Statement::back()],
        // Within the overlay, from this node's pods and to them, pods see each other's own addresses.
        vec![Statement::from(subnet), Statement::to(network), Statement::back()],
        vec![Statement::from(network), Statement::to(subnet), Statement::back()],
        // From outside to this node's pods: the way back leads through this node in any case.
        vec![Statement::not_from(network), Statement::to(subnet), Statement::back()],
        vec![Statement::from(network), Statement::not_to(multicast(network.addr())), masquerade.clone()],
        // From outside to pods of other nodes: they would answer by a way of their own.
        vec![Statement::not_from(network), Statement::to(network), masquerade],
    ];
    rules.into_iter().map(|statements| Rule { statements, comment: Some("flannel masq".to_owned()) }).collect()
}

fn forward_rules(network: IpNet) -> Vec<Rule> {
    let network = network.trunc();
    [Statement::from(network), Statement::to(network)]
        .map(|matching| Rule { comment: Some("flannel forward".to_owned()), ..rule([matching, Statement::accept()]) })
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Wanted = Wanted { masquerade: true, forward: true };

    fn network(network: &str, subnet: &str) -> Network {
        Network { network: network.parse().unwrap(), subnet: subnet.parse().unwrap() }
    }

    #[test]
    fn the_rules_come_in_flannels_order() {
        let text = rules("net1", &[network("10.5.0.0/16", "10.5.15.1/24")], BOTH).to_text();
        let expected = "\
add table ip plexus-net1 { comment \"overlay net1\"; }
delete table ip plexus-net1
add table ip plexus-net1 { comment \"overlay net1\"; }
add chain ip plexus-net1 postrouting { type nat hook postrouting priority 100; policy accept; }
flush chain ip plexus-net1 postrouting
add rule ip plexus-net1 postrouting meta mark & 0x4000 == 0x4000 return comment \"flannel masq\"
add rule ip plexus-net1 postrouting ip saddr 10.5.15.0/24 ip daddr 10.5.0.0/16 return comment \"flannel masq\"
add rule ip plexus-net1 postrouting ip saddr 10.5.0.0/16 ip daddr 10.5.15.0/24 return comment \"flannel masq\"
add rule ip plexus-net1 postrouting ip saddr != 10.5.0.0/16 ip daddr 10.5.15.0/24 return comment \"flannel masq\"
add rule ip plexus-net1 postrouting ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random comment \"flannel masq\"
add rule ip plexus-net1 postrouting ip saddr != 10.5.0.0/16 ip daddr 10.5.0.0/16 masquerade fully-random comment \"flannel masq\"
add chain ip plexus-net1 forward { type filter hook forward priority 0; policy accept; }
flush chain ip plexus-net1 forward
add rule ip plexus-net1 forward ip saddr 10.5.0.0/16 accept comment \"flannel forward\"
add rule ip plexus-net1 forward ip daddr 10.5.0.0/16 accept comment \"flannel forward\"
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_not_wanted_has_no_chain() {
        let networks = [network("10.5.0.0/16", "10.5.15.0/24")];
        let text = rules("n", &networks, Wanted { masquerade: false, forward: true }).to_text();
        assert!(!text.contains("postrouting") && text.contains("forward"), "{text}");
        assert_eq!(rules("n", &networks, Wanted { masquerade: false, forward: false }).changes.len(), 3);
    }

    #[test]
    fn names_that_nft_does_not_take_stay_distinct() {
        assert_eq!(table("net1.a-b", Family::Ip).name, "plexus-net1.a-b");
        let strange = ["a b", "a:b", "a\"b", "ä", &"x".repeat(65), &"x".repeat(66)].map(|n| table(n, Family::Ip).name);
        for (position, name) in strange.iter().enumerate() {
            assert!(name.is_ascii() && name.len() < 100 && !name.contains([' ', '"', ':']), "{name}");
            assert!(!strange[..position].contains(name), "{name}");
        }
    }
}
