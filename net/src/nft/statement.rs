//! Statements of rules: what packets are matched by and what is done with them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::set::{DataType, Value};

/// One statement of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statement {
    /// A field of the packet is, or is not, this value.
    Match {
        /// The field.
        field: Field,
        /// It must differ.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        negated: bool,
        /// What it is compared with; of the field's type.
        value: Value,
    },
    /// The fields are, or are not, the key of an element.
    Lookup {
        /// The fields, concatenated.
        key: Vec<Field>,
        /// Name of the set.
        set: String,
        /// They must not be.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        negated: bool,
    },
    /// What the map says for the fields is done; when it says nothing the rule ends.
    VerdictMap {
        /// The fields, concatenated.
        key: Vec<Field>,
        /// Name of the map.
        map: String,
    },
    /// The destination is, or is not, an address of this node.
    LocalDestination {
        /// It must not be.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        negated: bool,
    },
    /// The destination of the connection was translated.
    DestinationTranslated,
    /// The connection is in one of these states.
    State(Vec<ConnectionState>),
    /// The bits of the packet's mark that the mask selects are, or are not, this value.
    Mark {
        /// The value.
        value: u32,
        /// The bits that count.
        mask: u32,
        /// They must differ.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        negated: bool,
    },
    /// The bits of the packet's mark that the mask selects are set to this value; the others stay.
    SetMark {
        /// The value.
        value: u32,
        /// The bits to change.
        mask: u32,
    },
    /// Packets and bytes are counted.
    Counter,
    /// The rule goes on at most this often.
    Limit {
        /// Packets in a second.
        per_second: u32,
        /// Packets that may come at once.
        burst: u32,
    },
    /// A line goes to the kernel's log.
    Log {
        /// Its beginning.
        prefix: String,
    },
    /// The source becomes an address of the interface the packet leaves by.
    Masquerade {
        /// The port is chosen at random, in a range that is hard to guess.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        fully_random: bool,
    },
    /// The source becomes this address.
    Snat {
        /// The address.
        address: IpAddr,
        /// The port; the connection's own if it is free, without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    },
    /// The destination becomes what the map says for the fields, an address and a port; when it says nothing the rule ends.
    DnatMap {
        /// The fields, concatenated.
        key: Vec<Field>,
        /// Name of the map.
        map: String,
    },
    /// What becomes of the packet.
    Verdict(Verdict),
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It leaves this base chain and goes on to the next.
    Accept,
    /// It is dropped.
    Drop,
    /// It goes on behind the rule that jumped here.
    Return,
    /// It goes through this chain and comes back.
    Jump(String),
    /// It goes through this chain and does not come back.
    Goto(String),
}

/// A field of the packet, its connection or its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// IPv4 source address.
    Ipv4Source,
    /// IPv4 destination address.
    Ipv4Destination,
    /// IPv6 source address.
    Ipv6Source,
    /// IPv6 destination address.
    Ipv6Destination,
    /// Protocol above IP.
    Protocol,
    /// Source port.
    SourcePort,
    /// Destination port.
    DestinationPort,
    /// Destination port of the connection's first packet, before any translation.
    OriginalDestinationPort,
    /// Interface the packet came in by.
    InputInterface,
    /// Interface the packet leaves by.
    OutputInterface,
    /// Packet mark.
    Mark,
}

/// State of a connection, as connection tracking sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// The packet fits no connection.
    Invalid,
    /// Both sides have been heard.
    Established,
    /// Belongs to another connection, as an ICMP error does.
    Related,
    /// The first packet.
    New,
    /// Not to be tracked.
    Untracked,
}

impl Field {
    /// The source address of the address's family.
    #[must_use]
    pub const fn source(family_of: IpAddr) -> Self {
        match family_of {
            IpAddr::V4(_) => Self::Ipv4Source,
            IpAddr::V6(_) => Self::Ipv6Source,
        }
    }

    /// The destination address of the address's family.
    #[must_use]
    pub const fn destination(family_of: IpAddr) -> Self {
        match family_of {
            IpAddr::V4(_) => Self::Ipv4Destination,
            IpAddr::V6(_) => Self::Ipv6Destination,
        }
    }

    /// Type of the field's values.
    #[must_use]
    pub const fn data_type(self) -> DataType {
        match self {
            Self::Ipv4Source | Self::Ipv4Destination => DataType::Ipv4Addr,
            Self::Ipv6Source | Self::Ipv6Destination => DataType::Ipv6Addr,
            Self::Protocol => DataType::InetProto,
            Self::SourcePort | Self::DestinationPort | Self::OriginalDestinationPort => DataType::InetService,
            Self::InputInterface | Self::OutputInterface => DataType::Ifname,
            Self::Mark => DataType::Mark,
        }
    }
}

impl Statement {
    /// The packet comes from the network.
    #[must_use]
    pub fn from(network: IpNet) -> Self {
        Self::Match { field: Field::source(network.addr()), negated: false, value: Value::Network(network) }
    }

    /// The packet does not come from the network.
    #[must_use]
    pub fn not_from(network: IpNet) -> Self {
        Self::Match { field: Field::source(network.addr()), negated: true, value: Value::Network(network) }
    }

    /// The packet goes to the network.
    #[must_use]
    pub fn to(network: IpNet) -> Self {
        Self::Match { field: Field::destination(network.addr()), negated: false, value: Value::Network(network) }
    }

    /// The packet does not go to the network.
    #[must_use]
    pub fn not_to(network: IpNet) -> Self {
        Self::Match { field: Field::destination(network.addr()), negated: true, value: Value::Network(network) }
    }

    /// The packet goes on.
    #[must_use]
    pub const fn accept() -> Self {
        Self::Verdict(Verdict::Accept)
    }

    /// The packet goes back to the calling chain, or meets the policy of the base chain.
    #[must_use]
    pub const fn back() -> Self {
        Self::Verdict(Verdict::Return)
    }
}
