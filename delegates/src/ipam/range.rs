//! Address ranges of host-local: what the configuration says, what follows from it, and in which order addresses are
//! tried. Arithmetic is on 128-bit numbers for both families.

use cni::Error;
use ipnet::IpNet;
use serde::Deserialize;
use std::net::IpAddr;

/// A range as written in a configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RangeConf {
    pub(super) subnet: Option<IpNet>,
    pub(super) range_start: Option<IpAddr>,
    pub(super) range_end: Option<IpAddr>,
    pub(super) gateway: Option<IpAddr>,
}

/// A range with everything decided: `start..=end` within `subnet`, without the gateway.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range {
    pub(super) subnet: IpNet,
    pub(super) gateway: IpAddr,
    start: u128,
    end: u128,
}

/// Ranges of one family from which one address is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RangeSet(pub(super) Vec<Range>);

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(number).unwrap_or(u32::MAX).into()),
        IpAddr::V6(_) => IpAddr::V6(number.into()),
    }
}

fn refused(message: String) -> Error {
    Error::config(message)
}

impl Range {
    /// Fills in host-local's defaults: gateway and start are the network's first address, the end is the last one
    /// (in IPv4 the one before the broadcast address).
    pub(super) fn new(conf: &RangeConf) -> Result<Self, Error> {
        let subnet = conf.subnet.ok_or_else(|| refused("ipam range has no subnet".into()))?;
        if subnet.addr() != subnet.network() {
            return Err(refused(format!("ipam subnet {subnet} has host bits set: write {}", subnet.trunc())));
        }
        if subnet.max_prefix_len().saturating_sub(subnet.prefix_len()) < 2 {
            return Err(refused(format!("ipam subnet {subnet} is too small to allocate from")));
        }
        let network = number(subnet.network());
        let last = number(subnet.broadcast());
        let usable_end = if subnet.addr().is_ipv4() { last - 1 } else { last };
        let inside = |name: &str, given: Option<IpAddr>, default: u128| match given {
            None => Ok(default),
            Some(given) if subnet.contains(&given) => Ok(number(given)),
            Some(given) => Err(refused(format!("ipam {name} {given} is not in subnet {subnet}"))),
        };
        let start = inside("rangeStart", conf.range_start, network + 1)?;
        let end = inside("rangeEnd", conf.range_end, usable_end)?;
        if start > end {
            return Err(refused(format!("ipam range of subnet {subnet} ends before it starts")));
        }
        let gateway = conf.gateway.unwrap_or_else(|| address(network + 1, subnet.addr()));
        if gateway.is_ipv4() != subnet.addr().is_ipv4() {
            return Err(refused(format!("ipam gateway {gateway} is of another family than subnet {subnet}")));
        }
        Ok(Self { subnet, gateway, start, end })
    }

    fn contains(&self, candidate: IpAddr) -> bool {
        candidate.is_ipv4() == self.subnet.addr().is_ipv4() && (self.start..=self.end).contains(&number(candidate))
    }

    fn len(&self) -> u128 {
        self.end - self.start + 1
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.contains(address(other.start, other.subnet.addr()))
            || other.contains(address(self.start, self.subnet.addr()))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", address(self.start, self.subnet.addr()), address(self.end, self.subnet.addr()))
    }
}

impl std::fmt::Display for RangeSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, range)| write!(f, "{}{range}", if i == 0 { "" } else { "," }))
    }
}

impl RangeSet {
    /// Checks the ranges of one set against each other.
    pub(super) fn new(confs: &[RangeConf]) -> Result<Self, Error> {
        let ranges = confs.iter().map(Range::new).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = ranges.first() else { return Err(refused("ipam has an empty range set".into())) };
        for (i, range) in ranges.iter().enumerate() {
            if range.subnet.addr().is_ipv4() != first.subnet.addr().is_ipv4() {
                return Err(refused(format!(
                    "ipam range set mixes IPv4 and IPv6: {} and {}",
                    first.subnet, range.subnet
                )));
            }
            if let Some(other) = ranges.iter().skip(i + 1).find(|other| range.overlaps(other)) {
                return Err(refused(format!("ipam ranges overlap: {range} and {other}")));
            }
        }
        Ok(Self(ranges))
    }

    /// Whether both sets could hand out the same address.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|mine| other.0.iter().any(|theirs| mine.overlaps(theirs)))
    }

    /// The range an address belongs to.
    pub(super) fn range_of(&self, candidate: IpAddr) -> Option<&Range> {
        self.0.iter().find(|range| range.contains(candidate))
    }

    /// Every address of the set once: from the one after `cursor` on, over all ranges, round to `cursor` itself;
    /// gateways left out. Without a cursor in the set, from the first.
    pub(super) fn candidates(&self, cursor: Option<IpAddr>) -> impl Iterator<Item = (IpAddr, &Range)> {
        let total: u128 = self.0.iter().map(Range::len).fold(0, u128::saturating_add);
        let mut before = 0;
        let mut first = 0;
        for range in &self.0 {
            if let Some(cursor) = cursor.filter(|cursor| range.contains(*cursor)) {
                first = before + (number(cursor) - range.start) + 1;
            }
            before = before.saturating_add(range.len());
        }
        (0..total).filter_map(move |step| {
            let mut offset = first.wrapping_add(step) % total;
            let range = self.0.iter().find(|range| {
                let here = offset < range.len();
                if !here {
                    offset -= range.len();
                }
                here
            })?;
            let candidate = address(range.start + offset, range.subnet.addr());
            (candidate != range.gateway).then_some((candidate, range))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(&str, Option<&str>, Option<&str>)]) -> Result<RangeSet, Error> {
        let confs: Vec<_> = ranges
            .iter()
            .map(|(subnet, start, end)| RangeConf {
                subnet: Some(subnet.parse().unwrap()),
                range_start: start.map(|s| s.parse().unwrap()),
                range_end: end.map(|s| s.parse().unwrap()),
                gateway: None,
            })
            .collect();
        RangeSet::new(&confs)
    }

    fn walk(set: &RangeSet, cursor: Option<&str>) -> Vec<String> {
        set.candidates(cursor.map(|c| c.parse().unwrap())).map(|(ip, _)| ip.to_string()).collect()
    }

    #[test]
    fn a_fresh_range_starts_behind_the_gateway_and_ends_before_the_broadcast_address() {
        assert_eq!(
            walk(&set(&[("10.0.0.0/29", None, None)]).unwrap(), None),
            ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
        );
    }

    #[test]
    fn the_walk_goes_on_behind_the_cursor_crosses_ranges_and_ends_at_the_cursor() {
        let set = set(&[("10.0.0.0/29", None, None), ("10.0.1.0/24", Some("10.0.1.9"), Some("10.0.1.10"))]).unwrap();
        assert_eq!(
            walk(&set, Some("10.0.0.5")),
            ["10.0.0.6", "10.0.1.9", "10.0.1.10", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]
        );
    }

    #[test]
    fn a_cursor_outside_the_set_is_ignored() {
        let set = set(&[("10.0.0.0/30", None, None)]).unwrap();
        assert_eq!(walk(&set, Some("192.0.2.1")), walk(&set, None));
        assert_eq!(walk(&set, Some("fd00::1")), walk(&set, None));
    }

    #[test]
    fn ipv6_ranges_reach_the_last_address() {
        assert_eq!(walk(&set(&[("fd00::/126", None, None)]).unwrap(), None), ["fd00::2", "fd00::3"]);
    }

    #[test]
    fn impossible_ranges_are_refused_by_name() {
        for (ranges, message) in [
            (vec![("10.0.0.1/24", None, None)], "host bits set"),
            (vec![("10.0.0.0/31", None, None)], "too small"),
            (vec![("10.0.0.0/24", Some("10.0.1.1"), None)], "rangeStart 10.0.1.1 is not in subnet"),
            (vec![("10.0.0.0/24", Some("10.0.0.9"), Some("10.0.0.8"))], "ends before it starts"),
            (vec![("10.0.0.0/24", None, None), ("fd00::/64", None, None)], "mixes IPv4 and IPv6"),
            (vec![("10.0.0.0/24", None, None), ("10.0.0.0/25", None, None)], "overlap"),
            (vec![], "empty range set"),
        ] {
            let error = set(&ranges).unwrap_err();
            assert!(error.msg.contains(message), "{:?}: {}", ranges, error.msg);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_address_is_visited_exactly_once(bits in 2u8..8, cursor in 0u32..300) {
            let subnet = format!("10.9.0.0/{}", 32 - bits);
            let set = set(&[(&subnet, None, None)]).unwrap();
            let cursor = IpAddr::V4((0x0a09_0000 + cursor).into());
            let mut seen: Vec<_> = set.candidates(Some(cursor)).map(|(ip, _)| ip).collect();
            let count = seen.len();
            seen.sort();
            seen.dedup();
            proptest::prop_assert_eq!(seen.len(), count);
            proptest::prop_assert_eq!(count, (1usize << bits) - 3);
        }
    }
}
