//! Many messages in one datagram, one acknowledgement for all, and still every failure.

use std::io;

use super::reply::{NLMSG_ERROR, replies};
use super::socket::refusal;
use super::{Message, NetlinkError, Socket};

/// Messages in one datagram at most: if every one of them fails, the answers still fit the receive buffer.
const CHUNK_MESSAGES: usize = 256;
/// Bytes in one datagram at most, below the default send buffer.
const CHUNK_BYTES: usize = 96 << 10;
/// Request flag for an acknowledgement.
const NLM_F_ACK: u16 = 4;

/// A message of a batch that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct BatchFailure {
    /// Position of the message in the batch.
    pub index: usize,
    /// Why.
    pub error: NetlinkError,
}

impl Socket {
    /// Sends the messages in as few datagrams as possible and returns those that failed, in order; none means that all were carried
    /// out. A failing message stops none of the others.
    pub fn batch(&mut self, messages: &[Message]) -> Vec<BatchFailure> {
        let mut failures = Vec::new();
        let mut start = 0;
        while let Some(rest) = messages.get(start..).filter(|rest| !rest.is_empty()) {
            let (first, count) = self.enqueue_chunk(rest);
            let chunk = rest.get(..count).unwrap_or(rest);
            self.exchange(chunk, start, first, &mut failures);
            start += count;
        }
        failures
    }

    /// Puts messages into one datagram; returns the sequence number of the first and how many fitted.
    fn enqueue_chunk(&mut self, messages: &[Message]) -> (u32, usize) {
        self.outgoing.clear();
        let (mut first, mut count, mut last_start) = (0, 0, 0);
        for message in messages.iter().take(CHUNK_MESSAGES) {
            if count > 0 && self.outgoing.len() + message.bytes().len() > CHUNK_BYTES {
                break;
            }
            last_start = self.outgoing.len();
            let sequence = self.enqueue(message);
            if count == 0 {
                first = sequence;
            }
            count += 1;
        }
        self.ask_acknowledgement(last_start);
        (first, count)
    }

    pub(super) fn ask_acknowledgement(&mut self, message_start: usize) {
        let at = message_start + 6;
        let flags = self.outgoing.get(at..at + 2).and_then(|flags| flags.first_chunk());
        if let Some(flags) = flags.map(|flags| u16::from_ne_bytes(*flags)) {
            self.patch(at, &(flags | NLM_F_ACK).to_ne_bytes());
        }
    }

    /// Sends the datagram and reads answers until the one of the last message.
    fn exchange(&mut self, chunk: &[Message], start: usize, first: u32, failures: &mut Vec<BatchFailure>) {
        let before = failures.len();
        let sent = self.flush();
        let done = sent.and_then(|()| self.collect(chunk, start, first, failures));
        let Err(error) = done else { return };
        // Nothing is known of the messages without an answer: they count as failed.
        let answered: Vec<usize> = failures.iter().skip(before).map(|failure| failure.index).collect();
        let unknown = chunk.iter().zip(start..).filter(|(_, index)| !answered.contains(index));
        let unknown = unknown
            .map(|(message, index)| BatchFailure { index, error: NetlinkError::from_io(&error, message.what()) })
            .collect::<Vec<_>>();
        failures.extend(unknown);
        failures.sort_by_key(|failure| failure.index);
    }

    fn collect(
        &mut self,
        chunk: &[Message],
        start: usize,
        first: u32,
        failures: &mut Vec<BatchFailure>,
    ) -> io::Result<()> {
        let mut lost: Option<io::Error> = None;
        loop {
            match self.receive(lost.is_some()) {
                Ok(()) => {}
                // Answers were dropped. Those that are left are read, since they would be taken for answers to the next batch.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    lost = Some(error);
                    continue;
                }
                Err(error) => return Err(lost.unwrap_or(error)),
            }
            for reply in replies(&self.incoming).filter(|reply| reply.kind == NLMSG_ERROR) {
                let offset = usize::try_from(reply.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                let Some(message) = chunk.get(offset) else { continue };
                if reply.errno() != 0 {
                    failures.push(BatchFailure { index: start + offset, error: refusal(&reply, message.what()) });
                }
                if offset + 1 == chunk.len() && lost.is_none() {
                    return Ok(());
                }
            }
        }
    }
}
