//! An executor that touches nothing and remembers everything.

use std::collections::VecDeque;

use super::{Applied, ExecOutput, Executor, Failed, UndoError};
use crate::op::{Op, PlacedOp, Step};

/// Records steps and undo operations. Executed programs answer what was laid ready, or nothing with status 0.
#[derive(Debug, Default)]
pub struct Recorder {
    /// The steps of all plans, in order.
    pub steps: Vec<Step>,
    /// The operations of all undos, in order.
    pub undone: Vec<PlacedOp>,
    /// What the next executed programs print.
    pub answers: VecDeque<String>,
}

impl Executor for Recorder {
    fn apply(&mut self, steps: &[Step]) -> Result<Applied, Box<Failed>> {
        self.steps.extend_from_slice(steps);
        let mut applied = Applied::default();
        for (step, _) in steps.iter().enumerate().filter(|(_, step)| matches!(step.op, Op::Exec { .. })) {
            let stdout = self.answers.pop_front().unwrap_or_default();
            applied.outputs.push(ExecOutput { step, status: Some(0), stdout, ..ExecOutput::default() });
        }
        Ok(applied)
    }

    fn undo(&mut self, ops: &[PlacedOp]) -> Vec<UndoError> {
        self.undone.extend_from_slice(ops);
        Vec::new()
    }
}
