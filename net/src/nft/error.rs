//! A refused transaction: which change, why, and what the caller can do about it.

use std::fmt;

use nix::errno::Errno;

use crate::netlink::NetlinkError;

/// A transaction that was not committed; nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Error number, positive. `EINVAL` with an explanation also stands for a change that cannot be encoded.
    pub errno: i32,
    /// Position of the refused change in the transaction; `None` when the batch as such or the socket failed.
    pub position: Option<usize>,
    /// The refused change in nft's syntax, or what was being done.
    pub what: String,
    /// The kernel's explanation, when it gave one.
    pub explanation: Option<String>,
}

impl Error {
    pub(super) fn refused(position: Option<usize>, what: String, cause: NetlinkError) -> Self {
        Self { errno: cause.errno, position, what, explanation: cause.explanation }
    }

    /// Whether a table, chain, set or element that the change builds on is missing.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        self.errno == libc::ENOENT
    }

    /// Whether another element has the key already. The kernel says `EBUSY` in some versions when its data differs.
    #[must_use]
    pub const fn is_conflict(&self) -> bool {
        matches!(self.errno, libc::EEXIST | libc::EBUSY)
    }

    /// Whether the ruleset is not of the expected generation any more: read it again.
    #[must_use]
    pub const fn is_outdated(&self) -> bool {
        self.errno == libc::ERESTART
    }
}

impl From<NetlinkError> for Error {
    fn from(error: NetlinkError) -> Self {
        Self { errno: error.errno, position: None, what: error.what, explanation: error.explanation }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, Errno::from_raw(self.errno).desc())?;
        self.explanation.as_ref().map_or(Ok(()), |explanation| write!(f, " ({explanation})"))
    }
}

impl std::error::Error for Error {}
