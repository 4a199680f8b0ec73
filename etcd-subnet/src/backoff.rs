//! Pauses between attempts at something that fails: short at first, so that a hiccup costs nothing, long soon, so that an outage does
//! not either.

use std::time::Duration;

/// The pauses between attempts, doubling from the first to the longest.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// 0.1 to 5 seconds: for a store that does not answer.
    pub(crate) fn for_store() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// How long to wait now.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.longest);
        pause
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}
