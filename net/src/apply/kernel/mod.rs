//! The executor that touches the kernel.
//!
//! Neighbouring route-netlink operations for one place leave in one datagram. The kernel works through a datagram to its end even
//! if a message fails, so that operations behind the failed one may have happened: they are undone like those before it.

mod errors;
mod files;
mod netfilter;
mod route;
mod run;
mod site;

use std::os::fd::OwnedFd;

use super::{Applied, Executor, Failed, UndoError};
use crate::netlink::{NetlinkError, Socket};
use crate::ns::Namespace;
use crate::op::{Op, Place, PlacedOp, Step};
use errors::StepError;
use run::{Mode, Run};
use site::Site;

/// What an executor needs to know of its surroundings.
#[derive(Debug, Default)]
pub struct Context {
    /// The node's namespace; `None` is the one of the calling thread.
    pub host: Option<Namespace>,
    /// The pod's namespace; `None` when it is gone or not known, as for many a DEL.
    pub pod: Option<Namespace>,
    /// A lock that executed programs inherit, so that it lasts until they have ended even if their parent is killed.
    pub lock: Option<OwnedFd>,
}

/// Carries out operations. Sockets are opened when first needed and kept, so one executor should serve many requests of a pod.
#[derive(Debug)]
pub struct Kernel {
    host: Site,
    pod: Option<Site>,
    lock: Option<OwnedFd>,
}

impl Kernel {
    /// An executor for a node and, usually, a pod. Nothing is opened yet.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self {
            host: Site::new(context.host),
            pod: context.pod.map(|namespace| Site::new(Some(namespace))),
            lock: context.lock,
        }
    }

    /// The route-netlink socket of a place, for reading what is there.
    ///
    /// # Errors
    /// When the socket cannot be opened, or `ENOENT` when the pod's namespace is gone.
    pub fn socket(&mut self, place: Place) -> Result<&mut Socket, NetlinkError> {
        match self.site(place) {
            Some(site) => site.route(),
            None => Err(NetlinkError::new(libc::ENOENT, "open the pod's network namespace")),
        }
    }

    const fn site(&mut self, place: Place) -> Option<&mut Site> {
        match place {
            Place::Host => Some(&mut self.host),
            Place::Pod => self.pod.as_mut(),
        }
    }

    /// Interfaces may have come and gone since the last request.
    fn forget_names(&mut self) {
        self.host.forget_names();
        if let Some(pod) = &mut self.pod {
            pod.forget_names();
        }
    }
}

impl Executor for Kernel {
    fn apply(&mut self, steps: &[Step]) -> Result<Applied, Box<Failed>> {
        self.forget_names();
        let mut run = Run::new(self, Mode::Apply, steps.len());
        run.carry_out(steps.iter().map(|step| (step.place, &step.op)));
        let (finished, failure, applied) = run.into_first_failure();
        let Some((position, error)) = failure else { return Ok(applied) };
        let done: Vec<Step> =
            steps.iter().zip(finished).filter(|(_, finished)| *finished).map(|(step, _)| step.clone()).collect();
        let undo: Vec<PlacedOp> = super::undo_of(&done).collect();
        let undo_errors = self.undo(&undo);
        Err(Box::new(failed(steps, position, error, undo_errors)))
    }

    fn undo(&mut self, ops: &[PlacedOp]) -> Vec<UndoError> {
        self.forget_names();
        let mut run = Run::new(self, Mode::Undo, ops.len());
        run.carry_out(ops.iter().map(|placed| (placed.place, &placed.op)));
        let failures = run.into_failures();
        let describe = |position: usize| ops.get(position).map(|placed| placed.op.to_string()).unwrap_or_default();
        failures.into_iter().map(|(position, error)| error.into_undo_error(position, describe(position))).collect()
    }
}

fn failed(steps: &[Step], position: usize, error: StepError, undo_errors: Vec<UndoError>) -> Failed {
    let step = steps.get(position);
    Failed {
        step: position,
        why: step.map(|step| step.why.clone()).unwrap_or_default(),
        op: step.map(|step| step.op.to_string()).unwrap_or_default(),
        kind: error.kind,
        errno: error.errno,
        cause: error.cause,
        exec: error.exec,
        undo_errors,
    }
}

/// Whether an operation is a route-netlink message that can share a datagram with its neighbours.
const fn is_batched(op: &Op) -> bool {
    matches!(
        op,
        Op::EnsureAddress { .. }
            | Op::RemoveAddress { .. }
            | Op::CreateVeth { .. }
            | Op::DeleteLinks { .. }
            | Op::LinkUp { .. }
            | Op::LinkDown { .. }
            | Op::AddAddress { .. }
            | Op::DeleteAddress { .. }
            | Op::AddRoute(_)
            | Op::DeleteRoute(_)
    )
}
