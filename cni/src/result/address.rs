//! Addresses as Go prints and parses them: host bits kept, IPv4-mapped IPv6 is IPv4, the empty text is no address.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Bits in front of the IPv4 address of `::ffff:a.b.c.d`.
const MAPPED_PREFIX: u8 = 96;

/// Reads `address/length`.
pub(super) fn network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpNet, D::Error> {
    deserializer.deserialize_str(Text("an address with a prefix length", parse_network))
}

/// Reads an address, or the empty text for none.
pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    deserializer.deserialize_str(Text("an address", parse_optional))
}

/// An interface index. Go's type has a sign, and a negative index is some plugins' way to say "none".
pub(super) fn index<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let index = Option::<i64>::deserialize(deserializer)?;
    Ok(index.and_then(|index| usize::try_from(index).ok()))
}

fn parse_network(text: &str) -> Result<IpNet, &'static str> {
    let network: IpNet = text.parse().map_err(|_| "not an address with a prefix length")?;
    Ok(unmapped(network))
}

fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped();
    let length = v6.prefix_len().checked_sub(MAPPED_PREFIX);
    match (mapped, length) {
        (Some(address), Some(length)) => Ipv4Net::new(address, length).map_or(network, IpNet::V4),
        _ => network,
    }
}

fn parse_optional(text: &str) -> Result<Option<IpAddr>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_| "not an IP address")?;
    Ok(Some(address.to_canonical()))
}

/// A visitor that parses a string.
struct Text<T>(&'static str, fn(&str) -> Result<T, &'static str>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }
}
