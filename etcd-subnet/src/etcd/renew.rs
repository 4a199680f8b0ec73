//! Renewing and giving back. flannel renews by writing over its key whatever is there; a node that comes back after its lease has run out
//! thereby takes a subnet away from its new owner. Here the write compares what it saw.

use super::acquire::Grant;
use super::{Inner, Own};
use crate::allocate::{ATTEMPTS, Entry};
use crate::lease::{Attributes, Lease, SubnetKey};
use crate::manager::Error;

impl Inner {
    pub(super) async fn renew(&self, lease: &Lease) -> Result<Lease, Error> {
        let mut grant = Grant { id: None };
        let renewed = self.renew_with(lease, &mut grant).await;
        self.give_up(grant, &renewed).await;
        renewed
    }

    async fn renew_with(&self, lease: &Lease, grant: &mut Grant) -> Result<Lease, Error> {
        let key = lease.key();
        let before = self.own(key);
        let mut seen = before.map(Seen::Ours);
        for _ in 0..ATTEMPTS {
            let state = match seen.take() {
                Some(state) => state,
                None => self.look(key, &lease.attributes).await?,
            };
            let (version, old) = match state {
                Seen::Ours(own) => (Some(own.version), own.grant),
                Seen::Nothing => (None, -1),
                Seen::Foreign => return Err(Error::Lost(key)),
            };
            let reservation = old == 0;
            let grant_id = if reservation { 0 } else { grant.get(self).await? };
            if let Some(own) = self.put(key, version, &lease.attributes, grant_id).await? {
                if !reservation {
                    grant.id = None;
                }
                // nothing hangs on the one before any more; only one that we granted ourselves is ours to end
                if old > 0 && old != grant_id && before.is_some_and(|own| own.grant == old) {
                    self.revoke(old).await;
                }
                return Ok(self.written(own, &lease.attributes));
            }
        }
        Err(Error::Contended(ATTEMPTS))
    }

    pub(super) async fn release(&self, lease: &Lease) -> Result<(), Error> {
        let key = lease.key();
        let own = match self.own(key) {
            Some(own) => Some(own),
            None => match self.look(key, &lease.attributes).await? {
                Seen::Ours(own) => Some(own),
                Seen::Nothing | Seen::Foreign => None,
            },
        };
        if let Some(own) = own.filter(|own| own.grant != 0) {
            self.delete(key, own.version).await?;
        }
        self.set_own(None);
        Ok(())
    }

    /// What stands under our key, when our last write is not known or has been overtaken. An entry with our public address is ours, perhaps from
    /// a write whose answer got lost.
    async fn look(&self, key: SubnetKey, ours: &Attributes) -> Result<Seen, Error> {
        let name = self.keys.lease(key);
        let got = self.connection.call(|mut client| {
            let name = name.clone();
            async move { client.get(name, None).await }
        });
        let got = got.await?;
        let Some(kv) = got.kvs().first() else { return Ok(Seen::Nothing) };
        Ok(match self.entry(kv) {
            Some(Entry { attributes: Some(present), version, .. }) if present.public_ip == ours.public_ip => {
                Seen::Ours(Own { key, version, grant: kv.lease() })
            }
            _ => Seen::Foreign,
        })
    }
}

/// What stands under our key.
enum Seen {
    /// Our lease.
    Ours(Own),
    /// Nothing: it ran out or was deleted.
    Nothing,
    /// Another node's lease, or something that cannot be read.
    Foreign,
}
