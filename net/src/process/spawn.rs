//! Starting a child so that it can be killed with all its descendants and does not survive its parent.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::Command;

/// Pause before a program that is being written (`ETXTBSY`) is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// A running child, the leader of its own process group.
#[derive(Debug)]
pub(super) struct Child {
    child: std::process::Child,
    group: Pid,
    handle: OwnedFd,
}

/// The parent's ends of the pipes.
#[derive(Debug)]
pub(super) struct PipeEnds {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

/// Starts the child. A program file that is open for writing is tried again: whoever installs it is about to close it.
pub(super) fn spawn(command: &Command<'_>, deadline: Instant) -> io::Result<Child> {
    loop {
        match spawn_once(command) {
            Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) && Instant::now() < deadline => {
                std::thread::sleep(BUSY_PAUSE);
            }
            other => return other,
        }
    }
}

fn spawn_once(command: &Command<'_>) -> io::Result<Child> {
    let mut builder = std::process::Command::new(command.program);
    builder.args(command.arguments).env_clear().envs(command.environment.iter().map(|(key, value)| (key, value)));
    builder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let inherit: Vec<RawFd> = command.inherit.iter().map(AsRawFd::as_raw_fd).collect();
    before_exec(&mut builder, inherit);
    let mut child = builder.spawn()?;
    match open_handle(child.id()) {
        Ok((group, handle)) => Ok(Child { child, group, handle }),
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(error)
        }
    }
}

/// What happens in the child between fork and exec.
#[allow(unsafe_code, reason = "pre_exec runs between fork and exec; everything called there is async-signal-safe")]
fn before_exec(builder: &mut std::process::Command, inherit: Vec<RawFd>) {
    let parent = std::process::id();
    let prepare = move || {
        // SAFETY: prctl, getppid and fcntl are async-signal-safe and touch no memory.
        unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the signal was asked for.
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            for fd in &inherit {
                if libc::fcntl(*fd, libc::F_SETFD, 0) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing (errors from numbers do not) and calls only the functions above.
    unsafe {
        builder.pre_exec(prepare);
    }
}

/// A descriptor that becomes readable when the process ends (pidfd_open(2)), and the process as a group.
#[allow(unsafe_code, reason = "neither std nor nix opens process descriptors")]
fn open_handle(id: u32) -> io::Result<(Pid, OwnedFd)> {
    let id = libc::pid_t::try_from(id).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: no pointers are passed; the result is a fresh descriptor or an error.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
    match RawFd::try_from(fd) {
        Ok(fd) if fd >= 0 => {
            // SAFETY: the kernel has just opened the descriptor for us (close-on-exec) and nobody else owns it.
            Ok((Pid::from_raw(id), unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

impl Child {
    pub(super) fn take_pipes(&mut self) -> PipeEnds {
        PipeEnds { stdin: self.child.stdin.take(), stdout: self.child.stdout.take(), stderr: self.child.stderr.take() }
    }

    /// Readable once the child has ended.
    pub(super) const fn handle(&self) -> &OwnedFd {
        &self.handle
    }

    /// Kills the child and every descendant that stayed in its group.
    pub(super) fn kill_group(&self) {
        let _ended_already = killpg(self.group, Signal::SIGKILL);
    }

    /// Waits for the end: (exit status, signal).
    pub(super) fn wait(&mut self) -> io::Result<(Option<i32>, Option<i32>)> {
        let status = self.child.wait()?;
        Ok((status.code(), status.signal()))
    }
}
