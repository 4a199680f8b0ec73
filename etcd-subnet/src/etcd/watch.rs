//! Following the leases: list once, then watch from the next revision. A lost connection is resumed at the revision reached; only when etcd
//! cannot go back that far (compaction) or has become another store is there a new listing, of which only the differences are told.

use super::client::{Connected, store_error};
use super::{Inner, revision};
use crate::backoff::Backoff;
use crate::known::Known;
use crate::manager::{Error, Event};
use etcd_client::{EventType, WatchOptions, WatchResponse};
use std::sync::Arc;
use tokio::sync::mpsc;

/// How a watch ended, other than by a failure.
enum End {
    /// The watch cannot be resumed where it stopped.
    Relist,
    /// Nobody listens any more.
    Unheard,
}

/// One watcher.
struct Watcher {
    inner: Arc<Inner>,
    known: Known,
    /// The revision to go on from; none before the first listing and when that revision is lost.
    next: Option<i64>,
    sender: mpsc::Sender<Event>,
    backoff: Backoff,
    /// Failures in a row, to log the first and then ever fewer.
    failures: u32,
}

/// Tells `sender` everything that happens, until nobody listens.
pub(super) async fn run(inner: Arc<Inner>, sender: mpsc::Sender<Event>) {
    let mut watcher =
        Watcher { inner, known: Known::default(), next: None, sender, backoff: Backoff::for_store(), failures: 0 };
    while !watcher.sender.is_closed() {
        match watcher.follow().await {
            Ok(End::Unheard) => return,
            Ok(End::Relist) => watcher.next = None,
            Err(error) => watcher.complain(&error),
        }
        let pause = watcher.backoff.pause();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = watcher.sender.closed() => return,
        }
    }
}

impl Watcher {
    /// Lists if need be and watches until something ends it.
    async fn follow(&mut self) -> Result<End, Error> {
        let next = match self.next {
            Some(next) => next,
            None => {
                let listing = self.inner.list().await?;
                let kept = listing.entries.into_iter().filter_map(|entry| {
                    // a value that became unreadable: what was last known about that peer holds
                    let attributes = entry.attributes.or_else(|| self.known.get(entry.key).cloned())?;
                    Some((entry.key, attributes))
                });
                let kept = kept.collect();
                for event in self.known.list(kept) {
                    if self.sender.send(event).await.is_err() {
                        return Ok(End::Unheard);
                    }
                }
                *self.next.insert(listing.revision.saturating_add(1))
            }
        };
        let connected = self.inner.connection.client().await?;
        let ended = self.watch(&connected, next).await;
        if ended.is_err() {
            self.inner.connection.failed(&connected).await;
        }
        ended
    }

    async fn watch(&mut self, connected: &Connected, next: i64) -> Result<End, Error> {
        let fail = |error: etcd_client::Error| store_error(&connected.endpoint, &error);
        let ended = |reason: &str| Error::Store {
            store: format!("etcd {}", connected.endpoint),
            reason: format!("the watch has ended: {reason}"),
        };
        let options = WatchOptions::new().with_prefix().with_start_revision(next).with_progress_notify();
        let mut client = connected.client.watch_client().max_decoding_message_size(usize::MAX);
        let opening = client.watch(self.inner.keys.leases(), Some(options));
        let opened = tokio::time::timeout(super::client::REQUEST_TIMEOUT, opening).await;
        let mut stream = opened.map_err(|_| ended("no answer to its request"))?.map_err(fail)?;
        loop {
            let response = tokio::select! {
                response = stream.message() => response.map_err(fail)?.ok_or_else(|| ended("closed by the server"))?,
                () = self.sender.closed() => return Ok(End::Unheard),
            };
            if response.compact_revision() > 0 {
                tracing::info!(
                    compacted = response.compact_revision(),
                    "etcd has forgotten the changes since our last one, listing anew"
                );
                return Ok(End::Relist);
            }
            if response.canceled() {
                return Err(ended(response.cancel_reason()));
            }
            if response.created() {
                // a store that has not come as far as we had seen is another one, restored or emptied, and would stay silent for long
                if revision(response.header()).saturating_add(1) < next {
                    tracing::warn!("etcd is older than what it told before, listing anew");
                    return Ok(End::Relist);
                }
                self.recovered();
                continue;
            }
            if !self.take(&response).await {
                return Ok(End::Unheard);
            }
        }
    }

    /// Tells what one response says; false when nobody listens.
    async fn take(&mut self, response: &WatchResponse) -> bool {
        for change in response.events() {
            let Some(kv) = change.kv() else { continue };
            // not the header's revision: a watcher that lags behind gets its past in pieces, all with the newest header
            self.next = Some(kv.mod_revision().saturating_add(1));
            let Some(key) = self.inner.key(kv) else { continue };
            let event = match change.event_type() {
                EventType::Delete => self.known.remove(key),
                EventType::Put => self.inner.attributes(kv).and_then(|attributes| self.known.put(key, attributes)),
            };
            if let Some(event) = event
                && self.sender.send(event).await.is_err()
            {
                return false;
            }
        }
        if response.events().is_empty() {
            // a note of progress: nothing happened up to here
            self.next = Some(revision(response.header()).saturating_add(1)).max(self.next);
        }
        true
    }

    fn recovered(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "watching etcd again");
        }
        self.failures = 0;
        self.backoff.reset();
    }

    fn complain(&mut self, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_power_of_two() {
            tracing::warn!(%error, failures = self.failures, "cannot watch etcd, the peers known so far are kept");
        }
    }
}
