//! The trait every store of leases implements, and the words it is spoken in.

use crate::config::{ConfigError, Ipv4Pool, NetworkConfig};
use crate::lease::{Attributes, Lease, SubnetKey};
use futures::future::BoxFuture;
use ipnet::Ipv4Net;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a lease lasts unless it is renewed: flannel's day.
pub const LEASE_TTL: Duration = Duration::from_secs(86_400);

/// How often a missing or unreadable configuration is looked for again.
const CONFIG_RETRY: Duration = Duration::from_secs(1);

/// What a node asks a store for.
#[derive(Debug, Clone, PartialEq)]
pub struct AcquireRequest {
    /// The addresses of the network as the node knows them ([`NetworkConfig::supported`]). They are part of the request and not read again,
    /// so that a configuration edited meanwhile cannot give a running node a subnet outside the network it serves.
    pub pool: Ipv4Pool,
    /// What peers are to know; its `public_ip` says who asks, so that a node gets its old subnet back.
    pub attributes: Attributes,
    /// The subnet the node remembers, taken again if it is free and part of the network.
    pub previous_subnet: Option<Ipv4Net>,
}

/// What happened in the store. Leases of the node itself are reported as well; [`crate::membership`] takes them out.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Everything there is. Always the first event and never sent again: later listings arrive as differences.
    Snapshot(Vec<Lease>),
    /// A subnet got an owner.
    Added(Lease),
    /// The attributes of a lease differ from what was last reported.
    Changed(Lease),
    /// A subnet has no owner any more; perhaps one that came and went without having been told.
    Removed(SubnetKey),
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be reached or refused; trying again may help.
    #[error("{store}: {reason}")]
    Store {
        /// Which store: its endpoints or its directory.
        store: String,
        /// What it said.
        reason: String,
    },
    /// The settings of the store cannot work; trying again will not help.
    #[error("{store}: {reason}")]
    Settings {
        /// Which store: its endpoints or its directory.
        store: String,
        /// What must be changed.
        reason: String,
    },
    /// Nobody has written the network's configuration.
    #[error("{location}: no network configuration there, write it with `plexus overlay init`")]
    NoConfig {
        /// Key or file where it should be.
        location: String,
    },
    /// The configuration cannot be used.
    #[error("{location}: {source}")]
    Config {
        /// Key or file where it stands.
        location: String,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// All subnets of the network have an owner.
    #[error("no free subnet of /{subnet_len} between {first} and {last}")]
    Exhausted {
        /// Prefix length of a subnet.
        subnet_len: u8,
        /// First subnet of the network.
        first: std::net::Ipv4Addr,
        /// Last subnet of the network.
        last: std::net::Ipv4Addr,
    },
    /// Others were faster each time.
    #[error("lost the race for a subnet {0} times in a row")]
    Contended(u32),
    /// The lease is not ours any more: it ran out, or another node has it.
    #[error("the lease of {0} is lost")]
    Lost(SubnetKey),
}

impl Error {
    /// Whether the same request may succeed later without anybody changing settings.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, Self::Settings { .. })
    }
}

/// A configuration as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredConfig {
    /// The text, as written.
    pub text: String,
    /// Names this version of it, so that it is replaced only by somebody who has seen it. The meaning is the store's own.
    pub version: i64,
}

/// A store of one network's configuration and leases.
///
/// Dropping the future of any call is safe at any point: what was asked may then have happened or not, and asking again finds out.
pub trait SubnetManager: Send + Sync {
    /// Where the configuration stands, for messages: a key or a file.
    fn config_location(&self) -> String;

    /// The configuration as it stands, or none.
    fn stored_config(&self) -> BoxFuture<'_, Result<Option<StoredConfig>, Error>>;

    /// Writes the configuration if what stands there is still `replaces` (none: nothing). False means somebody else was faster.
    fn store_config<'a>(
        &'a self,
        text: &'a str,
        replaces: Option<&'a StoredConfig>,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// The network's configuration, looked for every second until it is there and can be read. The reason for waiting is logged when it changes.
    ///
    /// # Errors
    /// [`Error::Settings`]; everything else is waited out.
    fn network_config(&self) -> BoxFuture<'_, Result<NetworkConfig, Error>> {
        Box::pin(async move {
            let mut told = String::new();
            loop {
                match self.find_config().await {
                    Ok(config) => return Ok(config),
                    Err(error) if !error.is_temporary() => return Err(error),
                    Err(error) => tell_once(&mut told, &error),
                }
                tokio::time::sleep(CONFIG_RETRY).await;
            }
        })
    }

    /// The network's configuration as it stands now.
    ///
    /// # Errors
    /// [`Error::NoConfig`], [`Error::Config`] and those of the store.
    fn find_config(&self) -> BoxFuture<'_, Result<NetworkConfig, Error>> {
        Box::pin(async move {
            let location = self.config_location();
            match self.stored_config().await? {
                None => Err(Error::NoConfig { location }),
                Some(stored) => NetworkConfig::parse(&stored.text).map_err(|source| Error::Config { location, source }),
            }
        })
    }

    /// Takes a subnet: the one already leased to the same public address, else the one remembered, else a free one at random.
    ///
    /// # Errors
    /// [`Error::Exhausted`], [`Error::Contended`], and those of the store.
    fn acquire<'a>(&'a self, request: &'a AcquireRequest) -> BoxFuture<'a, Result<Lease, Error>>;

    /// Makes a lease of this node last another [`LEASE_TTL`] and publishes the attributes in it, which may have changed. Another node's
    /// lease is never overwritten.
    ///
    /// # Errors
    /// [`Error::Lost`] when the lease is gone or somebody else's, and those of the store.
    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Lease, Error>>;

    /// Gives a lease of this node back. Not needed for a clean stop: a restarted node takes the same subnet again. A reservation stays.
    ///
    /// # Errors
    /// Those of the store; a lease that is lost already is no error.
    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), Error>>;

    /// Everything that happens to leases, beginning with a snapshot, for as long as the receiver lives. Failures of the store are waited
    /// out, what was missed meanwhile arrives as differences, and nothing is reported gone that the store has not shown to be gone.
    fn watch(&self) -> mpsc::Receiver<Event>;

    /// How many different keys and values of the store could not be read and were passed over.
    fn skipped(&self) -> u64;
}

/// Logs an error unless it is the one logged last.
pub(crate) fn tell_once(told: &mut String, error: &Error) {
    let text = error.to_string();
    if *told != text {
        tracing::warn!(error = %text, "waiting for the network configuration");
        *told = text;
    }
}
