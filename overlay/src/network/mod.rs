//! One overlay of a node, from its configuration to a running data path: a subnet manager and the VXLAN backend, brought together.
//!
//! Started in flannel's order: configuration, interface, device, lease, rules, and `subnet.env` last, because its presence
//! tells the plugin that pods may come. Several overlays run in one process without sharing anything but that. Stopping leaves
//! everything in place: pods keep talking while the agent is replaced.

mod running;
mod start;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use etcd_subnet::SubnetManager;
use ipnet::Ipv4Net;
use tokio::sync::watch;

use crate::underlay::{Choice, UnderlayError};
use crate::vxlan::IdentityError;

/// What the administrator of a node decides about an overlay; what all nodes share is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// For logs and the name of the nftables table.
    pub name: String,
    /// Interface and addresses.
    pub choice: Choice,
    /// MTU of the underlay, overriding the network's configuration and the interface.
    pub mtu: Option<u32>,
    /// Where `subnet.env` is written, and read for the subnet of the last run.
    pub subnet_file: PathBuf,
    /// Masquerade what leaves the overlay.
    pub masquerade: bool,
    /// Accept what is forwarded for the overlay.
    pub forward: bool,
    /// Directory for the device's MAC.
    pub state_dir: PathBuf,
    /// How long before its end the lease is renewed.
    pub renew_margin: Duration,
    /// How often device and rules are looked at besides notifications.
    pub check_every: Duration,
}

impl Settings {
    /// How often device and rules are looked at unless asked otherwise: flannel's period for its rules.
    pub const CHECK_EVERY: Duration = Duration::from_secs(5);
}

/// How an overlay is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether pods may come: rules and `subnet.env` are in place.
    pub ready: bool,
    /// The node's subnet.
    pub subnet: Option<Ipv4Net>,
    /// MTU of the overlay.
    pub mtu: u32,
    /// Peers that are programmed.
    pub peers: usize,
    /// Leases that cannot be used.
    pub unusable: usize,
    /// Peers the kernel refused, waiting for another attempt.
    pub failing: usize,
    /// Rounds in which something was repaired or changed.
    pub repairs: u64,
}

/// Why an overlay cannot run at all. Whatever may pass is waited out instead.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The store's settings cannot work, or the network is of a kind this program does not serve.
    #[error(transparent)]
    Store(#[from] etcd_subnet::manager::Error),
    /// The network is of a kind this program does not serve.
    #[error(transparent)]
    Config(#[from] etcd_subnet::config::ConfigError),
    /// The wish for an interface makes no sense.
    #[error(transparent)]
    Underlay(#[from] UnderlayError),
    /// The kernel gives no socket.
    #[error(transparent)]
    Kernel(#[from] net::netlink::NetlinkError),
    /// The kernel has no nftables.
    #[error("nftables: {0}")]
    Rules(#[from] net::nft::Error),
    /// The device's MAC cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The membership in the network has ended, which it does only with the runtime.
    #[error("the store of leases tells nothing more")]
    Silence,
    /// A notification socket failed.
    #[error("kernel notifications: {0}")]
    Notifications(std::io::Error),
}

/// An overlay that can be run.
pub struct Overlay {
    settings: Settings,
    manager: Arc<dyn SubnetManager>,
    status: watch::Sender<Status>,
}

impl Overlay {
    /// An overlay with its settings and its store. Nothing is touched yet.
    #[must_use]
    pub fn new(settings: Settings, manager: Arc<dyn SubnetManager>) -> Self {
        Overlay { settings, manager, status: watch::Sender::new(Status::default()) }
    }

    /// How it is doing, now and from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Runs the overlay in the network namespace of the calling thread until the future is dropped, which may happen at any time
    /// and leaves the data path as it is.
    ///
    /// # Errors
    /// What waiting will not cure.
    pub async fn run(self) -> Result<(), OverlayError> {
        let mut running = self.start().await?;
        running.run().await
    }
}
