//! What stands in a store but cannot be read. Such an entry must never harm anybody but itself, must not fill the logs however often it is
//! seen, and must not go unnoticed either.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

/// So many names are remembered; a store with more bad entries has another problem.
const REMEMBERED: usize = 1024;

/// So many are logged one by one, the others only when their number has doubled.
const LOGGED: usize = 10;

/// The bad entries seen so far.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    names: Mutex<HashSet<String>>,
}

impl Skipped {
    /// Notes that `name` was passed over; logged the first time.
    pub(crate) fn note(&self, name: &str, reason: &dyn Display) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= REMEMBERED || !names.insert(name.to_owned()) {
            return;
        }
        let count = names.len();
        drop(names);
        if count <= LOGGED || count.is_power_of_two() {
            tracing::warn!(entry = name, %reason, skipped = count, "passing over a lease that cannot be read");
        }
    }

    /// How many different entries were passed over.
    pub(crate) fn count(&self) -> u64 {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(names.len()).unwrap_or(u64::MAX)
    }
}
