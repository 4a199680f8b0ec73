//! Being told when the ruleset changes, so that a flush by somebody else is noticed at once.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket as Raw, SocketAddr};

use super::abi::{NFNL_SUBSYS_NFTABLES, NFNLGRP_NFTABLES, NFT_MSG_NEWGEN};
use super::error::Error;
use super::wire::{body, find_text};
use crate::netlink::{NetlinkError, borrow, replies, widen_receive_buffer};
use crate::ns::Namespace;

/// Room for notifications that wait to be read, in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The largest notification: the kernel fills at most a page and a little.
const DATAGRAM: usize = 64 << 10;
/// The attribute with the table's name: the same in messages about tables, chains, rules, sets and elements.
const TABLE_NAME: u16 = 1;

/// A change to the ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something in the table with this name was added or removed, or the table itself.
    Changed {
        /// Name of the table; those of other families may have it too.
        table: String,
        /// Port of the socket that committed the change, see [`super::Socket::port`].
        origin: u32,
    },
    /// Notifications were lost: look at everything again.
    Overrun,
}

/// A subscription; its descriptor becomes readable when there is something to read.
#[derive(Debug)]
pub struct Monitor {
    raw: Raw,
    incoming: Vec<u8>,
}

impl Monitor {
    /// Subscribes in the namespace of the calling thread.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn open() -> Result<Self, Error> {
        let raw = subscribe().map_err(|error| NetlinkError::from_io(&error, "subscribe to nftables changes"))?;
        Ok(Self { raw, incoming: Vec::with_capacity(DATAGRAM) })
    }

    /// Subscribes in a namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or as [`Monitor::open`].
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        let opened = namespace.run(Self::open);
        opened.map_err(|error| NetlinkError::new(error.errno().unwrap_or(libc::EIO), error.to_string()))?
    }

    /// Reads what waits without blocking: up to one datagram's events are appended to `events`, neighbouring ones about one table
    /// as one.
    ///
    /// Returns whether anything was read; `false` means that nothing waits.
    ///
    /// # Errors
    /// A failure of the socket. An overrun is no failure but an event.
    pub fn read(&mut self, events: &mut Vec<Event>) -> io::Result<bool> {
        self.incoming.clear();
        match self.raw.recv(&mut self.incoming, libc::MSG_DONTWAIT) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                events.push(Event::Overrun);
                return Ok(true);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        }
        for reply in replies(&self.incoming) {
            if reply.kind >> 8 != NFNL_SUBSYS_NFTABLES || reply.kind & 0xff == NFT_MSG_NEWGEN {
                continue;
            }
            let Some(table) = find_text(body(reply.payload), TABLE_NAME) else { continue };
            let event = Event::Changed { table, origin: reply.port };
            if events.last() != Some(&event) {
                events.push(event);
            }
        }
        Ok(true)
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        borrow(&self.raw)
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.raw.as_raw_fd()
    }
}

fn subscribe() -> io::Result<Raw> {
    let mut raw = Raw::new(NETLINK_NETFILTER)?;
    raw.set_non_blocking(true)?;
    widen_receive_buffer(&raw, RECEIVE_BUFFER);
    raw.bind(&SocketAddr::new(0, 0))?;
    raw.add_membership(NFNLGRP_NFTABLES)?;
    Ok(raw)
}
