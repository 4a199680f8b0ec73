//! nftables in real namespaces: what the kernel takes, what an independent reader makes of it, and what becomes of packets.
//!
//! Needs root. `nft` is the independent reader; tests that need it say so and pass where it is missing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, helpers too"
)]

mod common;

mod nft {
    mod agreement;
    mod committing;
    mod lab;
    mod program;
    mod traffic;
}
