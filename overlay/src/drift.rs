//! Noticing that somebody changed what an overlay relies on, from the kernel's notifications.
//!
//! A notification only ever starts a round of the reconciler, which looks for itself; so telling apart what exactly
//! happened is not needed, only whether it can concern this overlay. The echo of the overlay's own changes carries the
//! port of its socket and is passed over.

use std::io;
use std::os::fd::AsRawFd;

use net::netlink::{Group, NetlinkError, Notice, Notifications};
use tokio::io::unix::AsyncFd;

/// What an overlay relies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Index of its VXLAN device, once there is one.
    pub device: Option<u32>,
    /// Index of the underlay interface.
    pub underlay: u32,
    /// Port of the socket its changes are made through.
    pub port: u32,
}

/// What may have changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drift {
    /// The device or something on it.
    pub device: bool,
    /// The underlay interface, its addresses or routes.
    pub underlay: bool,
}

impl Drift {
    /// Whether anything may have changed.
    #[must_use]
    pub fn any(self) -> bool {
        self.device || self.underlay
    }

    fn note(&mut self, notice: &Notice, interest: &Interest) {
        let Notice::Changed { group, removed, index, origin } = *notice else {
            *self = Drift { device: true, underlay: true };
            return;
        };
        if origin == interest.port {
            return;
        }
        let on_device = index.is_some() && index == interest.device;
        let on_underlay = index == Some(interest.underlay);
        match group {
            Group::Link | Group::Address => {
                self.device |= on_device;
                self.underlay |= on_underlay;
            }
            // The kernel itself adds and updates neighbours all the time; removals are rare, and people have a port.
            Group::Route | Group::Neighbour | Group::Nexthop => {
                self.device |= on_device && (removed || origin != 0);
                self.underlay |= on_underlay && group == Group::Route;
            }
        }
    }
}

/// The notifications of the namespace it was opened in.
#[derive(Debug)]
pub struct Watch {
    notifications: AsyncFd<Notifications>,
    notices: Vec<Notice>,
}

impl Watch {
    /// Subscribes in the namespace of the calling thread, which must run a tokio runtime.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open() -> Result<Self, NetlinkError> {
        let groups = [Group::Link, Group::Address, Group::Route, Group::Neighbour, Group::Nexthop];
        let notifications = register(Notifications::open(&groups)?);
        let failed = |error: io::Error| {
            NetlinkError::new(error.raw_os_error().unwrap_or_default(), "register notification socket")
        };
        Ok(Watch { notifications: notifications.map_err(failed)?, notices: Vec::new() })
    }

    /// Waits until something that concerns `interest` may have changed. Cancelling it loses nothing but hints that are still unread
    /// or of no interest.
    ///
    /// # Errors
    /// A failure of the socket, after which nothing more will be noticed.
    pub async fn drift(&mut self, interest: &Interest) -> io::Result<Drift> {
        loop {
            let mut ready = self.notifications.readable_mut().await?;
            let drift = drain(ready.get_inner_mut(), &mut self.notices, interest)?;
            ready.clear_ready();
            if drift.any() {
                return Ok(drift);
            }
        }
    }

    /// Reads whatever waits, without waiting: after a large change of our own it is mostly its echo.
    ///
    /// # Errors
    /// A failure of the socket.
    pub fn pending(&mut self, interest: &Interest) -> io::Result<Drift> {
        drain(self.notifications.get_mut(), &mut self.notices, interest)
    }
}

/// Tells the runtime about a descriptor.
///
/// # Errors
/// When the runtime cannot take it.
#[allow(
    deprecated,
    reason = "the constructor that replaces it is unsafe; these types own their descriptor for all their life"
)]
pub(crate) fn register<T: AsRawFd>(source: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::new(source)
}

fn drain(notifications: &mut Notifications, notices: &mut Vec<Notice>, interest: &Interest) -> io::Result<Drift> {
    let mut drift = Drift::default();
    loop {
        notices.clear();
        if !notifications.read(notices)? {
            return Ok(drift);
        }
        notices.iter().for_each(|notice| drift.note(notice, interest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTEREST: Interest = Interest { device: Some(7), underlay: 2, port: 99 };

    fn drift(group: Group, removed: bool, index: u32, origin: u32) -> (bool, bool) {
        let mut drift = Drift::default();
        drift.note(&Notice::Changed { group, removed, index: Some(index), origin }, &INTEREST);
        (drift.device, drift.underlay)
    }

    #[test]
    fn what_concerns_the_overlay_is_told_from_what_does_not() {
        let cases = [
            (drift(Group::Link, true, 7, 0), (true, false), "the device is gone"),
            (drift(Group::Link, false, 7, 50), (true, false), "the device was bounced"),
            (drift(Group::Link, false, 2, 0), (false, true), "the underlay changed"),
            (drift(Group::Address, true, 2, 50), (false, true), "the underlay lost an address"),
            (drift(Group::Route, true, 7, 50), (true, false), "a route was removed"),
            (drift(Group::Neighbour, false, 7, 50), (true, false), "somebody replaced a neighbour"),
            (drift(Group::Neighbour, false, 7, 0), (false, false), "the kernel learns a neighbour"),
            (drift(Group::Neighbour, true, 2, 0), (false, false), "neighbours of the underlay come and go"),
            (drift(Group::Route, true, 2, 50), (false, true), "a direct route was removed"),
            (drift(Group::Route, false, 2, 50), (false, true), "the default route is back"),
            (drift(Group::Link, true, 3, 50), (false, false), "another link"),
            (drift(Group::Nexthop, true, 7, 99), (false, false), "our own change"),
        ];
        for (found, expected, what) in cases {
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn lost_notifications_mean_that_anything_may_have_changed() {
        let mut drift = Drift::default();
        drift.note(&Notice::Overrun, &INTEREST);
        assert_eq!(drift, Drift { device: true, underlay: true });
    }
}
