//! Network namespaces as values: opened, compared, entered for the length of one call, never lived in.
//!
//! A thread belongs to one namespace, and a runtime's worker thread that was left in a foreign one poisons whatever runs on it
//! next. Whatever needs a namespace therefore runs on a thread of its own that ends with it; sockets opened there stay bound to the
//! namespace and are used from anywhere (about 20 microseconds, once per namespace).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

/// A network namespace, kept alive by an open file.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
    id: NamespaceId,
}

/// What tells namespaces apart: two are the same if and only if their ids are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NamespaceId {
    /// Device of the nsfs file.
    pub dev: u64,
    /// Inode of the nsfs file.
    pub ino: u64,
}

/// Why a namespace could not be opened or entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// Nothing is there: the sandbox is gone.
    #[error("network namespace {} does not exist", path.display())]
    Missing {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// A file is there, but it is no network namespace: an unmounted sandbox leaves an ordinary empty file behind.
    #[error("{} is not a network namespace", path.display())]
    NotNetwork {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("{action} network namespace {}: {source}", path.display())]
    System {
        /// What was tried.
        action: &'static str,
        /// The namespace.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl NamespaceError {
    /// Whether the namespace is gone, which a DEL takes as "nothing left to do there".
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::NotNetwork { .. })
    }

    /// The kernel's error number.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Missing { .. } => Some(libc::ENOENT),
            Self::NotNetwork { .. } => Some(libc::EINVAL),
            Self::System { source, .. } => source.raw_os_error(),
        }
    }
}

impl Namespace {
    /// Opens the namespace bound at `path` (`/run/netns/x`, `/proc/<pid>/ns/net`).
    ///
    /// # Errors
    /// [`NamespaceError::Missing`] when nothing is there, [`NamespaceError::NotNetwork`] when it is something else.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NamespaceError> {
        let path = path.as_ref();
        let system = |action| move |source| NamespaceError::System { action, path: path.to_owned(), source };
        // O_NONBLOCK: a path from outside may name a FIFO, whose opening would wait for a writer.
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
            Ok(file) => file,
            Err(error) => {
                return Err(match error.raw_os_error() {
                    Some(libc::ENOENT | libc::ENOTDIR) => NamespaceError::Missing { path: path.to_owned() },
                    Some(libc::ENXIO | libc::ENODEV) => NamespaceError::NotNetwork { path: path.to_owned() },
                    _ => system("open")(error),
                });
            }
        };
        let kind = fstatfs(&file).map_err(|errno| system("examine")(errno.into()))?;
        if kind.filesystem_type() != NSFS_MAGIC || !is_network(file.as_fd()) {
            return Err(NamespaceError::NotNetwork { path: path.to_owned() });
        }
        let status = file.metadata().map_err(system("examine"))?;
        Ok(Self { file, path: path.to_owned(), id: NamespaceId { dev: status.dev(), ino: status.ino() } })
    }

    /// The namespace the calling thread is in.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current() -> Result<Self, NamespaceError> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// Another handle on the same namespace.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn try_clone(&self) -> Result<Self, NamespaceError> {
        match self.file.try_clone() {
            Ok(file) => Ok(Self { file, path: self.path.clone(), id: self.id }),
            Err(source) => Err(NamespaceError::System { action: "open", path: self.path.clone(), source }),
        }
    }

    /// What tells this namespace from others.
    #[must_use]
    pub const fn id(&self) -> NamespaceId {
        self.id
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `task` inside the namespace, on a thread that ends with it. The caller's own namespace never changes.
    ///
    /// # Errors
    /// When the namespace cannot be entered (`CAP_SYS_ADMIN` is missing) or no thread can be started; `task` has not run then.
    pub fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        let system = |action, source| NamespaceError::System { action, path: self.path.clone(), source };
        std::thread::scope(|scope| {
            let inside = || setns(&self.file, CloneFlags::CLONE_NEWNET).map(|()| task());
            let thread = std::thread::Builder::new().spawn_scoped(scope, inside);
            match thread.map_err(|source| system("start a thread for", source))?.join() {
                Ok(result) => result.map_err(|errno| system("enter", errno.into())),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether an nsfs file is a network namespace and not one of the other kinds (`NS_GET_NSTYPE`, ioctl_nsfs(2)).
#[allow(unsafe_code, reason = "no crate in use wraps the nsfs ioctls")]
fn is_network(fd: BorrowedFd<'_>) -> bool {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: the descriptor is open for as long as the borrow lasts, and this ioctl takes no argument.
    unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) == libc::CLONE_NEWNET }
}
