//! nftables transactions and connection tracking, as operations of a plan.

use super::errors::StepError;
use super::site::Site;
use crate::conntrack::{self, Connections};
use crate::nft::rulesets::owner_comment;
use crate::nft::{self, Change, Family, Transaction};

/// Commits a transaction. When what it builds on is missing, its foundation is laid and it is committed once more: the first
/// pod of a network pays for the chains, the others for one element.
pub(super) fn commit(
    site: &mut Site,
    transaction: &Transaction,
    foundation: Option<&Transaction>,
) -> Result<(), StepError> {
    let socket = site.nft()?;
    match (socket.commit(transaction), foundation) {
        (Err(error), Some(foundation)) if error.is_missing() => {
            socket.commit(foundation)?;
            Ok(socket.commit(transaction)?)
        }
        (result, _) => Ok(result?),
    }
}

/// Commits deletions, but of elements only those that carry the owner's comment: an ADD that was refused because somebody else
/// has the port must not take it from them when it is undone.
pub(super) fn commit_own(site: &mut Site, transaction: &Transaction, owner: Option<&str>) -> Result<(), StepError> {
    let socket = site.nft()?;
    let Some(owner) = owner else { return ignore_missing(socket.commit(transaction)) };
    let mut own = Transaction::default();
    for change in &transaction.changes {
        let is_ours = match change {
            Change::DeleteElement { table, set, key, .. } => match socket.owner(table, set, key) {
                Ok(comment) => comment.as_deref() == Some(owner_comment(owner)),
                Err(error) if error.is_missing() => false,
                Err(error) => return Err(error.into()),
            },
            _ => true,
        };
        if is_ours {
            own.changes.push(change.clone());
        }
    }
    if own.is_empty() { Ok(()) } else { ignore_missing(socket.commit(&own)) }
}

/// Drops connection-tracking entries of a port of the node, of both versions of IP.
pub(super) fn forget_connections(site: &mut Site, protocol: u8, port: u16) -> Result<(), StepError> {
    let connections = Connections { protocol, port, family: Family::Inet };
    conntrack::delete(site.nft()?.netlink(), connections)?;
    Ok(())
}

fn ignore_missing(result: Result<(), nft::Error>) -> Result<(), StepError> {
    match result {
        Err(error) if error.is_missing() => Ok(()),
        result => Ok(result?),
    }
}
