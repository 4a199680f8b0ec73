//! Children that cannot outlive their purpose: a deadline, a bounded output, no orphans.
//!
//! A plugin that hangs, floods its output, or leaves a child behind that holds its pipes must cost its caller no more than the deadline.
//! The child leads a process group that is killed as a whole, dies with its parent, and may inherit a lock whose next taker thereby
//! waits for it.

mod holders;
mod pipes;
mod spawn;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

pub use holders::{holders, kill_holders};

/// What to execute and within which bounds.
#[derive(Debug, Clone)]
pub struct Command<'a> {
    /// Absolute path of the program.
    pub program: &'a str,
    /// Arguments after the program's name.
    pub arguments: &'a [String],
    /// The whole environment: nothing is inherited.
    pub environment: &'a [(String, String)],
    /// Standard input.
    pub stdin: &'a [u8],
    /// Time after which the process group is killed.
    pub deadline: Duration,
    /// Bytes of standard output; a child that prints more is killed.
    pub max_output: usize,
    /// Descriptors the child keeps open, under the same numbers.
    pub inherit: &'a [BorrowedFd<'a>],
}

/// How a child ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Standard output, up to the bound.
    pub stdout: Vec<u8>,
    /// The end of the standard error.
    pub stderr: Vec<u8>,
    /// It was killed at its deadline.
    pub timed_out: bool,
    /// It was killed because it printed too much.
    pub overflowed: bool,
    /// It ended but left children that held its pipes; they were killed.
    pub left_children: bool,
}

impl Outcome {
    /// It ended by itself with status 0 and said everything it had to say.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status == Some(0) && !self.timed_out && !self.overflowed
    }
}

/// A child that could not be run.
#[derive(Debug, thiserror::Error)]
#[error("{action} {program}: {source}")]
pub struct ProcessError {
    /// What was tried.
    pub action: &'static str,
    /// The program.
    pub program: String,
    /// The kernel's answer; `ENOENT` when there is no such program.
    pub source: std::io::Error,
}

/// How long the children of a child that has ended may go on holding its pipes.
const GRACE: Duration = Duration::from_millis(100);

/// Runs a child to its end, or to the end of its deadline.
///
/// # Errors
/// When the program cannot be started or waited for. What the child does, however bad, is no error but an [`Outcome`].
pub fn run(command: &Command<'_>) -> Result<Outcome, ProcessError> {
    let deadline = Instant::now() + command.deadline;
    let mut child = spawn::spawn(command, deadline).map_err(|source| failed("execute", command, source))?;
    let mut pipes = pipes::Pipes::new(child.take_pipes(), command.stdin, command.max_output);
    let mut outcome = Outcome::default();
    let watched = watch(&child, &mut pipes, deadline, &mut outcome);
    if watched.is_err() || outcome.timed_out || outcome.overflowed || outcome.left_children {
        child.kill_group();
    }
    // The child is a zombie or about to be one: its number stayed its own until here, so that the right group was killed.
    let status = child.wait().map_err(|source| failed("wait for", command, source))?;
    watched.map_err(|source| failed("watch", command, source))?;
    (outcome.status, outcome.signal) = status;
    (outcome.stdout, outcome.stderr) = pipes.into_output();
    Ok(outcome)
}

fn failed(action: &'static str, command: &Command<'_>, source: std::io::Error) -> ProcessError {
    ProcessError { action, program: command.program.to_owned(), source }
}

/// Feeds and reads the child until it has ended and its pipes are closed, or a bound is reached.
fn watch(
    child: &spawn::Child,
    pipes: &mut pipes::Pipes<'_>,
    deadline: Instant,
    outcome: &mut Outcome,
) -> std::io::Result<()> {
    let mut until = deadline;
    let mut ended: Option<Instant> = None;
    loop {
        if ended.is_some() && pipes.output_closed() {
            return Ok(());
        }
        let handle: Option<&OwnedFd> = ended.is_none().then_some(child.handle());
        let ready = pipes.poll(handle, until)?;
        outcome.overflowed = pipes.overflowed();
        if outcome.overflowed {
            return Ok(());
        }
        let now = Instant::now();
        if ready.child_ended && ended.is_none() {
            ended = Some(now);
            until = deadline.min(now + GRACE);
            // Whatever the child wrote is in the pipes already: an open pipe now means that a child of its own holds it.
            pipes.stop_feeding();
        } else if now >= until {
            match ended {
                Some(_) => outcome.left_children = true,
                None => outcome.timed_out = true,
            }
            return Ok(());
        }
    }
}
