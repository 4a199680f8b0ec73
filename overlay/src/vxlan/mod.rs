//! The VXLAN backend: one device, its peers' objects, and the socket they are programmed through.
//!
//! Everything is decided by `device` and `diff`; this module reads what they compare and carries out what they say.

mod identity;
mod messages;
mod observe;

use std::fmt;

use net::message::{address, link};
use net::netlink::{Message, NetlinkError, Protocol, Socket};

use crate::desired::{Desired, Device};
use crate::device::{Adjustments, ObservedDevice, Unfit};
use crate::diff::{Observed, Planned};
pub use identity::{Identity, IdentityError};

/// Changes encoded and sent at a time: bounds the memory of a large update; `net` cuts datagrams itself.
const CHUNK: usize = 256;

/// A netlink socket in the node's namespace, and what is known of the device.
#[derive(Debug)]
pub struct Vxlan {
    socket: Socket,
}

/// What became of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was as wanted.
    Kept,
    /// It was changed in place.
    Adjusted,
    /// There was none.
    Created,
    /// It could not be used and was made anew.
    Recreated(Unfit),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Kept => f.write_str("kept"),
            Fate::Adjusted => f.write_str("adjusted"),
            Fate::Created => f.write_str("created"),
            Fate::Recreated(unfit) => write!(f, "recreated, because {unfit}"),
        }
    }
}

/// A change the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The change and the peer it serves.
    pub planned: Planned,
    /// Why.
    pub error: NetlinkError,
}

/// The device could not be brought to the wanted state.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The kernel refused a step.
    #[error("{name}: {error}")]
    Refused {
        /// The device.
        name: String,
        /// Which step, and why.
        error: NetlinkError,
    },
    /// It was created and is gone again.
    #[error("{0} disappeared right after it was created")]
    Gone(String),
}

impl Vxlan {
    /// Opens the socket in the namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Vxlan { socket: Socket::open(Protocol::Route)? })
    }

    /// The port of the socket: notifications that carry it are the echo of our own changes.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn port(&self) -> Result<u32, NetlinkError> {
        self.socket.port()
    }

    /// The device named `name` as it is.
    ///
    /// # Errors
    /// The kernel's refusal, or a failure of the socket.
    pub fn device(&mut self, name: &str) -> Result<Option<ObservedDevice>, NetlinkError> {
        observe::device(&mut self.socket, name)
    }

    /// Brings the device to the wanted state and returns its index.
    ///
    /// # Errors
    /// The step the kernel refused.
    pub fn ensure_device(&mut self, wanted: &Device) -> Result<(u32, Fate), DeviceError> {
        let refused = |error| DeviceError::Refused { name: wanted.name.clone(), error };
        let found = self.device(&wanted.name).map_err(refused)?;
        let unfit = found.as_ref().and_then(|device| device.unfit(wanted));
        let (device, fate) = match (found, unfit) {
            (Some(device), None) => (device, Fate::Kept),
            (Some(device), Some(unfit)) => {
                self.socket.call(&link::delete(device.index, &wanted.name)).map_err(refused)?;
                (self.create(wanted)?, Fate::Recreated(unfit))
            }
            (None, _) => (self.create(wanted)?, Fate::Created),
        };
        let adjustments = device.adjustments(wanted);
        if adjustments.is_empty() {
            return Ok((device.index, fate));
        }
        self.adjust(device.index, &wanted.name, &adjustments).map_err(refused)?;
        Ok((device.index, if fate == Fate::Kept { Fate::Adjusted } else { fate }))
    }

    fn create(&mut self, wanted: &Device) -> Result<ObservedDevice, DeviceError> {
        let refused = |error| DeviceError::Refused { name: wanted.name.clone(), error };
        let request = link::create_vxlan(&link::Vxlan {
            name: wanted.name.clone(),
            mac: wanted.mac,
            id: wanted.vni,
            port: wanted.port,
            local: wanted.local,
            lower: wanted.underlay,
            mtu: wanted.mtu,
            gbp: wanted.gbp,
            learning: wanted.learning,
        });
        self.socket.call(&request).map_err(refused)?;
        refuse_router_advertisements(&wanted.name);
        self.device(&wanted.name).map_err(refused)?.ok_or_else(|| DeviceError::Gone(wanted.name.clone()))
    }

    /// Address changes come last: taking the last address away flushes the device's routes and neighbours, so the new one comes
    /// before the old ones go.
    fn adjust(&mut self, index: u32, name: &str, adjustments: &Adjustments) -> Result<(), NetlinkError> {
        let mut steps: Vec<Message> = Vec::new();
        steps.extend(adjustments.mac.map(|mac| link::set_mac(index, name, mac)));
        steps.extend(adjustments.mtu.map(|mtu| link::set_mtu(index, name, mtu)));
        steps.extend(adjustments.up.then(|| link::set_up(index, name)));
        steps.extend(adjustments.add.map(|wanted| address::add(index, name, wanted.into())));
        steps.extend(adjustments.remove.iter().map(|old| address::delete(index, name, (*old).into())));
        match self.socket.batch(&steps).into_iter().next() {
            None => Ok(()),
            Some(failure) => Err(failure.error),
        }
    }

    /// Reads what the kernel holds for the device `index`.
    ///
    /// # Errors
    /// The kernel's refusal (`ENODEV` when the device is gone), or a failure of the socket.
    pub fn observe(&mut self, index: u32) -> Result<Observed, NetlinkError> {
        observe::state(&mut self.socket, index)
    }

    /// Carries out changes and returns those that were refused. One that fails stops no other, and removing what is gone already is
    /// no failure.
    pub fn apply(&mut self, desired: &Desired, index: u32, changes: &[Planned]) -> Vec<Failure> {
        let mut failures = Vec::new();
        for chunk in changes.chunks(CHUNK) {
            let messages: Vec<Message> =
                chunk.iter().map(|planned| messages::encode(&planned.change, index, desired.device.underlay)).collect();
            for failure in self.socket.batch(&messages) {
                let Some(planned) = chunk.get(failure.index).copied() else { continue };
                if planned.peer.is_some() || !failure.error.is_missing() {
                    failures.push(Failure { planned, error: failure.error });
                }
            }
        }
        failures
    }
}

/// The device's own IPv6 link must not take routes from whoever answers on the overlay. Without IPv6 there is nothing to switch off.
fn refuse_router_advertisements(name: &str) {
    let _without_ipv6 = net::sysctl::write(&format!("net/ipv6/conf/{name}/accept_ra"), "0");
}
