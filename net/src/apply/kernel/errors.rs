//! Why one operation failed, gathered from the errors of the layers below.

use crate::apply::{ExecOutput, FailureKind, UndoError};
use crate::file::FileError;
use crate::netlink::NetlinkError;
use crate::nft;
use crate::ns::NamespaceError;
use crate::process::ProcessError;
use crate::sysctl::SysctlError;

/// The failure of one operation.
#[derive(Debug)]
pub(super) struct StepError {
    pub(super) kind: FailureKind,
    pub(super) errno: Option<i32>,
    pub(super) cause: String,
    pub(super) exec: Option<ExecOutput>,
}

impl StepError {
    pub(super) fn new(kind: FailureKind, errno: Option<i32>, cause: impl Into<String>) -> Self {
        Self { kind, errno, cause: cause.into(), exec: None }
    }

    pub(super) fn other(errno: Option<i32>, cause: impl Into<String>) -> Self {
        Self::new(FailureKind::Other, errno, cause)
    }

    pub(super) fn namespace_gone() -> Self {
        Self::new(FailureKind::NamespaceGone, Some(libc::ENOENT), "the pod's network namespace is gone")
    }

    pub(super) fn into_undo_error(self, position: usize, op: String) -> UndoError {
        UndoError { position, op, errno: self.errno, cause: self.cause, exec: self.exec }
    }
}

impl From<NetlinkError> for StepError {
    fn from(error: NetlinkError) -> Self {
        Self::other(Some(error.errno), error.cause())
    }
}

impl From<NamespaceError> for StepError {
    fn from(error: NamespaceError) -> Self {
        let kind = if error.is_gone() { FailureKind::NamespaceGone } else { FailureKind::Other };
        Self::new(kind, error.errno(), error.to_string())
    }
}

impl From<FileError> for StepError {
    fn from(error: FileError) -> Self {
        let kind = if error.exists() { FailureKind::FileExists } else { FailureKind::Other };
        Self::new(kind, error.errno(), error.to_string())
    }
}

impl From<SysctlError> for StepError {
    fn from(error: SysctlError) -> Self {
        Self::other(error.errno(), error.to_string())
    }
}

impl From<ProcessError> for StepError {
    fn from(error: ProcessError) -> Self {
        Self::new(FailureKind::Exec, error.source.raw_os_error(), error.to_string())
    }
}

impl From<nft::Error> for StepError {
    fn from(error: nft::Error) -> Self {
        Self::other(Some(error.errno), error.to_string())
    }
}
