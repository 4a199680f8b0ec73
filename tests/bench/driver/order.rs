//! What the driver asks of a node, and what the node answers: one JSON line each way.

use serde::{Deserialize, Serialize};

/// A request to a node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Attach pods until this many are on the node, and leave them there.
    Fill(u32),
    /// Make sandboxes for as many pods, before the timing.
    Prepare(u32),
    /// ADD and DEL of the next prepared pod.
    Pair,
    /// ADD of this many prepared pods with as many workers, then DEL of them.
    Burst {
        /// Pods.
        pods: u32,
        /// Workers.
        workers: u32,
    },
    /// Remove the sandboxes of pods that are done.
    Release,
}

/// One plugin call as a runtime sees it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Milliseconds from before the fork until the output is read.
    pub(crate) wall: f64,
    /// Milliseconds of CPU, children included; in a burst the mean of all.
    pub(crate) cpu: f64,
}

/// What came of an order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Each ADD.
    pub(crate) adds: Vec<Sample>,
    /// Each DEL.
    pub(crate) dels: Vec<Sample>,
    /// Milliseconds from the first ADD's start to the last one's end.
    pub(crate) add_span: f64,
    /// The same for DEL.
    pub(crate) del_span: f64,
    /// Requests to the API server during ADD.
    pub(crate) requests: usize,
    /// Connections to the API server during ADD.
    pub(crate) connections: usize,
    /// Why the order failed.
    pub(crate) error: Option<String>,
}
