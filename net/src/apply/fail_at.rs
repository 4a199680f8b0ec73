//! A kernel that refuses one step, for tests that every plan is taken back from wherever it breaks off.

use nix::errno::Errno;

use super::{Applied, Executor, Failed, FailureKind, Kernel, UndoError, undo_of};
use crate::op::{PlacedOp, Step};

/// Carries out the steps before the chosen one, fails there, and undoes them.
#[derive(Debug)]
pub struct FailAt {
    kernel: Kernel,
    n: usize,
    errno: i32,
}

impl FailAt {
    /// Fails at step `n`, counted over all plans it is given, with this error number.
    #[must_use]
    pub const fn new(kernel: Kernel, n: usize, errno: i32) -> Self {
        Self { kernel, n, errno }
    }
}

impl Executor for FailAt {
    fn apply(&mut self, steps: &[Step]) -> Result<Applied, Box<Failed>> {
        let Some((before, step)) = steps.get(..self.n).zip(steps.get(self.n)) else {
            self.n = self.n.saturating_sub(steps.len());
            return self.kernel.apply(steps);
        };
        self.kernel.apply(before)?;
        let undo: Vec<PlacedOp> = undo_of(before).collect();
        Err(Box::new(Failed {
            step: self.n,
            why: step.why.clone(),
            op: step.op.to_string(),
            kind: FailureKind::Other,
            errno: Some(self.errno),
            cause: format!("{} (on purpose)", Errno::from_raw(self.errno).desc()),
            exec: None,
            undo_errors: self.kernel.undo(&undo),
        }))
    }

    fn undo(&mut self, ops: &[PlacedOp]) -> Vec<UndoError> {
        self.kernel.undo(ops)
    }
}
