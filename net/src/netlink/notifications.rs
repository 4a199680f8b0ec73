//! What changed in a namespace, as the kernel tells it to subscribers.
//!
//! Notifications are hints, not a log: when they come faster than they are read the kernel drops some and says so once. The reader
//! gets that as [`Notice::Overrun`] and must then compare with a fresh dump.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_packet_core::NlasIterator;
use netlink_sys::Socket as Raw;
use netlink_sys::SocketAddr;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::NetlinkError;
use super::reply::{Reply, replies};
use super::socket::{borrow, widen_receive_buffer};
use crate::ns::Namespace;

/// Room for notifications that wait to be read, in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The largest notification.
const DATAGRAM: usize = 64 << 10;
/// Attributes that hold the interface index of a route and of a next hop (linux/rtnetlink.h, linux/nexthop.h).
const RTA_OIF: u16 = 4;
const NHA_OIF: u16 = 5;
/// Lengths of `struct rtmsg` and `struct nhmsg`, in bytes.
const ROUTE_HEADER: usize = 12;
const NEXTHOP_HEADER: usize = 8;

/// What to be told about. IPv4 and IPv6 come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Interfaces.
    Link,
    /// Addresses of interfaces.
    Address,
    /// Routes.
    Route,
    /// Neighbour and forwarding-database entries.
    Neighbour,
    /// Next-hop objects.
    Nexthop,
}

/// One notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Something was added, changed or removed.
    Changed {
        /// What kind of object.
        group: Group,
        /// It is gone now.
        removed: bool,
        /// Index of the interface it belongs to, where it has one.
        index: Option<u32>,
        /// [`super::Socket::port`] of the socket whose request caused the change; 0 for the kernel itself.
        origin: u32,
    },
    /// Notifications were lost: look at everything again.
    Overrun,
}

/// A subscription; its descriptor becomes readable when there is something to read.
#[derive(Debug)]
pub struct Notifications {
    raw: Raw,
    incoming: Vec<u8>,
}

impl Notifications {
    /// Subscribes in the namespace of the calling thread.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn open(groups: &[Group]) -> Result<Self, NetlinkError> {
        let raw = subscribe(groups, RECEIVE_BUFFER)
            .map_err(|error| NetlinkError::from_io(&error, "subscribe to notifications"))?;
        Ok(Self { raw, incoming: Vec::with_capacity(DATAGRAM) })
    }

    /// Subscribes in a namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or as [`Notifications::open`].
    pub fn open_in(groups: &[Group], namespace: &Namespace) -> Result<Self, NetlinkError> {
        let opened = namespace.run(|| Self::open(groups));
        opened.map_err(|error| NetlinkError::new(error.errno().unwrap_or(libc::EIO), error.to_string()))?
    }

    /// Reads what waits without blocking: up to one datagram's notices are appended to `notices`.
    ///
    /// Returns whether anything was read; `false` means that nothing waits.
    ///
    /// # Errors
    /// A failure of the socket. An overrun is no failure but a notice.
    pub fn read(&mut self, notices: &mut Vec<Notice>) -> io::Result<bool> {
        self.incoming.clear();
        match self.raw.recv(&mut self.incoming, libc::MSG_DONTWAIT) {
            Ok(_) => {
                notices.extend(replies(&self.incoming).filter_map(|reply| notice(&reply)));
                Ok(true)
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                notices.push(Notice::Overrun);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Notifications {
    fn as_fd(&self) -> BorrowedFd<'_> {
        borrow(&self.raw)
    }
}

impl AsRawFd for Notifications {
    fn as_raw_fd(&self) -> RawFd {
        self.raw.as_raw_fd()
    }
}

fn subscribe(groups: &[Group], receive_buffer: usize) -> io::Result<Raw> {
    let mut raw = Raw::new(NETLINK_ROUTE)?;
    raw.set_non_blocking(true)?;
    widen_receive_buffer(&raw, receive_buffer);
    raw.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        for number in memberships(*group) {
            raw.add_membership(*number)?;
        }
    }
    Ok(raw)
}

/// Numbers of the multicast groups (`RTNLGRP_*`, linux/rtnetlink.h).
const fn memberships(group: Group) -> &'static [u32] {
    match group {
        Group::Link => &[1],
        Group::Address => &[5, 9],
        Group::Route => &[7, 11],
        Group::Neighbour => &[3],
        Group::Nexthop => &[32],
    }
}

fn notice(reply: &Reply<'_>) -> Option<Notice> {
    // Types come in fours per kind of object: new, delete, get, set (linux/rtnetlink.h).
    let group = match reply.kind & !3 {
        16 => Group::Link,
        20 => Group::Address,
        24 => Group::Route,
        28 => Group::Neighbour,
        104 => Group::Nexthop,
        _ => return None,
    };
    let index = match group {
        Group::Link | Group::Address | Group::Neighbour => word(reply.payload.get(4..)),
        Group::Route => attribute(reply.payload.get(ROUTE_HEADER..), RTA_OIF),
        Group::Nexthop => attribute(reply.payload.get(NEXTHOP_HEADER..), NHA_OIF),
    };
    Some(Notice::Changed { group, removed: reply.kind & 3 == 1, index, origin: reply.port })
}

fn word(bytes: Option<&[u8]>) -> Option<u32> {
    bytes?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

fn attribute(bytes: Option<&[u8]>, kind: u16) -> Option<u32> {
    NlasIterator::new(bytes?).flatten().find(|nla| nla.kind() == kind).and_then(|nla| word(Some(nla.value())))
}
