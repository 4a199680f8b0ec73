//! Locks between processes that end with their holders.
//!
//! One file holds any number of locks: a key is hashed to one byte of a range that need not exist, and that byte is locked with an
//! open-file-description lock (fcntl(2)). Such a lock lasts until the last descriptor of the description is closed. A child that
//! inherits the descriptor therefore keeps the lock when its parent is killed, so that whoever comes next waits for it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};

use crate::process;

/// The first pause between attempts, and the longest.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
/// Directory locks are held for microseconds: their pauses stay short.
const LONGEST_FLOCK_PAUSE: Duration = Duration::from_millis(1);

/// A lock that could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else held it until the deadline.
    #[error("lock {what} in {} is still held by another process after {} ms", path.display(), waited.as_millis())]
    Deadline {
        /// What the lock stands for.
        what: String,
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The lock file cannot be used.
    #[error("{action} lock file {}: {source}", path.display())]
    System {
        /// What was tried.
        action: &'static str,
        /// The lock file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A file of locks.
#[derive(Debug, Clone)]
pub struct LockFile {
    path: PathBuf,
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Guard {
    file: File,
    offset: i64,
}

impl LockFile {
    /// Names the file; it is created with its directory when the first lock is taken, and never deleted.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The other processes that hold the lock of a key: its taker, and children that inherited it. This reads the descriptors of every
    /// process and is meant for a lock that did not become free in time.
    ///
    /// # Errors
    /// When the lock file or `/proc` cannot be read.
    pub fn holders(&self, key: &str) -> io::Result<Vec<i32>> {
        process::holders(&self.path, Some(offset(key)))
    }

    /// Kills the other processes that hold the lock of a key and waits until it is free; returns who was killed.
    ///
    /// # Errors
    /// As [`LockFile::holders`], or `ETIMEDOUT` when somebody still holds the lock at the deadline.
    pub fn kill_holders(&self, key: &str, deadline: Instant) -> io::Result<Vec<i32>> {
        process::kill_holders(&self.path, Some(offset(key)), deadline)
    }

    /// Takes the lock of a key, waiting until the deadline at most. Holders exclude each other across processes and within one.
    ///
    /// # Errors
    /// [`LockError::Deadline`], or a lock file that cannot be used.
    pub fn acquire(&self, key: &str, deadline: Instant) -> Result<Guard, LockError> {
        let file = open_with_parents(OpenOptions::new().read(true).write(true).mode(0o600), &self.path)?;
        let guard = Guard { file, offset: offset(key) };
        poll(deadline, LONGEST_PAUSE, || guard.try_lock()).map_err(|failure| failure.into_error(key, &self.path))?;
        Ok(guard)
    }
}

impl Guard {
    /// Another descriptor of the lock, to be handed to a child: the lock lasts while any of them is open.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn inheritable(&self) -> io::Result<std::os::fd::OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    fn try_lock(&self) -> io::Result<bool> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&self.range(libc::F_WRLCK))) {
            Ok(_) => Ok(true),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn range(&self, kind: libc::c_int) -> libc::flock {
        let kind = libc::c_short::try_from(kind).unwrap_or(0);
        let whence = libc::c_short::try_from(libc::SEEK_SET).unwrap_or(0);
        libc::flock { l_type: kind, l_whence: whence, l_start: self.offset, l_len: 1, l_pid: 0 }
    }
}

impl Drop for Guard {
    /// Unlocks explicitly: a descriptor that a daemonised grandchild inherited must not keep the lock once we are done.
    fn drop(&mut self) {
        let _closed_anyway = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&self.range(libc::F_UNLCK)));
    }
}

impl AsFd for Guard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A whole file locked with flock(2), as the reference host-local plugin locks its directory; held until this is dropped.
#[derive(Debug)]
pub struct FlockGuard {
    file: File,
}

impl Drop for FlockGuard {
    /// Unlocks explicitly: a child that another thread is just starting has the descriptor too until it executes its program.
    fn drop(&mut self) {
        let _closed_anyway = self.file.unlock();
    }
}

/// Opens (creating it with these permission bits) and locks a file, waiting until the deadline at most.
///
/// # Errors
/// [`LockError::Deadline`], or a lock file that cannot be used.
pub fn flock(path: &Path, mode: u32, deadline: Instant) -> Result<FlockGuard, LockError> {
    let file = open_with_parents(OpenOptions::new().read(true).mode(mode), path)?;
    let attempt = || match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    };
    poll(deadline, LONGEST_FLOCK_PAUSE, attempt).map_err(|failure| failure.into_error("of the directory", path))?;
    Ok(FlockGuard { file })
}

/// Opens or creates the file, and its directory if need be. `O_CREAT` is a raw flag because the standard library allows it only
/// together with write access, which a lock file opened for reading has not.
fn open_with_parents(options: &mut OpenOptions, path: &Path) -> Result<File, LockError> {
    let options = options.custom_flags(libc::O_CREAT);
    let system = |source| LockError::System { action: "open", path: path.to_owned(), source };
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(system)?;
            options.open(path).map_err(system)
        }
        opened => opened.map_err(system),
    }
}

enum Failure {
    Deadline(Duration),
    System(io::Error),
}

impl Failure {
    fn into_error(self, what: &str, path: &Path) -> LockError {
        match self {
            Self::Deadline(waited) => LockError::Deadline { what: what.to_owned(), path: path.to_owned(), waited },
            Self::System(source) => LockError::System { action: "lock", path: path.to_owned(), source },
        }
    }
}

/// Tries until it works, with pauses that grow.
fn poll(deadline: Instant, longest: Duration, attempt: impl Fn() -> io::Result<bool>) -> Result<(), Failure> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    while !attempt().map_err(Failure::System)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Deadline(start.elapsed()));
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(longest);
    }
    Ok(())
}

/// The byte that stands for a key: FNV-1a, which stays the same across versions, cut to the 63 bits of a file offset.
fn offset(key: &str) -> i64 {
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    i64::try_from(hash >> 1).unwrap_or(0).min(i64::MAX - 1)
}
