//! The subnet manager over etcd, flannel's way with its v3 API: same keys, same values, same leases, so that nodes running flanneld and nodes
//! running Plexus are members of one network.
//!
//! One rule stands above all: nothing is ever written below `<prefix>/subnets` that flanneld cannot parse. A single such key or value makes
//! every running flanneld forget all of its peers. And no write here is unconditional: each compares the revision it was decided on, so that
//! a node that was cut off for a while cannot overwrite what another one took meanwhile.

mod acquire;
mod client;
mod keys;
mod list;
mod renew;
mod settings;
mod watch;

pub use settings::EtcdSettings;

use crate::lease::{Lease, SubnetKey};
use crate::manager::{AcquireRequest, Error, Event, StoredConfig, SubnetManager};
use crate::skipped::Skipped;
use client::Connection;
use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use futures::future::BoxFuture;
use keys::Keys;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// A network's configuration and leases in etcd.
#[derive(Debug, Clone)]
pub struct EtcdManager {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    keys: Keys,
    ttl: Duration,
    skipped: Skipped,
    /// What we last wrote about ourselves.
    own: Mutex<Option<Own>>,
}

/// Our key as we last wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Own {
    key: SubnetKey,
    /// The revision of that write: whatever has another one is not ours to overwrite unseen.
    version: i64,
    /// The etcd lease it hangs on; zero for a reservation.
    grant: i64,
}

impl EtcdManager {
    /// A manager by these settings. Does not connect yet.
    ///
    /// # Errors
    /// [`Error::Settings`]: no usable endpoint, a prefix that would harm another network, TLS files that cannot be read or do not belong together.
    pub fn new(settings: EtcdSettings) -> Result<Self, Error> {
        let keys = Keys::new(&settings.prefix);
        if keys.may_harm_another() {
            let reason =
                "lies where another network would keep its leases, whose nodes would take it for a broken one".into();
            return Err(Error::Settings { store: format!("etcd prefix {}", settings.prefix), reason });
        }
        let ttl = settings.ttl;
        let connection = Connection::new(settings)?;
        Ok(Self {
            inner: Arc::new(Inner { connection, keys, ttl, skipped: Skipped::default(), own: Mutex::new(None) }),
        })
    }
}

impl SubnetManager for EtcdManager {
    fn config_location(&self) -> String {
        format!("etcd key {}", self.inner.keys.config())
    }

    fn stored_config(&self) -> BoxFuture<'_, Result<Option<StoredConfig>, Error>> {
        Box::pin(async move {
            let key = self.inner.keys.config();
            let got = self.inner.connection.call(|mut client| {
                let key = key.clone();
                async move { client.get(key, None).await }
            });
            let got = got.await?;
            Ok(got.kvs().first().map(|kv| StoredConfig {
                text: String::from_utf8_lossy(kv.value()).into_owned(),
                version: kv.mod_revision(),
            }))
        })
    }

    fn store_config<'a>(
        &'a self,
        text: &'a str,
        replaces: Option<&'a StoredConfig>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let key = self.inner.keys.config();
            let seen = match replaces {
                Some(stored) => Compare::mod_revision(key.clone(), CompareOp::Equal, stored.version),
                None => Compare::version(key.clone(), CompareOp::Equal, 0),
            };
            let txn = Txn::new().when([seen]).and_then([TxnOp::put(key, text, None)]);
            Ok(self.inner.txn(txn).await?.succeeded())
        })
    }

    fn acquire<'a>(&'a self, request: &'a AcquireRequest) -> BoxFuture<'a, Result<Lease, Error>> {
        Box::pin(self.inner.acquire(request))
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Lease, Error>> {
        Box::pin(self.inner.renew(lease))
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.inner.release(lease))
    }

    fn watch(&self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(1024);
        tokio::spawn(watch::run(Arc::clone(&self.inner), sender));
        receiver
    }

    fn skipped(&self) -> u64 {
        self.inner.skipped.count()
    }
}

impl Inner {
    async fn txn(&self, txn: Txn) -> Result<etcd_client::TxnResponse, Error> {
        self.connection
            .call(|mut client| {
                let txn = txn.clone();
                async move { client.txn(txn).await }
            })
            .await
    }

    /// A fresh etcd lease.
    async fn grant(&self) -> Result<i64, Error> {
        let seconds = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let granted = self.connection.call(|mut client| async move { client.lease_grant(seconds, None).await });
        Ok(granted.await?.id())
    }

    /// Gives an etcd lease back that nothing hangs on. When that fails it runs out by itself.
    async fn revoke(&self, grant: i64) {
        let revoked = self.connection.call(|mut client| async move { client.lease_revoke(grant).await });
        if let Err(error) = revoked.await {
            tracing::debug!(%error, "an unused etcd lease is left to run out");
        }
    }

    fn own(&self, key: SubnetKey) -> Option<Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).filter(|own| own.key == key)
    }

    fn set_own(&self, own: Option<Own>) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = own;
    }

    /// Our lease as it has just been written.
    fn written(&self, own: Own, request: &crate::lease::Attributes) -> Lease {
        self.set_own(Some(own));
        Lease {
            subnet: own.key.subnet,
            subnet6: own.key.subnet6,
            attributes: request.clone(),
            expires: if own.grant == 0 { None } else { SystemTime::now().checked_add(self.ttl) },
        }
    }
}

/// The revision at which a request took effect.
fn revision(header: Option<&etcd_client::ResponseHeader>) -> i64 {
    header.map_or(0, etcd_client::ResponseHeader::revision)
}
