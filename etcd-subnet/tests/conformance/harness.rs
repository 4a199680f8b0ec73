//! The stores under test, and the means to do to them what other programs and people do.

use crate::support::etcd::{Etcd, Security};
use etcd_client::{Client, PutOptions};
use etcd_subnet::SubnetManager;
use etcd_subnet::etcd::{EtcdManager, EtcdSettings};
use etcd_subnet::file::FileManager;
use etcd_subnet::manager::LEASE_TTL;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// A store, and the means to do to it what other programs and people do.
pub(crate) trait Harness: Sync {
    /// The manager of another node.
    fn manager(&self) -> Arc<dyn SubnetManager> {
        self.manager_with(LEASE_TTL)
    }

    /// A manager whose leases last so long.
    fn manager_with(&self, ttl: Duration) -> Arc<dyn SubnetManager>;

    /// Writes a lease by hand; it never runs out.
    fn put<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, ()>;

    /// Writes the network configuration by hand.
    fn configure<'a>(&'a self, text: &'a str) -> BoxFuture<'a, ()>;

    /// Deletes a lease by hand.
    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()>;

    /// All leases, sorted by name.
    fn all(&self) -> BoxFuture<'_, Vec<(String, String)>>;
}

pub(crate) struct Directory(tempfile::TempDir);

impl Directory {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("subnets")).unwrap();
        Self(home)
    }
}

impl Harness for Directory {
    fn manager_with(&self, ttl: Duration) -> Arc<dyn SubnetManager> {
        Arc::new(FileManager::with_times(self.0.path(), ttl, Duration::from_secs(15)))
    }

    fn put<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, ()> {
        std::fs::write(self.0.path().join("subnets").join(name), value).unwrap();
        Box::pin(async {})
    }

    fn configure<'a>(&'a self, text: &'a str) -> BoxFuture<'a, ()> {
        std::fs::write(self.0.path().join("config"), text).unwrap();
        Box::pin(async {})
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        std::fs::remove_file(self.0.path().join("subnets").join(name)).unwrap();
        Box::pin(async {})
    }

    fn all(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        let entries = std::fs::read_dir(self.0.path().join("subnets")).unwrap().map(Result::unwrap);
        let mut all: Vec<_> = entries
            .map(|entry| {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        all.sort();
        Box::pin(async { all })
    }
}

pub(crate) struct Server {
    settings: EtcdSettings,
    client: Client,
    _etcd: Etcd,
}

impl Server {
    pub(crate) async fn new() -> Option<Self> {
        let etcd = Etcd::start(1, Security::Plain).await?;
        Some(Self { settings: etcd.settings(), client: etcd.client(0).await, _etcd: etcd })
    }

    fn key(&self, name: &str) -> String {
        format!("{}/subnets/{name}", self.settings.prefix)
    }
}

impl Harness for Server {
    fn manager_with(&self, ttl: Duration) -> Arc<dyn SubnetManager> {
        Arc::new(EtcdManager::new(EtcdSettings { ttl, ..self.settings.clone() }).unwrap())
    }

    fn put<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.client.clone().put(self.key(name), value, Some(PutOptions::new())).await.unwrap();
        })
    }

    fn configure<'a>(&'a self, text: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.client.clone().put(format!("{}/config", self.settings.prefix), text, None).await.unwrap();
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let deleted = self.client.clone().delete(self.key(name), None).await.unwrap();
            assert_eq!(deleted.deleted(), 1, "{name}");
        })
    }

    fn all(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        Box::pin(async move {
            let options = etcd_client::GetOptions::new().with_prefix();
            let got = self.client.clone().get(self.key(""), Some(options)).await.unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            got.kvs().iter().map(|kv| (text(kv.key()).split_off(self.key("").len()), text(kv.value()))).collect()
        })
    }
}
