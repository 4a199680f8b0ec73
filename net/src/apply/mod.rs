//! Executors: what carries out the steps of a plan, or takes them back.
//!
//! [`Kernel`] does it for real, [`Recorder`] only writes down what it was asked (dry runs, golden tests), and [`FailAt`] is a `Kernel`
//! that fails at a chosen step (tests that nothing is left behind wherever a plan breaks off).

mod fail_at;
mod kernel;
mod recorder;

use std::fmt;

pub use fail_at::FailAt;
pub use kernel::{Context, Kernel};
pub use recorder::Recorder;

use crate::op::{PlacedOp, Step};

/// What takes back the steps, in reverse.
pub fn undo_of(steps: &[Step]) -> impl Iterator<Item = PlacedOp> {
    steps.iter().rev().filter_map(Step::placed_undo)
}

/// Carries out plans.
pub trait Executor {
    /// Applies the steps in order. When one fails, everything already done is undone in reverse before this returns.
    ///
    /// # Errors
    /// The step that failed, why, and what could not be undone.
    fn apply(&mut self, steps: &[Step]) -> Result<Applied, Box<Failed>>;

    /// Carries out operations that take something back, in the given order. Each is tried whatever became of the others, missing
    /// objects are fine, and operations for a pod whose namespace is gone are skipped.
    fn undo(&mut self, ops: &[PlacedOp]) -> Vec<UndoError>;
}

/// What a plan brought forth besides its effects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// What the executed programs printed, in the order of the steps.
    pub outputs: Vec<ExecOutput>,
    /// Failures of operations that may fail, as text.
    pub warnings: Vec<String>,
}

/// What an executed program left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Position of the step in the plan.
    pub step: usize,
    /// Exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// It was killed at its deadline.
    pub timed_out: bool,
    /// Standard output.
    pub stdout: String,
    /// End of the standard error.
    pub stderr: String,
}

/// What a caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A chosen interface index is taken: choose another and try again.
    IndexTaken,
    /// An interface of that name is there already.
    NameTaken,
    /// The pod's namespace is gone.
    NamespaceGone,
    /// A file that was to be created is there already: somebody else was faster.
    FileExists,
    /// An executed program failed; its output is kept.
    Exec,
    /// Anything else.
    Other,
}

/// A plan that failed and was undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failed {
    /// Position of the step in the plan.
    pub step: usize,
    /// The step's reason.
    pub why: String,
    /// The operation in words.
    pub op: String,
    /// What a caller can do about it.
    pub kind: FailureKind,
    /// The kernel's error number.
    pub errno: Option<i32>,
    /// The cause in words, with the kernel's own explanation where it gave one.
    pub cause: String,
    /// Output of the program, when the step executed one.
    pub exec: Option<ExecOutput>,
    /// What could not be undone.
    pub undo_errors: Vec<UndoError>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.op, self.why, self.cause)?;
        for error in &self.undo_errors {
            write!(f, "; and not undone: {error}")?;
        }
        Ok(())
    }
}

/// An operation that could not be taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{op}: {cause}")]
pub struct UndoError {
    /// Position in the list that was handed in, or of the step in the plan.
    pub position: usize,
    /// The operation in words.
    pub op: String,
    /// The kernel's error number.
    pub errno: Option<i32>,
    /// The cause in words.
    pub cause: String,
    /// Output of the program, when the operation executed one.
    pub exec: Option<ExecOutput>,
}
