//! nftables over netlink: changes as data, encoded by ourselves, committed as a whole or not at all.
//!
//! A [`Transaction`] is a list of [`Change`]s that can be printed as ordinary nft syntax, compared, and written to a journal.
//! [`Socket::commit`] turns it into one netlink batch, which the kernel takes completely or refuses completely, and says which
//! change was refused. No `nft` program is needed, and a commit takes about a tenth of a millisecond instead of several.
//!
//! The encoder is our own because half of what we need (maps of concatenations, NAT, connection tracking, fib) is unknown to the
//! packet crates; the numbers are those of linux/netfilter/nf_tables.h, kept in `abi`.

mod abi;
mod drift;
mod encode;
mod error;
mod expression;
mod model;
mod monitor;
mod read;
pub mod rulesets;
mod set;
mod socket;
mod statement;
mod text;
mod value;
pub(crate) mod wire;

pub use error::Error;
pub use model::{Base, Change, Existing, Family, Hook, Kind, Policy, Rule, Table, Transaction};
pub use monitor::{Event, Monitor};
pub use read::{ChainState, ElementState, RuleState, SetState, TableState};
pub use set::{Data, DataType, Element, Set, Value};
pub use socket::Socket;
pub use statement::{ConnectionState, Field, Statement, Verdict};
