//! One round of bringing the node to the wanted state, and the memory between rounds.
//!
//! A round normally starts from a fresh dump, whatever caused it: a notification, a timer or the start. It therefore repairs
//! whatever is wrong and not only what it was told about. Only when leases alone have changed, the state that the last round left
//! is taken for the kernel's, so that one new peer among ten thousand costs no dump. When to start one is `network`'s business.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use ipnet::Ipv4Net;
use net::Mac;
use net::netlink::NetlinkError;

use crate::desired::{Device, Peer, Refusal, Tunnel, Underlay, desired};
use crate::diff::{Observed, Planned, diff};
use crate::retry::Retries;
use crate::vxlan::{DeviceError, Failure, Fate, Vxlan};

/// What the wanted state follows from, and the means to reach it.
#[derive(Debug)]
pub struct Reconciler {
    vxlan: Vxlan,
    network: Ipv4Net,
    tunnel: Tunnel,
    underlay: Underlay,
    mac: Mac,
    own: Option<Ipv4Net>,
    peers: BTreeMap<Ipv4Net, Peer>,
    retries: Retries,
    index: Option<u32>,
    /// The kernel's state as the last round left it, if that went without a failure.
    remembered: Option<Observed>,
}

/// Where a round takes the kernel's state from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// From the kernel.
    Fresh,
    /// From what the last round left, if nothing speaks against it.
    Remembered,
}

/// A round could not be carried through; it is to be repeated.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The device could not be made.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The kernel's state could not be read, for instance because the device vanished meanwhile.
    #[error("read the state of {device}: {error}")]
    Observe {
        /// The device.
        device: String,
        /// Why.
        error: NetlinkError,
    },
}

/// What a round did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What became of the device.
    pub fate: Fate,
    /// Changes sent.
    pub changes: usize,
    /// Peers programmed or found in order.
    pub peers: usize,
    /// Leases that lead to nothing, with the reason.
    pub refused: Vec<(Ipv4Net, Refusal)>,
    /// Changes the kernel refused, the first of each peer.
    pub failures: Vec<Failure>,
    /// When the next refused peer is due.
    pub retry: Option<Instant>,
}

impl Reconciler {
    /// A reconciler for one network in the namespace of the calling thread. Nothing is touched yet.
    #[must_use]
    pub fn new(vxlan: Vxlan, network: Ipv4Net, tunnel: Tunnel, underlay: Underlay, mac: Mac) -> Self {
        Reconciler {
            vxlan,
            network,
            tunnel,
            underlay,
            mac,
            own: None,
            peers: BTreeMap::new(),
            retries: Retries::default(),
            index: None,
            remembered: None,
        }
    }

    /// Port of the socket changes are made through, by which their echo is told.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn port(&self) -> Result<u32, NetlinkError> {
        self.vxlan.port()
    }

    /// Sets this node's own subnet.
    pub fn set_own(&mut self, own: Option<Ipv4Net>) {
        self.own = own;
    }

    /// Sets the underlay anew, after its address or MTU has changed.
    pub fn set_underlay(&mut self, underlay: Underlay) {
        self.underlay = underlay;
    }

    /// The underlay in use.
    #[must_use]
    pub fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// Adds a peer or changes it.
    pub fn put(&mut self, peer: Peer) {
        self.peers.insert(peer.subnet, peer);
    }

    /// Forgets a peer.
    pub fn remove(&mut self, subnet: &Ipv4Net) {
        self.peers.remove(subnet);
    }

    /// Replaces all peers.
    pub fn replace(&mut self, peers: impl IntoIterator<Item = Peer>) {
        self.peers = peers.into_iter().map(|peer| (peer.subnet, peer)).collect();
    }

    /// How many peers are known.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Index of the device as of the last round.
    #[must_use]
    pub fn index(&self) -> Option<u32> {
        self.index
    }

    /// The device as wanted now.
    #[must_use]
    pub fn wanted_device(&self) -> Device {
        let mut device = Device::new(&self.tunnel, &self.underlay, self.mac);
        device.address = self.own.map(|subnet| subnet.network());
        device
    }

    /// Makes or adjusts the device alone; peers stay as they are. For the start, when no subnet is known yet.
    ///
    /// # Errors
    /// The step the kernel refused.
    pub fn ensure_device(&mut self) -> Result<Fate, DeviceError> {
        let (index, fate) = self.vxlan.ensure_device(&self.wanted_device())?;
        self.index = Some(index);
        Ok(fate)
    }

    /// Whether the device is there and as wanted: two small requests, for a frequent timer.
    ///
    /// # Errors
    /// The kernel's refusal, or a failure of the socket.
    pub fn device_is_right(&mut self) -> Result<bool, NetlinkError> {
        let wanted = self.wanted_device();
        let found = self.vxlan.device(&wanted.name)?;
        Ok(found.is_some_and(|device| {
            Some(device.index) == self.index
                && device.unfit(&wanted).is_none()
                && device.adjustments(&wanted).is_empty()
        }))
    }

    /// One round.
    ///
    /// # Errors
    /// When the device cannot be made or the state cannot be read. Refused changes are no error but in the report.
    pub fn reconcile(&mut self, look: Look, now: Instant) -> Result<Report, ReconcileError> {
        let peers = self.peers.values().copied();
        let wanted = desired(self.network, &self.tunnel, &self.underlay, self.mac, self.own, peers);
        let (index, fate) = self.vxlan.ensure_device(&wanted.device)?;
        self.index = Some(index);
        let remembered = self
            .remembered
            .take()
            .filter(|state| look == Look::Remembered && fate == Fate::Kept && state.device == index);
        let mut observed = match remembered {
            Some(state) => state,
            None => self.vxlan.observe(index).map_err(|error| self.unreadable(error))?,
        };
        let mut changes = diff(&wanted, &observed);
        self.leave_waiting_out(&mut changes, now);
        let failures = self.vxlan.apply(&wanted, index, &changes);
        if failures.is_empty() {
            observed.record(&changes, wanted.device.underlay);
            self.remembered = Some(observed);
        }
        let failures = self.note(failures, now);
        Ok(Report {
            fate,
            changes: changes.len(),
            peers: wanted.peers.len(),
            refused: wanted.refused,
            failures,
            retry: self.retries.next(),
        })
    }

    /// Changes for peers whose time has not come are dropped from the round.
    fn leave_waiting_out(&self, changes: &mut Vec<Planned>, now: Instant) {
        if self.retries.is_empty() {
            return;
        }
        let waits = |subnet: &Ipv4Net| self.peers.get(subnet).is_some_and(|peer| self.retries.is_waiting(peer, now));
        changes.retain(|planned| !planned.peer.as_ref().is_some_and(waits));
    }

    /// Keeps the first failure of each peer and sets its next attempt; whoever was due and did not fail is done.
    fn note(&mut self, failures: Vec<Failure>, now: Instant) -> Vec<Failure> {
        let mut first: HashMap<Option<Ipv4Net>, Failure> = HashMap::new();
        for failure in failures {
            first.entry(failure.planned.peer).or_insert(failure);
        }
        for peer in first.keys().filter_map(|subnet| self.peers.get(subnet.as_ref()?)) {
            self.retries.refused(*peer, now);
        }
        self.retries.settle(now, |peer| self.peers.get(&peer.subnet) == Some(peer));
        first.into_values().collect()
    }

    fn unreadable(&self, error: NetlinkError) -> ReconcileError {
        ReconcileError::Observe { device: self.tunnel.device_name(), error }
    }
}
