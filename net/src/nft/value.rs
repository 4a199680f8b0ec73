//! Values and their types as the kernel keeps them in registers and sets.

use std::net::IpAddr;

use super::set::{DataType, Value};
use super::wire::text;

/// Length of an interface name in registers and sets (`IFNAMSIZ`), in bytes.
const IFNAMSIZ: usize = 16;
/// Parts of a concatenation begin at multiples of a 32-bit register.
const REGISTER: usize = 4;
/// Bits of a type's number within the number of a concatenation (nft's `TYPE_BITS`).
const TYPE_BITS: u32 = 6;

impl DataType {
    const ALL: [Self; 6] =
        [Self::Ipv4Addr, Self::Ipv6Addr, Self::InetProto, Self::InetService, Self::Ifname, Self::Mark];

    /// Length of a value, in bytes.
    pub(super) const fn length(self) -> usize {
        match self {
            Self::Ipv4Addr | Self::Mark => 4,
            Self::Ipv6Addr | Self::Ifname => 16,
            Self::InetProto => 1,
            Self::InetService => 2,
        }
    }

    /// How many 32-bit registers a value takes.
    pub(super) const fn registers(self) -> u32 {
        match self {
            Self::Ipv6Addr | Self::Ifname => 4,
            _ => 1,
        }
    }

    /// The number by which nft knows the type (`enum datatypes` of its datatype.h); the kernel only keeps it.
    const fn number(self) -> u32 {
        match self {
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::Mark => 19,
            Self::Ifname => 41,
        }
    }

    /// nft's number for the order of the value's bytes: 1 is the host's, 2 the network's (`enum byteorder` of its datatype.h).
    pub(super) const fn byte_order(self) -> u32 {
        match self {
            Self::Ifname | Self::Mark => 1,
            _ => 2,
        }
    }

    /// The number of a type or of a concatenation of types.
    pub(super) fn concatenated_number(types: &[Self]) -> u32 {
        types.iter().fold(0, |number, part| number << TYPE_BITS | part.number())
    }

    /// The types a number was made of; `None` when one of them is unknown here.
    pub(super) fn from_concatenated_number(mut number: u32) -> Option<Vec<Self>> {
        let mut types = Vec::new();
        while number != 0 {
            let last = number & ((1 << TYPE_BITS) - 1);
            types.push(Self::ALL.into_iter().find(|part| part.number() == last)?);
            number >>= TYPE_BITS;
        }
        types.reverse();
        Some(types)
    }

    /// Length of a key or of data of these types, in bytes: parts of a concatenation are padded, a single value is not.
    pub(super) fn concatenated_length(types: &[Self]) -> usize {
        match types {
            [single] => single.length(),
            several => several.iter().map(|part| part.length().next_multiple_of(REGISTER)).sum(),
        }
    }
}

impl Value {
    /// The bytes of a single value, of the first one in a network or range.
    pub(super) fn first_bytes(&self) -> Vec<u8> {
        match self {
            Self::Address(address) => address_bytes(*address),
            Self::Network(network) => address_bytes(network.network()),
            Self::Protocol(protocol) => vec![*protocol],
            Self::Port(port) | Self::Ports(port, _) => port.to_be_bytes().to_vec(),
            Self::Interface(name) => {
                let mut bytes = name.as_bytes().to_vec();
                bytes.resize(IFNAMSIZ, 0);
                bytes
            }
            Self::Mark(mark) => mark.to_ne_bytes().to_vec(),
        }
    }

    /// The bytes of the last value in a network or range; of the value itself otherwise.
    pub(super) fn last_bytes(&self) -> Vec<u8> {
        match self {
            Self::Network(network) => address_bytes(network.broadcast()),
            Self::Ports(_, last) => last.to_be_bytes().to_vec(),
            single => single.first_bytes(),
        }
    }

    /// Whether the value stands for several.
    pub(super) const fn is_interval(&self) -> bool {
        matches!(self, Self::Network(_) | Self::Ports(..))
    }

    fn from_bytes(kind: DataType, bytes: &[u8]) -> Option<Self> {
        Some(match kind {
            DataType::Ipv4Addr => Self::Address(IpAddr::from(*bytes.first_chunk::<4>()?)),
            DataType::Ipv6Addr => Self::Address(IpAddr::from(*bytes.first_chunk::<16>()?)),
            DataType::InetProto => Self::Protocol(*bytes.first()?),
            DataType::InetService => Self::Port(u16::from_be_bytes(*bytes.first_chunk()?)),
            DataType::Ifname => Self::Interface(text(bytes)),
            DataType::Mark => Self::Mark(u32::from_ne_bytes(*bytes.first_chunk()?)),
        })
    }
}

/// The bytes of a key or of data; `part` says which end of an interval.
pub(super) fn concatenated(values: &[Value], part: impl Fn(&Value) -> Vec<u8>) -> Vec<u8> {
    if let [single] = values {
        return part(single);
    }
    let mut bytes = Vec::with_capacity(values.len() * REGISTER);
    for value in values {
        bytes.extend(part(value));
        bytes.resize(bytes.len().next_multiple_of(REGISTER), 0);
    }
    bytes
}

/// The values in a key or in data of these types.
pub(super) fn split(types: &[DataType], bytes: &[u8]) -> Option<Vec<Value>> {
    if bytes.len() < DataType::concatenated_length(types) {
        return None;
    }
    let mut rest = bytes;
    let mut values = Vec::with_capacity(types.len());
    for kind in types {
        values.push(Value::from_bytes(*kind, rest)?);
        rest = rest.get(kind.length().next_multiple_of(REGISTER)..).unwrap_or_default();
    }
    Some(values)
}

/// The number behind a big-endian one; `None` behind the largest.
pub(super) fn successor(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(bytes);
        }
    }
    None
}

fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_split_into_the_values_it_was_made_of() {
        let values = [
            Value::Address("fd00::1".parse().unwrap()),
            Value::Protocol(17),
            Value::Port(53),
            Value::Interface("eth0".into()),
            Value::Mark(0x4000),
        ];
        for count in 1..=values.len() {
            let values = &values[..count];
            let types: Vec<_> = values.iter().map(Value::data_type).collect();
            let bytes = concatenated(values, Value::first_bytes);
            assert_eq!(bytes.len(), DataType::concatenated_length(&types));
            assert_eq!(split(&types, &bytes).unwrap(), values);
            assert_eq!(split(&types, &bytes[1..]), None);
            assert_eq!(DataType::from_concatenated_number(DataType::concatenated_number(&types)), Some(types));
        }
    }

    #[test]
    fn behind_the_largest_number_there_is_none() {
        assert_eq!(successor(vec![10, 0, 0, 255]), Some(vec![10, 0, 1, 0]));
        assert_eq!(successor(vec![255, 255]), None);
    }
}
