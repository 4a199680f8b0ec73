//! Committing transactions.

use super::encode::{batch_begin, batch_end};
use super::error::Error;
use super::model::Transaction;
use crate::netlink::{self, Message, Protocol};
use crate::ns::Namespace;

/// How often a transaction is sent at most while deletions of missing objects are taken out of it.
const ATTEMPTS: usize = 8;

/// A socket to the ruleset of the namespace it was opened in.
#[derive(Debug)]
pub struct Socket {
    pub(super) netlink: netlink::Socket,
}

impl Socket {
    /// Opens a socket in the namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel has no netfilter netlink, or no memory.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { netlink: netlink::Socket::open(Protocol::Netfilter)? })
    }

    /// Opens a socket inside a namespace, on a thread that ends at once; the socket stays there.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or as [`Socket::open`].
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        Ok(Self { netlink: netlink::Socket::open_in(Protocol::Netfilter, namespace)? })
    }

    /// The socket's own port: notifications of what it committed carry it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn port(&self) -> Result<u32, Error> {
        Ok(self.netlink.port()?)
    }

    /// The netlink socket underneath, for other parts of netfilter such as [`crate::conntrack`].
    pub const fn netlink(&mut self) -> &mut netlink::Socket {
        &mut self.netlink
    }

    /// Commits the transaction: all of it or nothing.
    ///
    /// The kernel refuses a whole batch when one of its deletions finds nothing to delete. Deletions marked `missing_ok` are then
    /// taken out and the rest is sent again; since all refusals come at once, that is one more round as a rule, and after a few
    /// rounds in which somebody else keeps deleting, the refusal is returned.
    ///
    /// # Errors
    /// The first change that was refused and why. Nothing was changed then.
    pub fn commit(&mut self, transaction: &Transaction) -> Result<(), Error> {
        self.commit_if(transaction, None)
    }

    /// Commits the transaction if the ruleset still has this generation (see [`Socket::generation`]).
    ///
    /// # Errors
    /// [`Error::is_outdated`] when somebody has changed the ruleset since, or as [`Socket::commit`].
    pub fn commit_at(&mut self, transaction: &Transaction, generation: u32) -> Result<(), Error> {
        self.commit_if(transaction, Some(generation))
    }

    fn commit_if(&mut self, transaction: &Transaction, generation: Option<u32>) -> Result<(), Error> {
        let messages = encode(transaction)?;
        let (begin, end) = (batch_begin(generation), batch_end());
        let mut kept: Vec<usize> = (0..messages.len()).collect();
        for attempt in 1..=ATTEMPTS {
            if kept.is_empty() {
                return Ok(());
            }
            let batch: Vec<&Message> = kept.iter().filter_map(|position| messages.get(*position)).collect();
            let mut missing = Vec::new();
            for failure in self.netlink.atomic(&begin, &batch, &end) {
                let position = failure.index.and_then(|index| kept.get(index)).copied();
                let change = position.and_then(|position| transaction.changes.get(position));
                let tolerated = failure.error.errno == libc::ENOENT && change.is_some_and(super::Change::missing_ok);
                match position.filter(|_| tolerated && attempt < ATTEMPTS) {
                    Some(position) => missing.push(position),
                    None => {
                        let what = change.map_or_else(|| failure.error.what.clone(), ToString::to_string);
                        return Err(Error::refused(position, what, failure.error));
                    }
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            kept.retain(|position| !missing.contains(position));
        }
        Ok(())
    }
}

fn encode(transaction: &Transaction) -> Result<Vec<Message>, Error> {
    let encoded = transaction.changes.iter().enumerate().map(|(position, change)| {
        change.encode(position).map_err(|reason| Error {
            errno: libc::EINVAL,
            position: Some(position),
            what: change.to_string(),
            explanation: Some(reason),
        })
    });
    encoded.collect()
}
