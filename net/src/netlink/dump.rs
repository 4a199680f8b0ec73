//! Reading a kernel table as a whole, again if it changed meanwhile.

use super::reply::{NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, replies};
use super::socket::refusal;
use super::{Message, NetlinkError, Socket};

/// How often a dump that was interrupted by a change is read again.
const ATTEMPTS: usize = 10;

impl Socket {
    /// Reads a table and returns what `parse` makes of its entries, which it gets as (message type, payload). A dump during which
    /// the table changed may miss entries or show them twice, so it is read again.
    ///
    /// # Errors
    /// The kernel's refusal, a failure of the socket, or `EINTR` when the table never stood still.
    pub fn dump<T>(
        &mut self,
        request: &Message,
        mut parse: impl FnMut(u16, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..ATTEMPTS {
            let mut entries = Vec::new();
            if self.dump_once(request, |kind, payload| entries.extend(parse(kind, payload)))? {
                return Ok(entries);
            }
        }
        let mut error = NetlinkError::new(libc::EINTR, request.what());
        error.explanation = Some(format!("the table changed during each of {ATTEMPTS} readings"));
        Err(error)
    }

    /// One reading; whether it is consistent.
    fn dump_once(&mut self, request: &Message, mut entry: impl FnMut(u16, &[u8])) -> Result<bool, NetlinkError> {
        let failed = |error| NetlinkError::from_io(&error, request.what());
        self.outgoing.clear();
        let sequence = self.enqueue(request);
        self.flush().map_err(failed)?;
        let mut consistent = true;
        loop {
            self.receive(false).map_err(failed)?;
            for reply in replies(&self.incoming).filter(|reply| reply.sequence == sequence) {
                consistent &= reply.flags & NLM_F_DUMP_INTR == 0;
                match reply.kind {
                    NLMSG_ERROR | NLMSG_DONE if reply.errno() != 0 => return Err(refusal(&reply, request.what())),
                    NLMSG_ERROR | NLMSG_DONE => return Ok(consistent),
                    kind => entry(kind, reply.payload),
                }
            }
        }
    }
}
