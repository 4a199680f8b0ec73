//! The listing of all leases: one range read, however many there are, and no question about anybody's time to live.

use super::client::LISTING_TIMEOUT;
use super::{Inner, revision};
use crate::allocate::Entry;
use crate::lease::{Attributes, SubnetKey};
use crate::manager::Error;
use etcd_client::{GetOptions, KeyValue};

/// All leases at one revision.
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
    pub(super) revision: i64,
}

impl Inner {
    /// Reads all leases. Keys that cannot be read are passed over; values that cannot be read leave an entry without attributes.
    pub(super) async fn list(&self) -> Result<Listing, Error> {
        let prefix = self.keys.leases();
        let got = self.connection.call_within(LISTING_TIMEOUT, |client| {
            let prefix = prefix.clone();
            // ten thousand leases are 2 MB, half of what the client takes by default
            let mut client = client.kv_client().max_decoding_message_size(usize::MAX);
            async move { client.get(prefix, Some(GetOptions::new().with_prefix())).await }
        });
        let got = got.await?;
        let entries = got.kvs().iter().filter_map(|kv| self.entry(kv)).collect();
        Ok(Listing { entries, revision: revision(got.header()) })
    }

    /// One lease as it stands; none if the key is no lease's.
    pub(super) fn entry(&self, kv: &KeyValue) -> Option<Entry> {
        let key = self.key(kv)?;
        let attributes = self.attributes(kv);
        Some(Entry { key, attributes, version: kv.mod_revision(), reserved: kv.lease() == 0 })
    }

    pub(super) fn key(&self, kv: &KeyValue) -> Option<SubnetKey> {
        match self.keys.parse(kv.key()) {
            Ok(key) => Some(key),
            Err(error) => {
                self.skipped.note(&String::from_utf8_lossy(kv.key()), &error);
                None
            }
        }
    }

    pub(super) fn attributes(&self, kv: &KeyValue) -> Option<Attributes> {
        match Attributes::from_json(kv.value()) {
            Ok(attributes) => Some(attributes),
            Err(error) => {
                self.skipped.note(&String::from_utf8_lossy(kv.key()), &error);
                None
            }
        }
    }
}
