//! Hardware addresses in an annotation: the MAC of an Ethernet interface and the GUID of an InfiniBand port.
//!
//! Go's `net.ParseMAC`, which every peer uses, takes an address of either length for either key; the multi-net-spec
//! (4.1.2.1.4 and 4.1.2.1.10) does not, and neither does the hardware.

use serde::{Serialize, Serializer};
use std::fmt;

/// The address of an Ethernet interface, 6 bytes; printed with colons, in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// The GUID of an InfiniBand port, 8 bytes; printed with colons, in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 8]);

impl Mac {
    /// Reads the forms Go's `net.ParseMAC` reads (`00:11:..`, `00-11-..`, `0011.2233.4455`), of 6 bytes, and only
    /// addresses that an interface can have (`is_valid_ether_addr`, include/linux/etherdevice.h).
    ///
    /// # Errors
    /// The reason, as the rest of a sentence about the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mac = bytes::<6>(text).ok_or("is not a MAC address of 6 bytes, such as 0a:58:0a:05:16:04")?;
        match mac {
            [first, ..] if first & 1 == 1 => Err("is a multicast address, which no interface can have"),
            [0, 0, 0, 0, 0, 0] => Err("is all zeros"),
            _ => Ok(Self(mac)),
        }
    }
}

impl Guid {
    /// Reads a GUID in the same forms as a [`Mac`], of 8 bytes.
    ///
    /// # Errors
    /// The reason, as the rest of a sentence about the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match bytes::<8>(text).ok_or("is not a GUID of 8 bytes, such as c2:11:22:33:44:55:66:77")? {
            [0, 0, 0, 0, 0, 0, 0, 0] => Err("is all zeros"),
            guid => Ok(Self(guid)),
        }
    }
}

/// The `N` bytes of `text` in groups of one (`:` or `-`) or two (`.`), with one and the same separator throughout.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let separator = text.bytes().find(|byte| matches!(byte, b':' | b'-' | b'.'))?;
    let digits = if separator == b'.' { 4 } else { 2 };
    let mut all = text.split(char::from(separator)).flat_map(|group| {
        let regular = group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit());
        let pairs = if regular { group } else { "?" };
        pairs
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
    });
    let mut bytes = [0; N];
    for byte in &mut bytes {
        *byte = all.next()??;
    }
    all.next().is_none().then_some(bytes)
}

fn print(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (position, byte) in bytes.iter().enumerate() {
        let separator = if position == 0 { "" } else { ":" };
        write!(f, "{separator}{byte:02x}")?;
    }
    Ok(())
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(&self.0, f)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(&self.0, f)
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_go_are_read_and_one_is_printed() {
        for text in ["0A:58:0a:05:16:04", "0a-58-0a-05-16-04", "0a58.0a05.1604"] {
            assert_eq!(Mac::parse(text).unwrap().to_string(), "0a:58:0a:05:16:04", "{text}");
        }
        assert_eq!(Guid::parse("c2:11:22:33:44:55:66:77").unwrap().to_string(), "c2:11:22:33:44:55:66:77");
        assert_eq!(Guid::parse("c211.2233.4455.6677").unwrap().to_string(), "c2:11:22:33:44:55:66:77");
    }

    #[test]
    fn an_address_of_another_length_is_refused() {
        for bad in [
            "",
            ":",
            "0a580a051604",
            "0a:58:0a:05:16",
            "c2:11:22:33:44:55:66:77",
            "0a:58-0a:05:16:04",
            "0a:58:0a:05:16:0",
            "0a:58:0a:05:16:+4",
            "0a:58:0a:05:16:04:",
            "é0:58:0a:05:16:04",
        ] {
            assert!(Mac::parse(bad).is_err(), "{bad}");
        }
        assert!(Guid::parse("0a:58:0a:05:16:04").is_err());
    }

    #[test]
    fn an_address_no_interface_can_have_is_refused() {
        assert!(Mac::parse("01:00:5e:00:00:01").is_err());
        assert!(Mac::parse("00:00:00:00:00:00").is_err());
        assert!(Guid::parse("00:00:00:00:00:00:00:00").is_err());
    }
}
