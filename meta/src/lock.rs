//! One request at a time for each container, across processes: a lock keyed by the container's id that executed
//! delegates inherit, so that a DEL waits for what an interrupted ADD has left running.

use crate::config::Config;
use cni::Error;
use net::lock::{Guard, LockError, LockFile};
use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a DEL leaves orphans to come to their end by themselves.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes the container's lock. What is still running of an ADD whose caller is dead is ended after a while.
///
/// # Errors
/// Code 11 when another request of the same container is not over in time; code 5 for a state directory that cannot
/// be used.
pub fn container(config: &Config, container: &str) -> Result<Guard, Error> {
    let file = LockFile::new(config.cni_dir.join("lock"));
    let limit = Duration::from_secs(config.lock_timeout);
    match file.acquire(container, Instant::now() + PATIENCE.min(limit)) {
        Err(LockError::Deadline { .. }) => {
            end_orphans(&file, container);
            file.acquire(container, Instant::now() + limit.saturating_sub(PATIENCE)).map_err(error)
        }
        other => other.map_err(error),
    }
}

/// The lock for executed plugins to inherit: what they leave running keeps the next DEL waiting.
///
/// # Errors
/// When the process has no file descriptor left.
pub fn inherit(guard: &Guard) -> Result<Option<OwnedFd>, Error> {
    guard.inheritable().map(Some).map_err(|error| Error::io("cannot duplicate the lock's descriptor", &error))
}

fn error(error: LockError) -> Error {
    match error {
        LockError::Deadline { .. } => Error::try_again_later(error.to_string()),
        LockError::System { .. } => Error::new(cni::error::code::IO, error.to_string()),
    }
}

/// Ends delegates of this container whose plexus is dead: processes that hold its lock and descend from no living one.
fn end_orphans(file: &LockFile, container: &str) {
    for pid in file.holders(container).unwrap_or_default() {
        if !has_living_caller(pid) {
            let _gone_already =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// Whether the process is ours or descends from one of ours.
fn has_living_caller(pid: i32) -> bool {
    let own = fs::read_link("/proc/self/exe").ok();
    let mut pid = pid;
    while pid > 1 {
        if own.is_some() && fs::read_link(format!("/proc/{pid}/exe")).ok() == own {
            return true;
        }
        let Some(parent) = parent(pid) else { return false };
        pid = parent;
    }
    false
}

/// The fourth field of `/proc/<pid>/stat`, counted behind the command's closing parenthesis (proc(5)).
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
