//! A refused netlink message: which one, the errno, and the kernel's own explanation.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// A message the kernel refused, or a socket that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetlinkError {
    /// Error number, positive.
    pub errno: i32,
    /// The kernel's explanation (extended acknowledgement), when it gave one.
    pub explanation: Option<String>,
    /// What was asked for.
    pub what: String,
}

impl NetlinkError {
    /// A failure with a bare error number.
    #[must_use]
    pub fn new(errno: i32, what: impl Into<String>) -> Self {
        Self { errno, explanation: None, what: what.into() }
    }

    /// A failure of the socket itself.
    pub(crate) fn from_io(error: &io::Error, what: impl Into<String>) -> Self {
        Self::new(error.raw_os_error().unwrap_or(libc::EIO), what)
    }

    /// The cause without the message it belongs to: errno in words and the kernel's explanation.
    #[must_use]
    pub fn cause(&self) -> String {
        let errno = Errno::from_raw(self.errno).desc();
        match &self.explanation {
            Some(explanation) => format!("{errno} ({explanation})"),
            None => errno.to_owned(),
        }
    }

    /// Whether the object was not there: what an undo takes for success.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self.errno, libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL | libc::ENXIO)
    }
}

impl fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.cause())
    }
}

impl std::error::Error for NetlinkError {}
