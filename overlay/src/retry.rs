//! Peers the kernel refused: each waits for its own next attempt, and holds up nobody else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use crate::desired::Peer;

/// The first wait after a refusal; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);

/// The peers that wait.
#[derive(Debug, Default)]
pub struct Retries {
    waiting: HashMap<Ipv4Net, Wait>,
}

#[derive(Debug)]
struct Wait {
    /// The peer as it was refused: a changed lease is tried at once.
    peer: Peer,
    refusals: u32,
    due: Instant,
}

impl Retries {
    /// Whether `peer` has to wait still.
    #[must_use]
    pub fn is_waiting(&self, peer: &Peer, now: Instant) -> bool {
        self.waiting.get(&peer.subnet).is_some_and(|wait| wait.peer == *peer && wait.due > now)
    }

    /// Notes a refusal; returns how often in a row this peer was refused.
    pub fn refused(&mut self, peer: Peer, now: Instant) -> u32 {
        let wait = self.waiting.entry(peer.subnet).or_insert(Wait { peer, refusals: 0, due: now });
        if wait.peer != peer {
            *wait = Wait { peer, refusals: 0, due: now };
        }
        wait.due = now + FIRST.saturating_mul(1 << wait.refusals.min(6)).min(LONGEST);
        wait.refusals += 1;
        wait.refusals
    }

    /// Forgets, at the end of a round, those that were due before it and were not refused again, and those that are not `known` any
    /// more.
    pub fn settle(&mut self, now: Instant, known: impl Fn(&Peer) -> bool) {
        self.waiting.retain(|_, wait| wait.due > now && known(&wait.peer));
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the next one is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.waiting.values().map(|wait| wait.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Peer {
        Peer {
            subnet: "10.5.4.0/24".parse().unwrap(),
            public: std::net::Ipv4Addr::new(192, 168, 1, last),
            mac: net::Mac([2, 0, 0, 0, 0, 4]),
        }
    }

    #[test]
    fn each_refusal_doubles_the_wait_up_to_a_minute() {
        let now = Instant::now();
        let mut retries = Retries::default();
        let mut waits = Vec::new();
        for _ in 0..9 {
            retries.refused(peer(1), now);
            waits.push((retries.next().unwrap() - now).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(retries.is_waiting(&peer(1), now));
        assert!(!retries.is_waiting(&peer(1), now + LONGEST));
    }

    #[test]
    fn a_changed_lease_does_not_wait() {
        let now = Instant::now();
        let mut retries = Retries::default();
        retries.refused(peer(1), now);
        assert!(!retries.is_waiting(&peer(2), now));
        assert_eq!(retries.refused(peer(2), now), 1);
    }

    #[test]
    fn peers_that_are_programmed_or_gone_are_forgotten() {
        let now = Instant::now();
        let mut retries = Retries::default();
        retries.refused(peer(1), now);
        retries.settle(now, |_| true);
        assert_eq!(retries.len(), 1, "not due yet");
        retries.settle(now + FIRST, |_| true);
        assert!(retries.is_empty(), "due, and not refused again");
        retries.refused(peer(1), now);
        retries.settle(now, |_| false);
        assert_eq!((retries.len(), retries.next()), (0, None));
    }
}
