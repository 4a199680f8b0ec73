//! nftables in real namespaces: what the kernel takes, what an independent reader makes of it, and what becomes of packets.
//!
//! Needs root. `nft` is the independent reader; tests that need it say so and pass where it is missing.

mod nft {
    mod agreement;
    mod committing;
    mod inside;
}
