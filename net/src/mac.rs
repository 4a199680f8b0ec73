//! Ethernet addresses as a value that prints, parses and travels in JSON the way every tool writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet (MAC) address, printed in lower case with colons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// A text that is not an Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a MAC address (want six hexadecimal bytes such as 0a:58:0a:2a:01:02)")]
pub struct ParseMacError {
    /// The text as given.
    pub text: String,
}

impl Mac {
    /// An address from six random bytes, made unicast and locally administered (IEEE 802, bits 0 and 1 of the first octet).
    #[must_use]
    pub const fn random_local(random: [u8; 6]) -> Self {
        let [first, rest @ ..] = random;
        let [b, c, d, e, f] = rest;
        Self([(first & 0b1111_1100) | 0b0000_0010, b, c, d, e, f])
    }

    /// Whether the address names one station and not a group.
    #[must_use]
    pub const fn is_unicast(&self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0
    }

    /// Reads an address from the bytes of a netlink attribute; `None` when there are not exactly six.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseMacError { text: text.to_owned() };
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit()));
            *byte = u8::from_str_radix(part.ok_or_else(refuse)?, 16).map_err(|_| refuse())?;
        }
        if parts.next().is_some() { Err(refuse()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for Mac {
    type Error = ParseMacError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_parsed_back() {
        let mac = Mac([0x0a, 0x58, 0x0a, 0x2a, 0x01, 0xff]);
        assert_eq!(mac.to_string(), "0a:58:0a:2a:01:ff");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        assert_eq!("0A-58-0a-2A-01-FF".parse(), Ok(mac));
    }

    #[test]
    fn texts_that_are_no_addresses_are_refused() {
        for text in
            ["", "0a:58:0a:2a:01", "0a:58:0a:2a:01:02:03", "0a:58:0a:2a:01:0g", "a:58:0a:2a:01:02", "+a:58:0a:2a:01:02"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn random_addresses_are_unicast_and_locally_administered() {
        for first in 0..=255 {
            let Mac([byte, ..]) = Mac::random_local([first, 1, 2, 3, 4, 5]);
            assert_eq!(byte & 0b11, 0b10);
        }
    }

    #[test]
    fn an_address_is_a_string_in_json() {
        let mac: Mac = serde_json::from_str("\"de:26:47:23:79:80\"").unwrap();
        assert_eq!(serde_json::to_string(&mac).unwrap(), "\"de:26:47:23:79:80\"");
        assert!(serde_json::from_str::<Mac>("\"de:26\"").is_err());
    }
}
