//! The kernel layer: netlink batches, nftables transactions, namespaces, sysctls, processes, and the executors of operations.
//!
//! This is the only crate of the workspace that talks to the kernel and the only one that may hold `unsafe` code.
//! Nothing here decides: callers plan [`op::Step`]s, and an [`apply::Executor`] carries them out or undoes them.

pub mod apply;
pub mod conntrack;
pub mod file;
pub mod lock;
pub mod mac;
pub mod message;
pub mod netlink;
pub mod nft;
pub mod ns;
pub mod op;
pub mod process;
pub mod snapshot;
pub mod sysctl;

pub use mac::Mac;
