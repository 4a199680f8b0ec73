//! Transactions in nft's own syntax, for plans, logs and tests.

use std::fmt::{self, Display, Formatter};

use super::model::{Base, Change, Existing, Hook, Kind, Policy, Rule, Transaction};
use super::set::{Data, DataType, Element, Set, Value};
use super::statement::{ConnectionState, Field, Statement, Verdict};

impl Transaction {
    /// The commands that `nft -f` would take for these changes. A deletion of what may be missing is nft's `destroy`.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Display for Transaction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let delete = if self.missing_ok() { "destroy" } else { "delete" };
        match self {
            Self::AddTable { table, comment: None } => write!(f, "add table {table}"),
            Self::AddTable { table, comment: Some(comment) } => {
                write!(f, "add table {table} {{ comment \"{comment}\"; }}")
            }
            Self::DeleteTable { table, .. } => write!(f, "{delete} table {table}"),
            Self::AddChain { table, chain, base: None } => write!(f, "add chain {table} {chain}"),
            Self::AddChain { table, chain, base: Some(base) } => write!(f, "add chain {table} {chain} {{ {base} }}"),
            Self::FlushChain { table, chain } => write!(f, "flush chain {table} {chain}"),
            Self::DeleteChain { table, chain, .. } => write!(f, "{delete} chain {table} {chain}"),
            Self::AddRule { table, chain, rule } => write!(f, "add rule {table} {chain} {rule}"),
            Self::DeleteRule { table, chain, handle, .. } => write!(f, "{delete} rule {table} {chain} handle {handle}"),
            Self::AddSet { table, set } => {
                let word = if set.data.is_some() { "map" } else { "set" };
                write!(f, "add {word} {table} {} {{ {set} }}", set.name)
            }
            Self::FlushSet { table, set } => write!(f, "flush set {table} {set}"),
            Self::DeleteSet { table, set, .. } => write!(f, "{delete} set {table} {set}"),
            Self::AddElement { table, set, element, existing } => {
                if *existing == Existing::Replaced {
                    writeln!(f, "destroy element {table} {set} {{ {} }}", Joined(&element.key))?;
                }
                let word = if *existing == Existing::Refused { "create" } else { "add" };
                write!(f, "{word} element {table} {set} {{ {element} }}")
            }
            Self::DeleteElement { table, set, key, .. } => {
                write!(f, "{delete} element {table} {set} {{ {} }}", Joined(key))
            }
        }
    }
}

impl Display for Base {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (kind, hook) = (self.kind.as_str(), self.hook.as_str());
        let policy = match self.policy {
            Policy::Accept => "accept",
            Policy::Drop => "drop",
        };
        write!(f, "type {kind} hook {hook} priority {}; policy {policy};", self.priority)
    }
}

impl Kind {
    /// The word of nft's syntax, which is also the kernel's name of the type.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }
}

impl Hook {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }
}

impl Display for Set {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "type {}", Joined(&self.key))?;
        match &self.data {
            None => {}
            Some(Data::Verdict(())) => f.write_str(" : verdict")?,
            Some(Data::Values(types)) => write!(f, " : {}", Joined(types))?,
        }
        f.write_str(";")?;
        if self.interval {
            f.write_str(" flags interval;")?;
        }
        self.comment.as_ref().map_or(Ok(()), |comment| write!(f, " comment \"{comment}\";"))
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Joined(&self.key))?;
        if let Some(comment) = &self.comment {
            write!(f, " comment \"{comment}\"")?;
        }
        match &self.data {
            None => Ok(()),
            Some(Data::Verdict(verdict)) => write!(f, " : {verdict}"),
            Some(Data::Values(values)) => write!(f, " : {}", Joined(values)),
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (position, statement) in self.statements.iter().enumerate() {
            write!(f, "{}{statement}", if position == 0 { "" } else { " " })?;
        }
        self.comment.as_ref().map_or(Ok(()), |comment| write!(f, " comment \"{comment}\""))
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let not = |negated: &bool| if *negated { "!= " } else { "" };
        match self {
            Self::Match { field, negated, value } => write!(f, "{field} {}{value}", not(negated)),
            Self::Lookup { key, set, negated } => write!(f, "{} {}@{set}", Joined(key), not(negated)),
            Self::VerdictMap { key, map } => write!(f, "{} vmap @{map}", Joined(key)),
            Self::LocalDestination { negated } => write!(f, "fib daddr type {}local", not(negated)),
            Self::DestinationTranslated => f.write_str("ct status dnat"),
            Self::State(states) => {
                let words: Vec<_> = states.iter().map(|state| state.as_str()).collect();
                write!(f, "ct state {}", words.join(","))
            }
            Self::Mark { value, mask: u32::MAX, negated } => write!(f, "meta mark {}{value:#x}", not(negated)),
            Self::Mark { value, mask, negated } => {
                write!(f, "meta mark & {mask:#x} {} {value:#x}", if *negated { "!=" } else { "==" })
            }
            Self::SetMark { value, mask: u32::MAX } => write!(f, "meta mark set {value:#x}"),
            Self::SetMark { value, mask } => {
                write!(f, "meta mark set meta mark & {:#x} | {:#x}", !mask, value & mask)
            }
            Self::Counter => f.write_str("counter"),
            Self::Limit { per_second, burst } => write!(f, "limit rate {per_second}/second burst {burst} packets"),
            Self::Log { prefix } => write!(f, "log prefix \"{prefix}\""),
            Self::Masquerade { fully_random: false } => f.write_str("masquerade"),
            Self::Masquerade { fully_random: true } => f.write_str("masquerade fully-random"),
            Self::Snat { address, port: None } => write!(f, "snat to {address}"),
            Self::Snat { address, port: Some(port) } => {
                write!(f, "snat to {}", std::net::SocketAddr::new(*address, *port))
            }
            Self::DnatMap { key, map } => write!(f, "dnat to {} map @{map}", Joined(key)),
            Self::Verdict(verdict) => verdict.fmt(f),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl Field {
    /// The words of nft's syntax.
    pub(super) const fn syntax(self) -> &'static str {
        match self {
            Self::Ipv4Source => "ip saddr",
            Self::Ipv4Destination => "ip daddr",
            Self::Ipv6Source => "ip6 saddr",
            Self::Ipv6Destination => "ip6 daddr",
            Self::Protocol => "meta l4proto",
            Self::SourcePort => "th sport",
            Self::DestinationPort => "th dport",
            Self::OriginalDestinationPort => "ct original proto-dst",
            Self::InputInterface => "iifname",
            Self::OutputInterface => "oifname",
            Self::Mark => "meta mark",
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.syntax())
    }
}

impl ConnectionState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Established => "established",
            Self::Related => "related",
            Self::New => "new",
            Self::Untracked => "untracked",
        }
    }
}

impl Display for DataType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Addr => "ipv4_addr",
            Self::Ipv6Addr => "ipv6_addr",
            Self::InetProto => "inet_proto",
            Self::InetService => "inet_service",
            Self::Ifname => "ifname",
            Self::Mark => "mark",
        })
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                write!(f, "{}", network.addr())
            }
            Self::Network(network) => write!(f, "{}", network.trunc()),
            Self::Protocol(6) => f.write_str("tcp"),
            Self::Protocol(17) => f.write_str("udp"),
            Self::Protocol(132) => f.write_str("sctp"),
            Self::Protocol(protocol) => write!(f, "{protocol}"),
            Self::Port(port) => write!(f, "{port}"),
            Self::Ports(first, last) => write!(f, "{first}-{last}"),
            Self::Interface(name) => write!(f, "\"{name}\""),
            Self::Mark(mark) => write!(f, "{mark:#x}"),
        }
    }
}

/// The parts of a concatenation with nft's dot between them.
struct Joined<'a, T>(&'a [T]);

impl<T: Display> Display for Joined<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (position, part) in self.0.iter().enumerate() {
            write!(f, "{}{part}", if position == 0 { "" } else { " . " })?;
        }
        Ok(())
    }
}
