//! A batch that the kernel takes as a whole or not at all, as netfilter does between its own begin and end messages.

use std::io;

use nix::sys::socket::{setsockopt, sockopt};

use super::reply::{NLMSG_ERROR, replies};
use super::socket::{borrow, refusal};
use super::{Message, NetlinkError, Socket};

/// Largest datagram that fits the default send buffer, in bytes.
const DEFAULT_SEND_BUFFER: usize = 96 << 10;

/// A refusal of an atomic batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AtomicFailure {
    /// Position of the refused message; `None` when the batch as such was refused.
    pub(crate) index: Option<usize>,
    /// Why.
    pub(crate) error: NetlinkError,
}

impl Socket {
    /// Sends `messages` between `begin` and `end` in one datagram. Nothing was changed unless the answer is empty.
    ///
    /// The kernel works through the datagram before `sendmsg` returns, and tells every message it refuses: the answers are then
    /// waiting, and nothing more will come.
    pub(crate) fn atomic(&mut self, begin: &Message, messages: &[&Message], end: &Message) -> Vec<AtomicFailure> {
        self.outgoing.clear();
        let first = self.enqueue(begin).wrapping_add(1);
        for (position, message) in messages.iter().enumerate() {
            let start = self.outgoing.len();
            self.enqueue(message);
            if position + 1 == messages.len() {
                self.ask_acknowledgement(start);
            }
        }
        self.enqueue(end);
        self.widen_send_buffer();
        let sent = self.flush();
        match sent.and_then(|()| self.collect_refusals(first, messages)) {
            Ok(failures) => failures,
            Err(error) => {
                vec![AtomicFailure { index: None, error: NetlinkError::from_io(&error, begin.what()) }]
            }
        }
    }

    fn collect_refusals(&mut self, first: u32, messages: &[&Message]) -> io::Result<Vec<AtomicFailure>> {
        let mut failures = Vec::new();
        let mut answered = messages.is_empty();
        let mut lost = None;
        loop {
            match self.receive(true) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    lost = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            for reply in replies(&self.incoming).filter(|reply| reply.kind == NLMSG_ERROR) {
                answered = true;
                if reply.errno() == 0 {
                    continue;
                }
                let offset = usize::try_from(reply.sequence.wrapping_sub(first)).ok();
                let index = offset.filter(|offset| *offset < messages.len());
                let what = index.and_then(|index| messages.get(index)).map_or("commit", |message| message.what());
                failures.push(AtomicFailure { index, error: refusal(&reply, what) });
            }
        }
        match lost {
            Some(error) if failures.is_empty() => Err(error),
            None if !answered => Err(io::Error::from_raw_os_error(libc::EPROTO)),
            _ => Ok(failures),
        }
    }

    /// A batch cannot be split, so the buffer has to take it: beyond the system's limit when privileged.
    fn widen_send_buffer(&self) {
        if self.outgoing.len() > DEFAULT_SEND_BUFFER {
            let _refused_by_send = setsockopt(&borrow(&self.raw), sockopt::SndBuf, &self.outgoing.len());
            let _refused_by_send = force_send_buffer(&self.raw, self.outgoing.len());
        }
    }
}

/// `SO_SNDBUFFORCE`, which nix does not know.
#[allow(unsafe_code, reason = "no safe wrapper for this socket option")]
fn force_send_buffer(raw: &netlink_sys::Socket, bytes: usize) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or_default();
    // SAFETY: the descriptor is open as long as `raw` lives, and the kernel reads `length` bytes of `value`.
    let result = unsafe {
        libc::setsockopt(raw.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, (&raw const value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
