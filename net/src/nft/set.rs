//! Sets, maps, and the values in them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::statement::Verdict;

/// A set, or a map when its elements carry data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// Name.
    pub name: String,
    /// Type of the keys; more than one is a concatenation.
    pub key: Vec<DataType>,
    /// What the elements carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data<DataType>>,
    /// Keys may be networks and ranges.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interval: bool,
    /// Who it belongs to or what it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// An element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// Key, one value for each part of the set's key.
    pub key: Vec<Value>,
    /// What the key leads to, in a map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data<Value, Verdict>>,
    /// Who it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What the elements of a map carry: as type of a map, or as data of an element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data<V, D = ()> {
    /// What to do with the packet.
    Verdict(D),
    /// Values; more than one is a concatenation.
    Values(Vec<V>),
}

/// Type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    /// IPv4 address.
    Ipv4Addr,
    /// IPv6 address.
    Ipv6Addr,
    /// IP protocol number.
    InetProto,
    /// Port of TCP, UDP or SCTP.
    InetService,
    /// Interface name.
    Ifname,
    /// Packet mark.
    Mark,
}

/// A value that packets are compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// An address.
    Address(IpAddr),
    /// All addresses of a network. As the key of an element the set must hold intervals.
    Network(IpNet),
    /// An IP protocol number.
    Protocol(u8),
    /// A port.
    Port(u16),
    /// Ports from the first to the last. As the key of an element the set must hold intervals.
    Ports(u16, u16),
    /// An interface name; in a rule it may end in `*` for all that begin like it.
    Interface(String),
    /// A packet mark.
    Mark(u32),
}

impl Value {
    /// Type of the value.
    #[must_use]
    pub const fn data_type(&self) -> DataType {
        match self {
            Self::Address(IpAddr::V4(_)) | Self::Network(IpNet::V4(_)) => DataType::Ipv4Addr,
            Self::Address(IpAddr::V6(_)) | Self::Network(IpNet::V6(_)) => DataType::Ipv6Addr,
            Self::Protocol(_) => DataType::InetProto,
            Self::Port(_) | Self::Ports(..) => DataType::InetService,
            Self::Interface(_) => DataType::Ifname,
            Self::Mark(_) => DataType::Mark,
        }
    }
}
