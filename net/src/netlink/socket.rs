//! A blocking netlink socket, bound for life to the namespace it was opened in.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket as Raw, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};

use super::NetlinkError;
use super::message::{HEADER, Message};
use super::reply::{NLMSG_ERROR, Reply, replies};
use crate::ns::Namespace;

/// Room for answers that wait in the socket, in bytes; the kernel doubles it. A chunk of a batch whose every message fails fits.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The largest datagram taken: the kernel fills at most 32 KiB with a dump.
const DATAGRAM: usize = 64 << 10;

/// The netlink family a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes, neighbours, next hops.
    Route,
    /// nftables and connection tracking.
    Netfilter,
}

/// A netlink socket with reused buffers and its own sequence numbers.
#[derive(Debug)]
pub struct Socket {
    pub(super) raw: Raw,
    pub(super) incoming: Vec<u8>,
    pub(super) outgoing: Vec<u8>,
    sequence: u32,
}

impl Socket {
    /// Opens a socket in the namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel has no such netlink family or no memory.
    pub fn open(protocol: Protocol) -> Result<Self, NetlinkError> {
        let raw = open_raw(protocol).map_err(|error| NetlinkError::from_io(&error, "open netlink socket"))?;
        Ok(Self { raw, incoming: Vec::with_capacity(DATAGRAM), outgoing: Vec::new(), sequence: 0 })
    }

    /// Opens a socket inside a namespace, on a thread that ends at once; the socket stays there.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or as [`Socket::open`].
    pub fn open_in(protocol: Protocol, namespace: &Namespace) -> Result<Self, NetlinkError> {
        let opened = namespace.run(|| Self::open(protocol));
        opened.map_err(|error| NetlinkError::new(error.errno().unwrap_or(libc::EIO), error.to_string()))?
    }

    /// The socket's own port: notifications of changes it caused carry it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn port(&self) -> Result<u32, NetlinkError> {
        let mut address = SocketAddr::new(0, 0);
        let named = self.raw.get_address(&mut address);
        named.map_err(|error| NetlinkError::from_io(&error, "read address of netlink socket"))?;
        Ok(address.port_number())
    }

    /// Sends one message and waits until the kernel has carried it out.
    ///
    /// # Errors
    /// The kernel's refusal, or a failure of the socket.
    pub fn call(&mut self, message: &Message) -> Result<(), NetlinkError> {
        match self.batch(std::slice::from_ref(message)).into_iter().next() {
            None => Ok(()),
            Some(failure) => Err(failure.error),
        }
    }

    /// Sends one question and returns what `parse` makes of the answer; `None` when the object is missing.
    ///
    /// # Errors
    /// The kernel's refusal, or a failure of the socket.
    pub fn get<T>(
        &mut self,
        question: &Message,
        mut parse: impl FnMut(u16, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        self.outgoing.clear();
        let sequence = self.enqueue(question);
        self.flush().map_err(|error| NetlinkError::from_io(&error, question.what()))?;
        loop {
            self.receive(false).map_err(|error| NetlinkError::from_io(&error, question.what()))?;
            if let Some(reply) = replies(&self.incoming).find(|reply| reply.sequence == sequence) {
                if reply.kind != NLMSG_ERROR {
                    return Ok(parse(reply.kind, reply.payload));
                }
                let error = refusal(&reply, question.what());
                return if error.is_missing() { Ok(None) } else { Err(error) };
            }
        }
    }

    /// Appends a message to the datagram under construction and returns its sequence number.
    pub(super) fn enqueue(&mut self, message: &Message) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let start = self.outgoing.len();
        self.outgoing.extend_from_slice(message.bytes());
        self.outgoing.resize(self.outgoing.len().next_multiple_of(4), 0);
        self.patch(start + 8, &self.sequence.to_ne_bytes());
        self.sequence
    }

    /// Overwrites bytes of the datagram under construction.
    pub(super) fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(field) = self.outgoing.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }

    /// Sends the datagram under construction.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        loop {
            match self.raw.send(&self.outgoing, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent.map(|_| ()),
            }
        }
    }

    /// Receives one datagram into the reused buffer.
    pub(super) fn receive(&mut self, only_if_waiting: bool) -> io::Result<()> {
        let flags = libc::MSG_TRUNC | if only_if_waiting { libc::MSG_DONTWAIT } else { 0 };
        loop {
            self.incoming.clear();
            match self.raw.recv(&mut self.incoming, flags) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(length) if length > self.incoming.len() => return Err(io::Error::from_raw_os_error(libc::EMSGSIZE)),
                Ok(_) => return Ok(()),
            }
        }
    }
}

/// The kernel's refusal as an error.
pub(super) fn refusal(reply: &Reply<'_>, what: &str) -> NetlinkError {
    NetlinkError { errno: reply.errno(), explanation: reply.explanation(), what: what.to_owned() }
}

fn open_raw(protocol: Protocol) -> io::Result<Raw> {
    let raw = Raw::new(match protocol {
        Protocol::Route => NETLINK_ROUTE,
        Protocol::Netfilter => NETLINK_NETFILTER,
    })?;
    raw.connect(&SocketAddr::new(0, 0))?;
    raw.set_cap_ack(true)?;
    raw.set_ext_ack(true)?;
    raw.set_netlink_get_strict_chk(true)?;
    widen_receive_buffer(&raw, RECEIVE_BUFFER);
    Ok(raw)
}

/// Makes room for answers: beyond the system's limit when privileged, up to it when not. Best effort: a lost answer is noticed.
pub(crate) fn widen_receive_buffer(raw: &Raw, size: usize) {
    let fd = borrow(raw);
    if setsockopt(&fd, sockopt::RcvBufForce, &size).is_err() {
        let _limited = setsockopt(&fd, sockopt::RcvBuf, &size);
    }
}

/// The descriptor of a socket for the length of a call.
#[allow(unsafe_code, reason = "netlink-sys implements AsRawFd only")]
pub(crate) fn borrow(raw: &Raw) -> BorrowedFd<'_> {
    // SAFETY: the descriptor belongs to `raw`, which outlives the borrow.
    unsafe { BorrowedFd::borrow_raw(raw.as_raw_fd()) }
}

// A request is never shorter than its header, which `enqueue` relies on when it fills in the sequence number.
const _: () = assert!(HEADER == 16);
