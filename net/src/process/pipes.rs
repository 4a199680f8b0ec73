//! Feeding and reading a child's pipes at once, without threads.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::time::Instant;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::spawn::PipeEnds;

/// Bytes of standard error that are kept: the end, where the reason stands.
const STDERR_KEPT: usize = 8 << 10;
/// Bytes read at a time.
const PIECE: usize = 16 << 10;

/// The pipes of a child, each closed and dropped once it has served.
pub(super) struct Pipes<'a> {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    input: &'a [u8],
    output: Vec<u8>,
    errors: Vec<u8>,
    max_output: usize,
    overflowed: bool,
}

/// What a poll found out besides moving data.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub(super) child_ended: bool,
}

impl<'a> Pipes<'a> {
    pub(super) fn new(ends: PipeEnds, input: &'a [u8], max_output: usize) -> Self {
        let PipeEnds { stdin, stdout, stderr } = ends;
        let stdin = stdin.filter(|_| !input.is_empty());
        Self { stdin, stdout, stderr, input, output: Vec::new(), errors: Vec::new(), max_output, overflowed: false }
            .without_blocking()
    }

    fn without_blocking(self) -> Self {
        let pipes = [
            self.stdin.as_ref().map(AsFd::as_fd),
            self.stdout.as_ref().map(AsFd::as_fd),
            self.stderr.as_ref().map(AsFd::as_fd),
        ];
        for fd in pipes.into_iter().flatten() {
            // Cannot fail on a pipe of our own; if it did, reads would still be announced by poll.
            let _always_works = fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        }
        self
    }

    pub(super) const fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Nobody can write to the output pipes any more.
    pub(super) const fn output_closed(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    pub(super) fn stop_feeding(&mut self) {
        self.stdin = None;
    }

    /// (standard output, end of standard error)
    pub(super) fn into_output(self) -> (Vec<u8>, Vec<u8>) {
        (self.output, self.errors)
    }

    /// Waits until a pipe or the child's handle is ready or time is up, and moves what can be moved.
    pub(super) fn poll(&mut self, child: Option<&OwnedFd>, until: Instant) -> io::Result<Ready> {
        let [child, stdin, stdout, stderr] = self.wait(child, until)?;
        if stdin {
            self.feed();
        }
        if stdout {
            self.read_output()?;
        }
        if stderr {
            self.read_errors()?;
        }
        Ok(Ready { child_ended: child })
    }

    /// Which of child, stdin, stdout, stderr is ready.
    fn wait(&self, child: Option<&OwnedFd>, until: Instant) -> io::Result<[bool; 4]> {
        let watched = [
            child.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
            self.stdin.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLOUT)),
            self.stdout.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
            self.stderr.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
        ];
        let present = watched.each_ref().map(Option::is_some);
        let mut fds: Vec<_> = watched.into_iter().flatten().collect();
        match poll(&mut fds, timeout(until)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut answers = fds.iter().map(|fd| fd.any().unwrap_or(false));
        Ok(present.map(|present| present && answers.next().unwrap_or(false)))
    }

    /// A child that closes its input early has read enough: that is its own business.
    fn feed(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        match stdin.write(self.input) {
            Ok(written) => self.input = self.input.get(written..).unwrap_or_default(),
            Err(error) if is_temporary(&error) => return,
            Err(_) => self.input = &[],
        }
        if self.input.is_empty() {
            self.stdin = None;
        }
    }

    fn read_output(&mut self) -> io::Result<()> {
        let Some(piece) = read(&mut self.stdout)? else { return Ok(()) };
        let room = self.max_output.saturating_sub(self.output.len());
        self.overflowed |= piece.len() > room;
        self.output.extend(piece.into_iter().take(room));
        Ok(())
    }

    fn read_errors(&mut self) -> io::Result<()> {
        let Some(piece) = read(&mut self.stderr)? else { return Ok(()) };
        self.errors.extend(piece);
        let surplus = self.errors.len().saturating_sub(STDERR_KEPT);
        self.errors.drain(..surplus);
        Ok(())
    }
}

/// Reads a piece; at the end of the pipe closes it.
fn read<T: Read>(pipe: &mut Option<T>) -> io::Result<Option<Vec<u8>>> {
    let Some(reader) = pipe else { return Ok(None) };
    let mut piece = vec![0; PIECE];
    match reader.read(&mut piece) {
        Ok(0) => {
            *pipe = None;
            Ok(None)
        }
        Ok(length) => {
            piece.truncate(length);
            Ok(Some(piece))
        }
        Err(error) if is_temporary(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Milliseconds until then, rounded up so that the wait does not end early and spin.
fn timeout(until: Instant) -> PollTimeout {
    let left = until.saturating_duration_since(Instant::now());
    let millis = left.as_micros().div_ceil(1000);
    i32::try_from(millis).ok().and_then(|millis| PollTimeout::try_from(millis).ok()).unwrap_or(PollTimeout::MAX)
}
