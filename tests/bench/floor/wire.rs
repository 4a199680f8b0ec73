//! Netlink messages as bytes, and a socket that sends a batch of them and waits for the last acknowledgement.
//!
//! An encoder of its own, apart from the `net` crate: a floor made of the program's own parts could not show what those cost.

use anyhow::{Context, Result, bail};
use netlink_sys::Socket;
use std::io;

/// Flags of `linux/netlink.h`.
pub(crate) const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// Create the object, replacing it or failing if it exists.
pub(crate) const REPLACE: u16 = 0x100 | 0x400;
/// Create the object; it must not exist.
pub(crate) const EXCLUSIVE: u16 = 0x200 | 0x400;

const HEADER: usize = 16;
const ERROR: u16 = 2;

/// One attribute, padded.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(usize::from(length).next_multiple_of(4));
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute that holds attributes, with the nested flag that nftables insists on.
pub(crate) fn nested(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | 0x8000, &parts.concat())
}

/// A name, with its terminating zero.
pub(crate) fn name(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

/// Messages on their way to the kernel in one datagram.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    last: usize,
    sequence: u32,
}

impl Batch {
    /// Append a message: its fixed header, then its attributes.
    pub(crate) fn push(&mut self, kind: u16, flags: u16, header: &[u8], attributes: &[Vec<u8>]) {
        self.last = self.bytes.len();
        self.sequence += 1;
        let body: usize = header.len() + attributes.iter().map(Vec::len).sum::<usize>();
        self.bytes.extend_from_slice(&u32::try_from(HEADER + body).unwrap_or(u32::MAX).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(header);
        for attribute in attributes {
            self.bytes.extend_from_slice(attribute);
        }
    }

    /// Ask for an acknowledgement of the message pushed last: the kernel answers in order, and failures in any case.
    pub(crate) fn acknowledge_last(&mut self) {
        if let Some(flags) = self.bytes.get_mut(self.last + 6) {
            *flags |= ACK.to_ne_bytes()[0];
        }
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> u32 {
        self.sequence
    }
}

/// A netlink socket in the namespace of the thread that opens it.
pub(crate) struct Wire(Socket);

impl Wire {
    /// `protocol` is `NETLINK_ROUTE` or `NETLINK_NETFILTER`.
    pub(crate) fn open(protocol: isize) -> Result<Self> {
        Ok(Self(Socket::new(protocol).context("cannot open a netlink socket")?))
    }

    /// Send a batch whose message number `awaited` asks for an acknowledgement, and wait for it; the first failure wins.
    pub(crate) fn exchange(&self, batch: &Batch, awaited: u32, what: &str) -> Result<()> {
        self.0.send(&batch.bytes, 0).with_context(|| format!("cannot send: {what}"))?;
        let mut answer = Vec::with_capacity(1 << 15);
        loop {
            answer.clear();
            self.0.recv(&mut answer, 0).with_context(|| format!("no answer: {what}"))?;
            if read(&answer, awaited, what)? {
                return Ok(());
            }
        }
    }
}

/// Look through one datagram of answers: true when the awaited acknowledgement was among them.
fn read(mut answer: &[u8], awaited: u32, what: &str) -> Result<bool> {
    while let (Some(length), Some(kind), Some(sequence)) = (word(answer, 0), word(answer, 4), word(answer, 8)) {
        if kind & 0xffff == u32::from(ERROR) {
            let code = word(answer, HEADER).unwrap_or(0).cast_signed();
            if code != 0 {
                bail!("{what}: message {sequence}: {}", io::Error::from_raw_os_error(-code));
            }
            if sequence == awaited {
                return Ok(true);
            }
        }
        let Some(rest) = answer.get((length as usize).max(HEADER).next_multiple_of(4)..) else { break };
        answer = rest;
    }
    Ok(false)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
