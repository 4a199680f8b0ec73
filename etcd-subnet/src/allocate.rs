//! Which subnet a node gets: flannel's policy, decided from one listing without touching the store. Both stores use it and then write with
//! a comparison, so that a decision overtaken by another node is made again instead of overwriting that node.

use crate::config::Ipv4Pool;
use crate::lease::{Attributes, SubnetKey};
use crate::manager::{AcquireRequest, Error};
use ipnet::Ipv4Net;
use std::hash::{BuildHasher as _, Hasher as _};

/// A free subnet is picked at random among so many, so that nodes starting together rarely pick the same.
const CANDIDATES: usize = 100;

/// So many decisions may be overtaken before [`Error::Contended`]: each means that another node got what it wanted, so that more
/// than a whole network's worth of nodes starting at once are needed to get here.
pub(crate) const ATTEMPTS: u32 = 1000;

/// One lease as a store holds it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: SubnetKey,
    /// None: the value cannot be read. The subnet counts as taken all the same.
    pub(crate) attributes: Option<Attributes>,
    /// Changes with every write.
    pub(crate) version: i64,
    /// It does not run out: somebody reserved the subnet for the node with this public address.
    pub(crate) reserved: bool,
}

/// What to do for a request.
#[derive(Debug)]
pub(crate) struct Decision<'a> {
    /// Leases of the same node that the network's configuration does not allow any more; to be deleted.
    pub(crate) stale: Vec<&'a Entry>,
    /// The subnet to take; none when all are taken.
    pub(crate) choice: Option<Choice<'a>>,
}

/// A subnet to take.
#[derive(Debug)]
pub(crate) enum Choice<'a> {
    /// It is the node's already: overwrite.
    Reuse(&'a Entry),
    /// It is free: create.
    Create(Ipv4Net),
}

/// Decides by `random`, which is any number.
pub(crate) fn decide<'a>(request: &AcquireRequest, entries: &'a [Entry], random: u64) -> Decision<'a> {
    let ours = |entry: &Entry| {
        entry.attributes.as_ref().is_some_and(|attributes| attributes.public_ip == request.attributes.public_ip)
    };
    let fits = |entry: &Entry| entry.key.subnet6.is_none() && request.pool.fits(entry.key.subnet);
    let stale = |entry: &Entry| ours(entry) && !fits(entry) && !entry.reserved;
    let remembered = |entry: &&Entry| Some(entry.key.subnet) == request.previous_subnet;

    let mut reusable = entries.iter().filter(|entry| ours(entry) && fits(entry)).collect::<Vec<_>>();
    reusable.sort_by_key(|entry| (!entry.reserved, !remembered(entry), entry.key));
    let choice = match reusable.first() {
        Some(entry) => Some(Choice::Reuse(entry)),
        None => {
            let taken = Taken::new(entries.iter().filter(|entry| !stale(entry)).map(|entry| entry.key.subnet));
            pick(&request.pool, request.previous_subnet, &taken, random).map(Choice::Create)
        }
    };
    Decision { stale: entries.iter().filter(|entry| stale(entry)).collect(), choice }
}

/// The error of a network without a free subnet.
pub(crate) fn exhausted(pool: &Ipv4Pool) -> Error {
    Error::Exhausted { subnet_len: pool.subnet_len, first: pool.subnet_min, last: pool.subnet_max }
}

/// A random number, good enough to keep nodes apart: the standard library seeds each of these hashers anew from the kernel.
pub(crate) fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

fn pick(pool: &Ipv4Pool, previous: Option<Ipv4Net>, taken: &Taken, random: u64) -> Option<Ipv4Net> {
    if let Some(previous) = previous.filter(|subnet| pool.fits(*subnet) && !taken.overlaps(*subnet)) {
        return Some(previous);
    }
    let free: Vec<Ipv4Net> = pool.subnets().filter(|subnet| !taken.overlaps(*subnet)).take(CANDIDATES).collect();
    let count = u64::try_from(free.len()).unwrap_or(u64::MAX);
    let index = usize::try_from(random.checked_rem(count)?).ok()?;
    free.get(index).copied()
}

/// Address ranges in use, sorted and without overlaps, so that a candidate costs one binary search.
struct Taken(Vec<(Ipv4Net, u32)>);

impl Taken {
    fn new(subnets: impl Iterator<Item = Ipv4Net>) -> Self {
        let mut subnets: Vec<Ipv4Net> = subnets.map(|subnet| subnet.trunc()).collect();
        subnets.sort_unstable();
        let mut ranges: Vec<(Ipv4Net, u32)> = Vec::with_capacity(subnets.len());
        for subnet in subnets {
            let end = u32::from(subnet.broadcast());
            // of two overlapping prefixes one contains the other, and the wider one sorts first
            if ranges.last().is_none_or(|(_, last)| end > *last) {
                ranges.push((subnet, end));
            }
        }
        Self(ranges)
    }

    fn overlaps(&self, subnet: Ipv4Net) -> bool {
        let end = u32::from(subnet.broadcast());
        let after = self.0.partition_point(|(range, _)| u32::from(range.network()) <= end);
        let before = after.checked_sub(1).and_then(|index| self.0.get(index));
        before.is_some_and(|(_, last)| *last >= u32::from(subnet.network()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NetworkConfig;
    use crate::lease::VxlanData;
    use proptest::prelude::*;

    fn attributes(node: u8) -> Attributes {
        Attributes::vxlan([192, 168, 0, node].into(), &VxlanData { vni: 1, vtep_mac: "a".into() })
    }

    fn request(network: &str, previous: Option<&str>) -> AcquireRequest {
        let config = NetworkConfig::parse(&format!(r#"{{"Network":"{network}"}}"#)).unwrap();
        AcquireRequest {
            pool: config.ipv4.unwrap(),
            attributes: attributes(1),
            previous_subnet: previous.map(|text| text.parse().unwrap()),
        }
    }

    fn entry(key: &str, node: u8) -> Entry {
        Entry { key: key.parse().unwrap(), attributes: Some(attributes(node)), version: 1, reserved: false }
    }

    fn created(request: &AcquireRequest, entries: &[Entry], random: u64) -> Option<String> {
        match decide(request, entries, random).choice {
            Some(Choice::Create(subnet)) => Some(subnet.to_string()),
            Some(Choice::Reuse(entry)) => panic!("reuses {}", entry.key),
            None => None,
        }
    }

    #[test]
    fn a_node_gets_its_own_lease_again_before_the_one_it_remembers() {
        let entries = [entry("10.5.4.0-24", 2), entry("10.5.9.0-24", 1)];
        let decision = decide(&request("10.5.0.0/16", Some("10.5.3.0/24")), &entries, 0);
        assert!(matches!(decision.choice, Some(Choice::Reuse(entry)) if entry.key.to_string() == "10.5.9.0-24"));
    }

    #[test]
    fn a_lease_that_no_longer_fits_is_stale_but_a_reservation_is_left_alone() {
        let mut reserved = entry("10.7.0.0-16", 1);
        reserved.reserved = true;
        let entries = [entry("10.6.9.0-24", 1), entry("10.5.9.0-25", 1), entry("10.5.8.0-24&fd00::-64", 1), reserved];
        let request = request("10.5.0.0/16", Some("10.5.9.0/24"));
        let decision = decide(&request, &entries, 0);
        assert_eq!(decision.stale.len(), 3);
        assert!(matches!(decision.choice, Some(Choice::Create(subnet)) if subnet.to_string() == "10.5.9.0/24"));
    }

    #[test]
    fn the_remembered_subnet_is_taken_only_when_free_and_part_of_the_network() {
        assert_eq!(created(&request("10.5.0.0/16", Some("10.5.3.0/24")), &[], 0).unwrap(), "10.5.3.0/24");
        assert_eq!(created(&request("10.5.0.0/16", Some("10.9.3.0/24")), &[], 0).unwrap(), "10.5.1.0/24");
        let entries = [entry("10.5.3.128-25", 2)];
        assert_eq!(created(&request("10.5.0.0/16", Some("10.5.3.0/24")), &entries, 0).unwrap(), "10.5.1.0/24");
    }

    #[test]
    fn a_value_that_cannot_be_read_still_takes_its_subnet() {
        let mut broken = entry("10.5.0.4-30", 2);
        broken.attributes = None;
        let others = [broken, entry("10.5.0.8-30", 3)];
        assert_eq!(created(&request("10.5.0.0/28", None), &others, 7).unwrap(), "10.5.0.12/30");
        let all = [others.as_slice(), &[entry("10.5.0.12-30", 4)]].concat();
        assert_eq!(created(&request("10.5.0.0/28", None), &all, 7), None);
    }

    #[test]
    fn the_pick_is_among_the_first_hundred_free() {
        let entries = [entry("10.5.1.0-24", 2)];
        assert_eq!(created(&request("10.5.0.0/16", None), &entries, 100).unwrap(), "10.5.2.0/24");
        assert_eq!(created(&request("10.5.0.0/16", None), &entries, 99).unwrap(), "10.5.101.0/24");
    }

    proptest! {
        #[test]
        fn nothing_picked_overlaps_what_is_taken(
            taken in proptest::collection::vec((0_u32..=0xffff, 18_u8..=32), 0..60),
            random in any::<u64>(),
        ) {
            let nets: Vec<Ipv4Net> = taken.iter()
                .map(|(host, len)| Ipv4Net::new((0x0a05_0000 | host).into(), *len).unwrap().trunc()).collect();
            let entries: Vec<Entry> = nets.iter()
                .map(|net| Entry { key: (*net).into(), attributes: Some(attributes(2)), version: 1, reserved: false }).collect();
            let request = request("10.5.0.0/16", None);
            let free: Vec<Ipv4Net> = request.pool.subnets()
                .filter(|subnet| !nets.iter().any(|net| net.contains(subnet) || subnet.contains(net))).take(CANDIDATES).collect();
            match decide(&request, &entries, random).choice {
                Some(Choice::Create(subnet)) => prop_assert!(free.contains(&subnet)),
                Some(Choice::Reuse(_)) => prop_assert!(false),
                None => prop_assert!(free.is_empty()),
            }
        }
    }
}
