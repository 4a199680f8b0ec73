//! What a watcher remembers of the directory: which files it has read and when their leases run out.

use super::format::Stamp;
use super::store::Store;
use crate::known::Known;
use crate::lease::{Attributes, SubnetKey};
use crate::manager::{Error, Event};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

/// The files seen so far and what was told of them.
#[derive(Debug)]
pub(super) struct Scanner {
    store: Arc<Store>,
    known: Known,
    seen: HashMap<SubnetKey, Seen>,
}

/// One file as last read.
#[derive(Debug, Clone, Copy)]
struct Seen {
    stamp: Stamp,
    expires: Option<SystemTime>,
}

impl Seen {
    fn is_over(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl Scanner {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, known: Known::default(), seen: HashMap::new() }
    }

    /// Looks through the whole directory; files that have not changed are not read again.
    ///
    /// # Errors
    /// The directory cannot be listed. What is known stays as it is.
    pub(super) fn scan(&mut self) -> Result<Vec<Event>, Error> {
        let directory = self.store.subnets();
        let fail = |error: std::io::Error| Error::Store {
            store: format!("list {}", directory.display()),
            reason: error.to_string(),
        };
        let now = SystemTime::now();
        let mut present = HashSet::new();
        let mut leases = Vec::new();
        for file in std::fs::read_dir(&directory).map_err(fail)? {
            let file = file.map_err(fail)?;
            let Some(key) = self.store.key(&file.file_name().to_string_lossy()) else { continue };
            let stamp = file.metadata().ok().map(|metadata| Stamp::of(&metadata));
            let unchanged = self.seen.get(&key).is_some_and(|seen| Some(seen.stamp) == stamp);
            let attributes = if unchanged && !self.known_over(key, now) && self.known.get(key).is_some() {
                self.known.get(key).cloned()
            } else {
                self.read(key, now)
            };
            present.insert(key);
            leases.extend(attributes.map(|attributes| (key, attributes)));
        }
        self.seen.retain(|key, _| present.contains(key));
        Ok(self.known.list(leases))
    }

    /// Looks at some files only, of which the kernel says that something happened to them. One that is gone is told as removed even when it
    /// was not known: it came and went between two looks, and whoever wrote it must hear that it is gone.
    pub(super) fn look(&mut self, names: &HashSet<String>) -> Vec<Event> {
        let now = SystemTime::now();
        let keys: Vec<SubnetKey> = names.iter().filter_map(|name| self.store.key(name)).collect();
        let mut events = Vec::new();
        for key in keys {
            events.extend(match self.read(key, now) {
                Some(attributes) => self.known.put(key, attributes),
                None => {
                    let told = self.known.remove(key);
                    if self.seen.contains_key(&key) { told } else { Some(Event::Removed(key)) }
                }
            });
        }
        events
    }

    /// Takes out the leases that have run out by now.
    pub(super) fn expire(&mut self) -> Vec<Event> {
        let now = SystemTime::now();
        let over: Vec<SubnetKey> =
            self.seen.iter().filter(|(_, seen)| seen.is_over(now)).map(|(key, _)| *key).collect();
        over.into_iter().filter_map(|key| self.known.remove(key)).collect()
    }

    /// When the next lease runs out of those still told as present.
    pub(super) fn next_end(&self) -> Option<SystemTime> {
        self.seen.iter().filter(|(key, _)| self.known.get(**key).is_some()).filter_map(|(_, seen)| seen.expires).min()
    }

    fn known_over(&self, key: SubnetKey, now: SystemTime) -> bool {
        self.seen.get(&key).is_some_and(|seen| seen.is_over(now))
    }

    /// One lease as its file is now; none when it is gone or over. Of a file that cannot be read, what was last known holds.
    fn read(&mut self, key: SubnetKey, now: SystemTime) -> Option<Attributes> {
        let lease = match self.store.read(key) {
            Ok(Some(lease)) => lease,
            Ok(None) => {
                self.seen.remove(&key);
                return None;
            }
            Err(error) => {
                self.store.skipped.note(&self.store.lease(key).to_string_lossy(), &error);
                return self.known.get(key).cloned();
            }
        };
        self.seen.insert(key, Seen { stamp: lease.stamp, expires: lease.expires });
        if lease.is_over(now) { None } else { lease.attributes.or_else(|| self.known.get(key).cloned()) }
    }
}
