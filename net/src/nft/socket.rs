//! Committing transactions.

use std::collections::BTreeSet;

use super::encode::{batch_begin, batch_end};
use super::error::Error;
use super::model::{Change, Existing, Transaction};
use crate::netlink::{self, AtomicFailure, Message, Protocol};
use crate::ns::Namespace;

/// How often a transaction is sent at most while it is revised.
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
    /// taken out and the rest is sent again. In the same way an element that is to be [replaced](Existing::Replaced) is deleted
    /// only when it turns out to be there. Since all refusals come at once, that is one more round as a rule; after a few rounds in
    /// which somebody else keeps changing the same things, `EAGAIN` is returned.
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
        let (begin, end) = (batch_begin(generation), batch_end());
        let mut requests = requests(transaction)?;
        for _ in 0..ATTEMPTS {
            if requests.is_empty() {
                return Ok(());
            }
            let batch: Vec<&Message> = requests.iter().map(|request| &request.message).collect();
            let failures = self.netlink.atomic(&begin, &batch, &end);
            if failures.is_empty() {
                return Ok(());
            }
            requests = revise(transaction, requests, failures)?;
        }
        let explanation = Some(format!("the ruleset changed during each of {ATTEMPTS} attempts"));
        Err(Error { errno: libc::EAGAIN, position: None, what: "commit nftables transaction".to_owned(), explanation })
    }
}

/// One message of a batch.
#[derive(Debug)]
struct Request {
    /// Position in the transaction of the change it belongs to.
    position: usize,
    message: Message,
    on_refusal: OnRefusal,
}

/// What to do about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnRefusal {
    /// The transaction is refused.
    Fail,
    /// A deletion of something that is missing is left out.
    LeaveOutIfMissing,
    /// Before an addition of something that is there, it is deleted.
    DeleteIfPresent,
}

fn requests(transaction: &Transaction) -> Result<Vec<Request>, Error> {
    let requests = transaction.changes.iter().enumerate().map(|(position, change)| {
        let on_refusal = match change {
            Change::AddElement { existing: Existing::Replaced, .. } => OnRefusal::DeleteIfPresent,
            change if change.missing_ok() => OnRefusal::LeaveOutIfMissing,
            _ => OnRefusal::Fail,
        };
        Ok(Request { position, message: encode(change, position)?, on_refusal })
    });
    requests.collect()
}

/// The requests of the next attempt: without those that need not be carried out, and with deletions of what is in the way.
fn revise(
    transaction: &Transaction,
    requests: Vec<Request>,
    failures: Vec<AtomicFailure>,
) -> Result<Vec<Request>, Error> {
    let mut failed = BTreeSet::new();
    for AtomicFailure { index, error } in failures {
        let request = index.and_then(|index| requests.get(index));
        let revisable = match request.map(|request| request.on_refusal) {
            Some(OnRefusal::LeaveOutIfMissing) => error.errno == libc::ENOENT,
            Some(OnRefusal::DeleteIfPresent) => matches!(error.errno, libc::EEXIST | libc::EBUSY),
            Some(OnRefusal::Fail) | None => false,
        };
        match index.filter(|_| revisable) {
            Some(index) => _ = failed.insert(index),
            None => {
                let position = request.map(|request| request.position);
                let change = position.and_then(|position| transaction.changes.get(position));
                let what = change.map_or_else(|| error.what.clone(), ToString::to_string);
                return Err(Error::refused(position, what, error));
            }
        }
    }
    let mut revised = Vec::with_capacity(requests.len());
    for (index, request) in requests.into_iter().enumerate() {
        if !failed.contains(&index) {
            revised.push(request);
        } else if request.on_refusal == OnRefusal::DeleteIfPresent {
            revised.extend(deletion(transaction, request.position)?);
            revised.push(request);
        }
    }
    Ok(revised)
}

/// The deletion of the element that is in the way of the one that a change adds.
fn deletion(transaction: &Transaction, position: usize) -> Result<Option<Request>, Error> {
    let Some(Change::AddElement { table, set, element, .. }) = transaction.changes.get(position) else {
        return Ok(None);
    };
    let (table, set, key) = (table.clone(), set.clone(), element.key.clone());
    let message = encode(&Change::DeleteElement { table, set, key, missing_ok: true }, position)?;
    Ok(Some(Request { position, message, on_refusal: OnRefusal::LeaveOutIfMissing }))
}

fn encode(change: &Change, position: usize) -> Result<Message, Error> {
    change.encode(position).map_err(|reason| Error {
        errno: libc::EINVAL,
        position: Some(position),
        what: change.to_string(),
        explanation: Some(reason),
    })
}
