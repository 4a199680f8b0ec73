//! One pass over a list of operations: gathering, sending, and keeping account of what happened.

use std::os::fd::AsFd;
use std::time::Duration;

use super::errors::StepError;
use super::route::{Batch, Tolerate, explain_veth};
use super::{Kernel, files, is_batched, netfilter};
use crate::apply::{Applied, ExecOutput, FailureKind};
use crate::message::link;
use crate::netlink::{BatchFailure, NetlinkError};
use crate::op::{Op, Place};
use crate::{process, sysctl};

/// Bytes a foreign plugin may print.
const MAX_OUTPUT: usize = 1 << 20;

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Stop at the first.
    Apply,
    /// Go on; missing objects are no failures.
    Undo,
}

/// The account of a pass.
pub(super) struct Run<'k, 'o> {
    kernel: &'k mut Kernel,
    mode: Mode,
    batch: Batch,
    /// The operations so far, by position.
    ops: Vec<(Place, &'o Op)>,
    /// Which operations have changed something, and must be undone if another fails.
    finished: Vec<bool>,
    /// Link groups that an undo has deleted or is about to: one deletion takes all links of a pod.
    deleted_groups: Vec<u32>,
    failures: Vec<(usize, StepError)>,
    applied: Applied,
}

impl<'k, 'o> Run<'k, 'o> {
    pub(super) fn new(kernel: &'k mut Kernel, mode: Mode, count: usize) -> Self {
        Self {
            kernel,
            mode,
            batch: Batch::default(),
            ops: Vec::with_capacity(count),
            finished: vec![false; count],
            deleted_groups: Vec::new(),
            failures: Vec::new(),
            applied: Applied::default(),
        }
    }

    pub(super) fn carry_out(&mut self, ops: impl Iterator<Item = (Place, &'o Op)>) {
        for (position, (place, op)) in ops.enumerate() {
            self.ops.push((place, op));
            if let Err(error) = self.one(position, place, op) {
                self.failures.push((position, error));
            }
            if self.must_stop() {
                return;
            }
        }
        self.flush();
    }

    /// What was finished, the first failure, and the outputs.
    pub(super) fn into_first_failure(self) -> (Vec<bool>, Option<(usize, StepError)>, Applied) {
        let first = self.failures.into_iter().min_by_key(|(position, _)| *position);
        (self.finished, first, self.applied)
    }

    pub(super) fn into_failures(mut self) -> Vec<(usize, StepError)> {
        self.failures.sort_by_key(|(position, _)| *position);
        self.failures
    }

    fn must_stop(&self) -> bool {
        self.mode == Mode::Apply && !self.failures.is_empty()
    }

    fn one(&mut self, position: usize, place: Place, op: &Op) -> Result<(), StepError> {
        if place == Place::Pod && self.kernel.pod.is_none() {
            return if self.mode == Mode::Undo { Ok(()) } else { Err(StepError::namespace_gone()) };
        }
        if self.is_deleted_already(op) {
            return Ok(());
        }
        if !is_batched(op) || self.batch.place != Some(place) || self.batch.creates_link_of(op) {
            self.flush();
            if self.must_stop() {
                return Ok(());
            }
        }
        if is_batched(op) { self.gather(position, place, op) } else { self.perform(position, place, op) }
    }

    /// Whether an undo has the deletion of these links behind it. If that deletion fails, it is reported once.
    fn is_deleted_already(&mut self, op: &Op) -> bool {
        let Op::DeleteLinks { group, .. } = op else { return false };
        if *group == 0 || self.mode == Mode::Apply {
            return false;
        }
        let known = self.deleted_groups.contains(group);
        self.deleted_groups.push(*group);
        known
    }

    fn gather(&mut self, position: usize, place: Place, op: &Op) -> Result<(), StepError> {
        self.batch.place = Some(place);
        let lenient = self.mode == Mode::Undo;
        let Kernel { host, pod, .. } = &mut *self.kernel;
        match (place, pod) {
            (Place::Host, pod) => {
                let namespace = pod.as_ref().and_then(|pod| pod.namespace());
                self.batch.add(position, op, host, namespace, lenient)?;
            }
            (Place::Pod, Some(pod)) => self.batch.add(position, op, pod, None, lenient)?,
            (Place::Pod, None) => return Err(StepError::namespace_gone()),
        }
        if let Op::CreateVeth { host, hairpin, isolated, .. } = op
            && (*hairpin || *isolated)
        {
            self.flush();
            self.batch.place = Some(place);
            let message = link::set_bridge_port(host.index, &host.name, *hairpin, *isolated);
            self.batch.push(position, message, Tolerate::Nothing);
        }
        Ok(())
    }

    /// Sends what waits and books the results.
    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let Some(place) = batch.place.filter(|_| !batch.messages.is_empty()) else { return };
        let failures = match self.kernel.socket(place) {
            Ok(socket) => socket.batch(&batch.messages),
            Err(error) => {
                let position = batch.origins.first().map_or(0, |(position, _)| *position);
                self.failures.push((position, error.into()));
                return;
            }
        };
        let mut refused = failures.into_iter().peekable();
        for (index, (position, tolerate)) in batch.origins.into_iter().enumerate() {
            match refused.next_if(|failure| failure.index == index) {
                Some(BatchFailure { error, .. }) if !tolerate.accepts(&error) => {
                    let error = self.explain(position, error);
                    self.failures.push((position, error));
                }
                // An object that was there already was not made by this operation, but then its undo is not given either.
                _ => self.book(position),
            }
        }
    }

    fn book(&mut self, position: usize) {
        if let Some(finished) = self.finished.get_mut(position) {
            *finished = true;
        }
    }

    fn explain(&mut self, position: usize, error: NetlinkError) -> StepError {
        let Kernel { host, pod: Some(pod), .. } = &mut *self.kernel else { return error.into() };
        match self.ops.get(position) {
            Some((_, Op::CreateVeth { host: near, pod: far, .. })) => explain_veth(error, near, far, host, pod),
            _ => error.into(),
        }
    }

    /// Carries out an operation that is no route-netlink message.
    fn perform(&mut self, position: usize, place: Place, op: &Op) -> Result<(), StepError> {
        let Some(site) = self.kernel.site(place) else { return Err(StepError::namespace_gone()) };
        match op {
            Op::EnsureBridge { name, mtu, mac, vlan_filtering, promisc } => {
                let (mtu, mac, vlan_filtering, promisc) = (*mtu, *mac, *vlan_filtering, *promisc);
                site.ensure_bridge(&link::Bridge { name, mac, mtu, vlan_filtering, promisc })?;
            }
            Op::Sysctl { key, value } => {
                site.run(|| sysctl::write(key, value))??;
            }
            Op::Nft { transaction, foundation, owner } => match self.mode {
                Mode::Apply => netfilter::commit(site, transaction, foundation.as_ref())?,
                Mode::Undo => netfilter::commit_own(site, transaction, owner.as_deref())?,
            },
            Op::DeleteConntrack { protocol, port } => {
                if let Err(error) = netfilter::forget_connections(site, *protocol, *port) {
                    self.applied.warnings.push(format!("{op}: {}", error.cause));
                }
            }
            Op::Exec { .. } => {
                // A plugin that fails may have got half-way, so that its undo is due in any case.
                self.book(position);
                return self.execute(position, place, op);
            }
            _ => files::perform(op)?,
        }
        self.book(position);
        Ok(())
    }

    fn execute(&mut self, position: usize, place: Place, op: &Op) -> Result<(), StepError> {
        let Op::Exec { program, environment, stdin, deadline_ms, .. } = op else { return Ok(()) };
        let inherit: Vec<_> = self.kernel.lock.as_ref().map(AsFd::as_fd).into_iter().collect();
        let command = process::Command {
            program,
            arguments: &[],
            environment,
            stdin: stdin.as_bytes(),
            deadline: Duration::from_millis(*deadline_ms),
            max_output: MAX_OUTPUT,
            inherit: &inherit,
        };
        let site = match place {
            Place::Host => &self.kernel.host,
            Place::Pod => self.kernel.pod.as_ref().ok_or_else(StepError::namespace_gone)?,
        };
        let outcome = site.run(|| process::run(&command))??;
        if outcome.left_children {
            self.applied
                .warnings
                .push(format!("{op}: left children behind that held its output open; they were killed"));
        }
        let (success, cause) = (outcome.is_success(), describe(&outcome, *deadline_ms));
        let output = ExecOutput {
            step: position,
            status: outcome.status,
            signal: outcome.signal,
            timed_out: outcome.timed_out,
            stdout: String::from_utf8_lossy(&outcome.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&outcome.stderr).into_owned(),
        };
        if success {
            self.applied.outputs.push(output);
            return Ok(());
        }
        Err(StepError { exec: Some(output), ..StepError::new(FailureKind::Exec, None, cause) })
    }
}

/// How a program ended, in words.
fn describe(outcome: &process::Outcome, deadline_ms: u64) -> String {
    match outcome {
        process::Outcome { timed_out: true, .. } => {
            format!("no answer within {deadline_ms} ms; it was killed with its children")
        }
        process::Outcome { overflowed: true, .. } => format!("it printed more than {MAX_OUTPUT} bytes and was killed"),
        process::Outcome { status: Some(status), .. } => format!("it ended with status {status}"),
        process::Outcome { signal: Some(signal), .. } => format!("it was ended by signal {signal}"),
        _ => "it ended for an unknown reason".to_owned(),
    }
}
