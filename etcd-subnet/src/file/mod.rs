//! The subnet manager over a directory: the embedded default, for a machine, a lab, a shared file system, or a list of peers kept by hand.
//!
//! ```text
//! <directory>/config                  the network configuration
//! <directory>/subnets/10.5.7.0-24     a lease: the same name and value as in etcd
//! <directory>/lock                    held (flock) by whoever writes
//! ```
//!
//! A lease written by a node carries one more field than in etcd, `"TTL":86400`, and runs out that many seconds after the file's modification
//! time. Renewing is thus one change of that time, which no reader of the contents notices, and there is no clock but the file system's and
//! the reader's: on a shared file system they must agree to within the renewal margin, an hour, which any clock does. A file without
//! `TTL` never runs out: that is a reservation, or a peer written down by hand.
//!
//! Files appear whole (a temporary file, then a link or a rename), so readers need no lock. A lease that has run out is ignored by
//! everybody and deleted by the next node that takes a subnet.

mod format;
mod scan;
mod store;
mod watch;

use crate::lease::Lease;
use crate::manager::{AcquireRequest, Error, Event, LEASE_TTL, StoredConfig, SubnetManager};
use crate::skipped::Skipped;
use futures::future::BoxFuture;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::sync::mpsc;

/// How often a watcher looks through the whole directory, for changes the kernel does not tell of: those made by another machine.
const RESCAN: Duration = Duration::from_secs(15);

/// A network's configuration and leases in a directory.
#[derive(Debug, Clone)]
pub struct FileManager {
    store: Arc<Store>,
    rescan: Duration,
}

impl FileManager {
    /// A manager over `directory`, which is made when the first lease or configuration is written.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self::with_times(directory, LEASE_TTL, RESCAN)
    }

    /// A manager whose leases last `ttl` (whole seconds) and whose watchers look through the directory every `rescan`.
    pub fn with_times(directory: impl Into<PathBuf>, ttl: Duration, rescan: Duration) -> Self {
        let store = Store { directory: directory.into(), ttl, skipped: Skipped::default() };
        Self { store: Arc::new(store), rescan }
    }

    /// Runs file operations, which may wait for the lock, where waiting is allowed.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let name = store.name();
            match tokio::task::spawn_blocking(move || work(&store)).await {
                Ok(result) => result,
                Err(error) => Err(Error::Store { store: name, reason: error.to_string() }),
            }
        })
    }
}

impl SubnetManager for FileManager {
    fn config_location(&self) -> String {
        self.store.config().display().to_string()
    }

    fn stored_config(&self) -> BoxFuture<'_, Result<Option<StoredConfig>, Error>> {
        self.blocking(Store::read_config)
    }

    fn store_config<'a>(
        &'a self,
        text: &'a str,
        replaces: Option<&'a StoredConfig>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let (text, replaces) = (text.to_owned(), replaces.cloned());
        self.blocking(move |store| store.write_config(&text, replaces.as_ref()))
    }

    fn acquire<'a>(&'a self, request: &'a AcquireRequest) -> BoxFuture<'a, Result<Lease, Error>> {
        let request = request.clone();
        self.blocking(move |store| store.acquire(&request))
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Lease, Error>> {
        let lease = lease.clone();
        self.blocking(move |store| store.renew(&lease))
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Error>> {
        let lease = lease.clone();
        self.blocking(move |store| store.release(&lease))
    }

    fn watch(&self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(1024);
        watch::start(Arc::clone(&self.store), self.rescan, sender);
        receiver
    }

    fn skipped(&self) -> u64 {
        self.store.skipped.count()
    }
}
