//! The name of a lease in a store: `10.5.7.0-24`, or `10.5.7.0-24&fd00:7:0:4f::-64` in a dual-stack network.

use ipnet::{Ipv4Net, Ipv6Net};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The subnets a lease is about, which are its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubnetKey {
    /// The IPv4 subnet.
    pub subnet: Ipv4Net,
    /// The IPv6 subnet of a dual-stack lease.
    pub subnet6: Option<Ipv6Net>,
}

/// A name that is no lease's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a subnet key such as 10.5.7.0-24")]
pub struct KeyError(pub String);

impl From<Ipv4Net> for SubnetKey {
    fn from(subnet: Ipv4Net) -> Self {
        Self { subnet, subnet6: None }
    }
}

impl fmt::Display for SubnetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.subnet.addr(), self.subnet.prefix_len())?;
        match self.subnet6 {
            Some(subnet) => write!(f, "&{}-{}", ColonHex(subnet.addr()), subnet.prefix_len()),
            None => Ok(()),
        }
    }
}

impl FromStr for SubnetKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        read(text).ok_or_else(|| KeyError(text.chars().take(80).collect()))
    }
}

fn read(text: &str) -> Option<SubnetKey> {
    let (v4, v6) = match text.split_once('&') {
        Some((v4, v6)) => (v4, Some(v6)),
        None => (text, None),
    };
    let (address, len) = v4.rsplit_once('-')?;
    let subnet = Ipv4Net::new(address.parse::<Ipv4Addr>().ok()?, prefix(len)?).ok()?;
    let subnet6 = match v6 {
        None => None,
        Some(v6) => {
            let (address, len) = v6.rsplit_once('-')?;
            Some(Ipv6Net::new(address.parse::<Ipv6Addr>().ok()?, prefix(len)?).ok()?)
        }
    };
    Some(SubnetKey { subnet, subnet6 })
}

/// A prefix length; `+24`, which Rust's own parser takes, is none.
fn prefix(text: &str) -> Option<u8> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// An IPv6 address without a dotted quad in it (`::ffff:a00:1` rather than `::ffff:10.0.0.1`), which flannel's key pattern does not match.
struct ColonHex(Ipv6Addr);

impl fmt::Display for ColonHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = self.0.to_string();
        if !usual.contains('.') {
            return f.write_str(&usual);
        }
        let [.., high, low] = self.0.segments();
        let head = usual.rsplit_once(':').map_or("", |(head, _)| head);
        write!(f, "{head}:{high:x}:{low:x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_subnets_read_back_and_flannels_pattern_matches(v4 in any::<u32>(), len in 0_u8..=32, v6 in any::<u128>(), len6 in 0_u8..=128) {
            let key = SubnetKey {
                subnet: Ipv4Net::new(v4.into(), len).unwrap(),
                subnet6: Some(Ipv6Net::new(v6.into(), len6).unwrap()),
            };
            let text = key.to_string();
            prop_assert_eq!(text.parse(), Ok(key));
            let (_, v6) = text.split_once('&').unwrap();
            prop_assert!(v6.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '-'), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            let _ = text.parse::<SubnetKey>();
        }
    }

    #[test]
    fn keys_read_back_as_they_were_written() {
        for text in ["10.5.7.0-24", "10.7.7.0-24&fd00:7:0:4f::-64", "0.0.0.0-0", "10.7.7.0-24&::ffff:a05:0-112"] {
            assert_eq!(text.parse::<SubnetKey>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_that_are_no_keys_are_refused() {
        for text in [
            "junk",
            "",
            "10.5.7.0",
            "10.5.7.0/24",
            "10.5.7.0-33",
            "10.5.7.0-+24",
            "10.5.7-24",
            "10.5.7.0-24&",
            "10.5.7.0-24&fd00::",
            "10.5.7.0-",
        ] {
            assert!(text.parse::<SubnetKey>().is_err(), "{text}");
        }
    }
}
