//! Who holds a file open: how a DEL finds the orphans of an ADD that was killed.
//!
//! A child of a killed ADD keeps the lock it inherited. The next DEL normally just waits for it; when the child hangs, this is the slow
//! path that finds and ends it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Pause between two looks at whether the killed are gone.
const PAUSE: Duration = Duration::from_millis(1);

/// The processes, other than this one, that hold the file open; with `locked_byte` only those whose descriptor holds an
/// open-file-description lock that begins there. Processes that end meanwhile are left out.
///
/// # Errors
/// When the file or `/proc` cannot be read.
pub fn holders(path: &Path, locked_byte: Option<i64>) -> io::Result<Vec<i32>> {
    let wanted = path.metadata().map(|file| (file.dev(), file.ino()))?;
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if pid != own && holds(pid, path, wanted, locked_byte) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Kills the [`holders`] of a file and waits until they have let go of it, at most until the deadline; returns who was killed.
///
/// # Errors
/// When `/proc` cannot be read, or `ETIMEDOUT` when somebody still holds the file at the deadline.
pub fn kill_holders(path: &Path, locked_byte: Option<i64>, deadline: Instant) -> io::Result<Vec<i32>> {
    let mut killed = Vec::new();
    loop {
        let left = holders(path, locked_byte)?;
        if left.is_empty() {
            return Ok(killed);
        }
        for pid in left {
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) if !killed.contains(&pid) => killed.push(pid),
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if Instant::now() >= deadline {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether one of the process's descriptors is the file. Only descriptors of the same file name are examined: following any
/// other might wait for a dead network file system.
fn holds(pid: i32, path: &Path, wanted: (u64, u64), locked_byte: Option<i64>) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|descriptor| {
        let link = descriptor.path();
        fs::read_link(&link).is_ok_and(|target| target.file_name() == path.file_name())
            && link.metadata().is_ok_and(|file| (file.dev(), file.ino()) == wanted)
            && locked_byte.is_none_or(|byte| has_lock(pid, &descriptor.file_name(), byte))
    })
}

/// Whether a descriptor holds a lock that begins at a byte. A lock is told as `lock: 1: OFDLCK ADVISORY WRITE -1 08:01:77 100 100`,
/// first and last byte at the end (proc_pid_fdinfo(5)).
fn has_lock(pid: i32, descriptor: &OsStr, byte: i64) -> bool {
    let path = Path::new("/proc").join(pid.to_string()).join("fdinfo").join(descriptor);
    let Ok(description) = fs::read_to_string(path) else { return false };
    let mut locks = description.lines().filter(|line| line.starts_with("lock:"));
    locks.any(|line| line.split_whitespace().nth_back(1).and_then(|first| first.parse().ok()) == Some(byte))
}
