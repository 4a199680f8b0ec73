//! The data model: tables, chains, rules, and what can be done to them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::set::{Element, Set, Value};
use super::statement::Statement;

/// Changes to the ruleset that the kernel takes as a whole or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Transaction {
    /// The changes, in order.
    pub changes: Vec<Change>,
}

/// One change to the ruleset.
///
/// `missing_ok` on a deletion means that it has succeeded when there is nothing to delete; see [`super::Socket::commit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Change {
    /// The table exists.
    AddTable {
        /// The table.
        table: Table,
        /// Who it belongs to. Taken only when the table is created.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// The table goes, with everything in it.
    DeleteTable {
        /// The table.
        table: Table,
        /// Nothing to delete is fine.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        missing_ok: bool,
    },
    /// The chain exists.
    AddChain {
        /// The table.
        table: Table,
        /// Name of the chain.
        chain: String,
        /// Where packets enter it; without one it is only jumped to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<Base>,
    },
    /// The rules of the chain go.
    FlushChain {
        /// The table.
        table: Table,
        /// Name of the chain.
        chain: String,
    },
    /// The chain goes, with its rules.
    DeleteChain {
        /// The table.
        table: Table,
        /// Name of the chain.
        chain: String,
        /// Nothing to delete is fine.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        missing_ok: bool,
    },
    /// A rule is appended to the chain.
    AddRule {
        /// The table.
        table: Table,
        /// Name of the chain.
        chain: String,
        /// The rule.
        #[serde(flatten)]
        rule: Rule,
    },
    /// A rule goes.
    DeleteRule {
        /// The table.
        table: Table,
        /// Name of the chain.
        chain: String,
        /// The kernel's number for the rule, as [`super::Socket::read_table`] tells it.
        handle: u64,
        /// Nothing to delete is fine.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        missing_ok: bool,
    },
    /// The set or map exists.
    AddSet {
        /// The table.
        table: Table,
        /// The set.
        #[serde(flatten)]
        set: Set,
    },
    /// The elements of the set go.
    FlushSet {
        /// The table.
        table: Table,
        /// Name of the set.
        set: String,
    },
    /// The set goes, with its elements.
    DeleteSet {
        /// The table.
        table: Table,
        /// Name of the set.
        set: String,
        /// Nothing to delete is fine.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        missing_ok: bool,
    },
    /// The element is in the set.
    AddElement {
        /// The table.
        table: Table,
        /// Name of the set.
        set: String,
        /// The element.
        #[serde(flatten)]
        element: Element,
        /// What becomes of an element that has this key already.
        #[serde(default, skip_serializing_if = "Existing::is_kept")]
        existing: Existing,
    },
    /// The element goes.
    DeleteElement {
        /// The table.
        table: Table,
        /// Name of the set.
        set: String,
        /// Its key.
        key: Vec<Value>,
        /// Nothing to delete is fine.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        missing_ok: bool,
    },
}

/// What becomes of an element that is in the way of a new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// It stays as it is, its comment included; one with other data is refused as a conflict.
    #[default]
    Kept,
    /// It is refused as a conflict, even if it is the same.
    Refused,
    /// It goes, whatever it holds, and the new one comes in the same moment.
    Replaced,
}

impl Existing {
    const fn is_kept(&self) -> bool {
        matches!(self, Self::Kept)
    }
}

/// A table's family and name; as text `ip plexus`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Table {
    /// Which packets its chains see.
    pub family: Family,
    /// Name, unique in the family.
    pub name: String,
}

/// Which packets a table's chains see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// IPv4 and IPv6.
    Inet,
    /// Frames that pass a bridge.
    Bridge,
    /// Frames of one device.
    Netdev,
}

/// Where packets enter a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// What the chain is for.
    pub kind: Kind,
    /// The point on a packet's way.
    pub hook: Hook,
    /// Order among the chains of a hook, lowest first: -100 is destination NAT, 0 filtering, 100 source NAT.
    pub priority: i32,
    /// What becomes of packets that no rule decided on.
    pub policy: Policy,
}

/// What a base chain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Deciding about every packet.
    Filter,
    /// Translating addresses: sees the first packet of a connection only.
    Nat,
    /// Changing what routing looks at.
    Route,
}

/// A point on a packet's way through the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Came in, not routed yet.
    Prerouting,
    /// For the node itself.
    Input,
    /// Passing through.
    Forward,
    /// From the node itself.
    Output,
    /// About to leave.
    Postrouting,
}

/// What becomes of packets that no rule of a base chain decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// They go on.
    Accept,
    /// They are dropped.
    Drop,
}

/// A rule: its statements are tried in order until one does not match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What is matched and done.
    pub statements: Vec<Statement>,
    /// Who it belongs to or what it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Change {
    /// The table the change is made in.
    #[must_use]
    pub const fn table(&self) -> &Table {
        match self {
            Self::AddTable { table, .. }
            | Self::DeleteTable { table, .. }
            | Self::AddChain { table, .. }
            | Self::FlushChain { table, .. }
            | Self::DeleteChain { table, .. }
            | Self::AddRule { table, .. }
            | Self::DeleteRule { table, .. }
            | Self::AddSet { table, .. }
            | Self::FlushSet { table, .. }
            | Self::DeleteSet { table, .. }
            | Self::AddElement { table, .. }
            | Self::DeleteElement { table, .. } => table,
        }
    }

    /// Whether this is a deletion of something that may be missing.
    #[must_use]
    pub const fn missing_ok(&self) -> bool {
        match self {
            Self::DeleteTable { missing_ok, .. }
            | Self::DeleteChain { missing_ok, .. }
            | Self::DeleteRule { missing_ok, .. }
            | Self::DeleteSet { missing_ok, .. }
            | Self::DeleteElement { missing_ok, .. } => *missing_ok,
            _ => false,
        }
    }
}

impl Transaction {
    /// Whether nothing is to be changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// This transaction followed by another, as one.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.changes.extend(other.changes);
        self
    }
}

impl From<Vec<Change>> for Transaction {
    fn from(changes: Vec<Change>) -> Self {
        Self { changes }
    }
}

impl Family {
    pub(super) const ALL: [Self; 5] = [Self::Ip, Self::Ip6, Self::Inet, Self::Bridge, Self::Netdev];

    /// The family of tables that see packets from or to the address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ip,
            IpAddr::V6(_) => Self::Ip6,
        }
    }

    /// The word of nft's syntax.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }
}

impl Table {
    /// A table of this family and name.
    #[must_use]
    pub fn new(family: Family, name: impl Into<String>) -> Self {
        Self { family, name: name.into() }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family.as_str(), self.name)
    }
}

impl From<Table> for String {
    fn from(table: Table) -> Self {
        table.to_string()
    }
}

impl TryFrom<String> for Table {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Table {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(' ').filter(|(_, name)| !name.is_empty());
        let found = parts.and_then(|(word, name)| Some((Family::ALL.into_iter().find(|f| f.as_str() == word)?, name)));
        found.map(|(family, name)| Self::new(family, name)).ok_or_else(|| format!("{text:?} names no nftables table"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::{Data, Verdict};

    #[test]
    fn a_table_is_written_as_its_family_and_name() {
        let table = Table::new(Family::Ip6, "plexus");
        assert_eq!(serde_json::to_string(&table).unwrap(), r#""ip6 plexus""#);
        assert_eq!(serde_json::from_str::<Table>(r#""ip6 plexus""#).unwrap(), table);
        for bad in ["", "ip", "ip ", "ipx plexus"] {
            assert!(bad.parse::<Table>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_journaled_transaction_reads_back_the_same() {
        let table = Table::new(Family::Ip, "t");
        let key = vec![Value::Protocol(6), Value::Port(80)];
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let data = Some(Data::Values(vec![Value::Address(address), Value::Port(8080)]));
        let element = Element { key: key.clone(), data, comment: Some("owner".into()) };
        let data = Some(Data::Verdict(Verdict::Goto("c".into())));
        let jump = Element { key: vec![Value::Mark(7)], data, comment: None };
        let rule = Rule { statements: vec![Statement::Counter, Statement::accept()], comment: None };
        let transaction = Transaction::from(vec![
            Change::AddTable { table: table.clone(), comment: None },
            Change::AddRule { table: table.clone(), chain: "c".into(), rule },
            Change::AddElement { table: table.clone(), set: "m".into(), element, existing: Existing::Refused },
            Change::AddElement { table: table.clone(), set: "v".into(), element: jump, existing: Existing::Kept },
            Change::DeleteElement { table, set: "m".into(), key, missing_ok: true },
        ]);
        let text = serde_json::to_string(&transaction).unwrap();
        assert_eq!(serde_json::from_str::<Transaction>(&text).unwrap(), transaction, "{text}");
    }
}
