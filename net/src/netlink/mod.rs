//! Netlink sockets of our own: blocking, batched, and exact about failures.
//!
//! The kernel works through every message of a datagram before `sendmsg` returns, and answers a failing message even if no
//! acknowledgement was asked for. A batch therefore asks for one acknowledgement only, of its last message, and still finds every
//! failure: three times fewer system calls and copies than an acknowledgement for each.

mod atomic;
mod batch;
mod dump;
mod error;
mod message;
mod notifications;
mod reply;
mod socket;

pub(crate) use atomic::AtomicFailure;
pub use batch::BatchFailure;
pub use error::NetlinkError;
pub use message::Message;
pub use notifications::{Group, Notice, Notifications};
pub(crate) use reply::replies;
pub use socket::{Protocol, Socket};
pub(crate) use socket::{borrow, widen_receive_buffer};
