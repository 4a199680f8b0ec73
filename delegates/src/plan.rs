//! A plan: operations as data, in the order in which they are to be applied.

use net::op::{Op, Place, Step};

/// What an ADD is going to do. Records (files) come before all else, so that the locks on the address stores can be
/// given back before the kernel is asked for the slower part.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Plan {
    /// Files: address reservations, cursors, state files.
    pub records: Vec<Step>,
    /// Everything else: links, addresses, routes, rules, sysctls, executed plugins.
    pub steps: Vec<Step>,
    group: Option<u32>,
    last_index: Option<u32>,
}

impl Plan {
    /// An empty plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a file operation and the operation that takes it back.
    pub fn record(&mut self, op: Op, undo: Option<Op>, why: impl Into<String>) {
        self.records.push(Step { place: Place::Host, op, undo, why: why.into() });
    }

    /// Appends an operation in the node's namespace.
    pub fn host(&mut self, op: Op, undo: Option<Op>, why: impl Into<String>) {
        if let Op::CreateVeth { group, pod, .. } = &op {
            self.group.get_or_insert(*group);
            self.last_index = Some(pod.index);
        }
        self.steps.push(Step { place: Place::Host, op, undo, why: why.into() });
    }

    /// Appends an operation in the pod's namespace. Its undo is usually that of the link it acts on.
    pub fn pod(&mut self, op: Op, undo: Option<Op>, why: impl Into<String>) {
        self.steps.push(Step { place: Place::Pod, op, undo, why: why.into() });
    }

    /// The link group that the pod's links planned so far are in. All links of a pod share one, so that a DEL deletes
    /// them in one message and waits for one RCU grace period instead of one per link.
    pub fn link_group(&self) -> Option<u32> {
        self.group
    }

    /// The indexes for the pod's next veth pair, host end and pod end, when it has one already. They ascend with the order of
    /// attachment: programs that take the first interface of the kernel's list are to find `eth0`.
    pub fn next_indexes(&self) -> Option<(u32, u32)> {
        self.last_index.map(|last| (last.saturating_add(1), last.saturating_add(2)))
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.steps.is_empty()
    }

    /// Takes everything planned so far, records first; what is planned afterwards starts anew.
    pub fn take(&mut self) -> (Vec<Step>, Vec<Step>) {
        (std::mem::take(&mut self.records), std::mem::take(&mut self.steps))
    }
}
