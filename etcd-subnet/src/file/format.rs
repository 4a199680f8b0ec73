//! The text of a lease file and what its modification time means.

use crate::lease::{Attributes, SubnetKey};
use serde::Deserialize;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

/// A lease as its file tells it.
#[derive(Debug, Clone)]
pub(super) struct FileLease {
    pub(super) key: SubnetKey,
    /// None: the text cannot be read.
    pub(super) attributes: Option<Attributes>,
    /// None: never.
    pub(super) expires: Option<SystemTime>,
    pub(super) stamp: Stamp,
}

impl FileLease {
    /// Whether the lease has run out.
    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// Tells whether a file has been changed: its identity, size and time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { inode: metadata.ino(), size: metadata.size(), modified: metadata.modified().ok() }
    }

    /// When a lease of `ttl` seconds with this stamp runs out.
    pub(super) fn expires(&self, ttl: Option<u64>) -> Option<SystemTime> {
        self.modified?.checked_add(Duration::from_secs(ttl?))
    }
}

/// The field a lease has in a file and not in etcd.
#[derive(Deserialize)]
struct Term {
    #[serde(rename = "TTL", default)]
    ttl: Option<u64>,
}

/// The text of a lease that lasts `ttl` (none: for ever).
pub(super) fn text(attributes: &Attributes, ttl: Option<Duration>) -> String {
    let mut text = attributes.to_json();
    if let Some(ttl) = ttl
        && text.pop() == Some('}')
    {
        text.push_str(&format!(",\"TTL\":{}}}", ttl.as_secs()));
    }
    text.push('\n');
    text
}

/// The lease of `key` from the text of its file.
pub(super) fn parse(key: SubnetKey, text: &[u8], stamp: Stamp) -> Result<FileLease, serde_json::Error> {
    let attributes = Attributes::from_json(text)?;
    let term: Term = serde_json::from_slice(text)?;
    Ok(FileLease { key, attributes: Some(attributes), expires: stamp.expires(term.ttl), stamp })
}
