//! Taking a subnet: list, decide, write if nothing has changed since; otherwise begin anew.

use super::{Inner, Own, revision};
use crate::allocate::{self, ATTEMPTS, Choice, Entry};
use crate::lease::{Attributes, Lease, SubnetKey};
use crate::manager::{AcquireRequest, Error};
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};

impl Inner {
    pub(super) async fn acquire(&self, request: &AcquireRequest) -> Result<Lease, Error> {
        let mut grant = Grant { id: None };
        let acquired = self.acquire_with(request, &mut grant).await;
        self.give_up(grant, &acquired).await;
        acquired
    }

    async fn acquire_with(&self, request: &AcquireRequest, grant: &mut Grant) -> Result<Lease, Error> {
        for _ in 0..ATTEMPTS {
            let listing = self.list().await?;
            let decision = allocate::decide(request, &listing.entries, allocate::random());
            for stale in &decision.stale {
                tracing::info!(subnet = %stale.key, "deleting our old lease, which is not part of the network any more");
                self.delete(stale.key, stale.version).await?;
            }
            let written = match decision.choice {
                None => return Err(allocate::exhausted(&request.pool)),
                Some(Choice::Reuse(entry)) => self.overwrite(entry, &request.attributes, grant).await?,
                Some(Choice::Create(subnet)) => self.create(subnet.into(), &request.attributes, grant).await?,
            };
            if let Some(own) = written {
                return Ok(self.written(own, &request.attributes));
            }
        }
        Err(Error::Contended(ATTEMPTS))
    }

    /// Revokes what was granted for a write that never happened. After a failure of the store nobody knows whether it happened: revoking
    /// could then delete the very key that was written, so the grant is left to run out.
    pub(super) async fn give_up(&self, grant: Grant, result: &Result<Lease, Error>) {
        let uncertain = matches!(result, Err(Error::Store { .. } | Error::Settings { .. }));
        if let Some(unused) = grant.id.filter(|_| !uncertain) {
            self.revoke(unused).await;
        }
    }

    /// Writes our attributes over a lease that is ours already. A reservation stays one: no etcd lease is attached, so it never runs out.
    async fn overwrite(&self, entry: &Entry, attributes: &Attributes, grant: &mut Grant) -> Result<Option<Own>, Error> {
        let grant_id = if entry.reserved { 0 } else { grant.get(self).await? };
        let written = self.put(entry.key, Some(entry.version), attributes, grant_id).await?;
        if written.is_some() && !entry.reserved {
            grant.id = None;
        }
        Ok(written)
    }

    /// Writes a lease that does not exist. None: somebody else was faster.
    async fn create(&self, key: SubnetKey, attributes: &Attributes, grant: &mut Grant) -> Result<Option<Own>, Error> {
        let grant_id = grant.get(self).await?;
        let written = self.put(key, None, attributes, grant_id).await?;
        if written.is_some() {
            grant.id = None;
        }
        Ok(written)
    }

    /// Writes one lease if it still has the version seen (none: does not exist). None: it has not.
    pub(super) async fn put(
        &self,
        key: SubnetKey,
        seen: Option<i64>,
        attributes: &Attributes,
        grant: i64,
    ) -> Result<Option<Own>, Error> {
        let name = self.keys.lease(key);
        let value = attributes.to_json();
        // the rule above all: what flanneld could not read back is not written
        if Attributes::from_json(value.as_bytes()).ok().as_ref() != Some(attributes) {
            return Err(Error::Settings {
                store: format!("etcd key {name}"),
                reason: "its value would be unreadable".into(),
            });
        }
        let compare = match seen {
            Some(version) => Compare::mod_revision(name.clone(), CompareOp::Equal, version),
            None => Compare::version(name.clone(), CompareOp::Equal, 0),
        };
        let put = TxnOp::put(name, value, Some(PutOptions::new().with_lease(grant)));
        let answer = self.txn(Txn::new().when([compare]).and_then([put])).await?;
        Ok(answer.succeeded().then(|| Own { key, version: revision(answer.header()), grant }))
    }

    /// Deletes one lease if it still has the version seen.
    pub(super) async fn delete(&self, key: SubnetKey, version: i64) -> Result<bool, Error> {
        let name = self.keys.lease(key);
        let compare = Compare::mod_revision(name.clone(), CompareOp::Equal, version);
        Ok(self.txn(Txn::new().when([compare]).and_then([TxnOp::delete(name, None)])).await?.succeeded())
    }
}

/// The etcd lease of one acquisition: granted when first needed, kept over lost races.
pub(super) struct Grant {
    /// Granted and not attached to anything yet.
    pub(super) id: Option<i64>,
}

impl Grant {
    pub(super) async fn get(&mut self, inner: &Inner) -> Result<i64, Error> {
        match self.id {
            Some(id) => Ok(id),
            None => Ok(*self.id.insert(inner.grant().await?)),
        }
    }
}
