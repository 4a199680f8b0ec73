//! Where etcd is and how to be let in: flanneld's `-etcd-…` flags.

use crate::manager::LEASE_TTL;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where etcd is and how to be let in.
#[derive(Clone)]
pub struct EtcdSettings {
    /// `-etcd-endpoints`: URLs, tried in order. One without a scheme is https when a TLS file is given, otherwise http.
    pub endpoints: Vec<String>,
    /// `-etcd-prefix`: the network's place in etcd.
    pub prefix: String,
    /// `-etcd-cafile`: who vouches for the servers; without it the system's list does. Works without a client certificate, which flannel's does not.
    pub ca_file: Option<PathBuf>,
    /// `-etcd-certfile`: our certificate; needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// `-etcd-keyfile`: its key.
    pub key_file: Option<PathBuf>,
    /// `-etcd-username`.
    pub username: Option<String>,
    /// `-etcd-password`.
    pub password: Option<String>,
    /// How long a lease lasts; [`LEASE_TTL`] outside tests.
    pub ttl: Duration,
}

impl Default for EtcdSettings {
    /// flanneld's defaults.
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:4001".into(), "http://127.0.0.1:2379".into()],
            prefix: "/coreos.com/network".into(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            username: None,
            password: None,
            ttl: LEASE_TTL,
        }
    }
}

/// Everything but the password.
impl fmt::Debug for EtcdSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdSettings")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("ca_file", &self.ca_file)
            .field("cert_file", &self.cert_file)
            .field("key_file", &self.key_file)
            .field("username", &self.username)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
