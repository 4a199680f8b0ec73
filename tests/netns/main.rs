//! The plugin on real kernel objects: each test has namespaces and directories of its own, executes the program as a container
//! runtime does, and looks at what it did with other people's tools. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that cannot go on is a failed test"
)]

mod api;
mod article;
mod faults;
mod hostports;
mod selection;
mod stage;
mod verbs;
