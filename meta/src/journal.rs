//! The journal: what has been done for an attachment, written before it is done.
//!
//! One file per container, interface, network and plugin, created whole by rename before the first operation. It holds
//! every operation with its undo, the configuration the delegates were called with and the result, so that a DEL, a
//! GC and the recovery after a crash need nothing else: the API server, the NAD, the pod and its namespace may be gone.
//!
//! No fsync here (1.7 ms on an ordinary disk): a killed process loses no page cache, and after a power cut no sandbox
//! is alive, so that what an entry of an earlier boot owes are releases only. A damaged entry is an error of its own
//! ([`JournalError::Damaged`]), never taken for an absent one.

use net::op::Step;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The version of the format below. A reader of a newer format reads this one.
const FORMAT: u32 = 1;
const OPEN: &str = "plexus-journal 1 open\n";
const DONE: &str = "plexus-journal 1 done\n";
/// Where in the first line the state stands: rewritten in place, four bytes in one write.
const STATE_AT: u64 = 17;

/// What identifies an entry. All parts are validated: none holds a slash or a colon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// The network's name in the configuration on stdin.
    pub network: String,
    /// The plugin that was called: the meta-plugin, or a bundled one by its own name.
    pub plugin: String,
}

/// The pod, as the runtime named it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodName {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// UID of the pod; empty when the runtime did not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

impl From<&crate::source::PodKey> for PodName {
    fn from(key: &crate::source::PodKey) -> Self {
        Self { namespace: key.namespace.clone(), name: key.name.clone(), uid: key.uid.clone().unwrap_or_default() }
    }
}

/// One attachment: one network of the pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attached {
    /// Name as the network-status shows it.
    pub name: String,
    /// Interface inside the pod.
    pub ifname: String,
    /// The plugins' configurations, as they were called.
    pub plugins: Vec<Value>,
    /// The result in the newest form, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

/// All that is known of one ADD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// What the entry is about.
    pub key: Key,
    /// The boot in which it was written: of an earlier one, no namespace or link is left.
    pub boot_id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// The sandbox's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<PathBuf>,
    /// The pod, if the runtime named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodName>,
    /// The networks, the cluster's default one first.
    pub attachments: Vec<Attached>,
    /// The operations, in the order in which they are applied.
    pub steps: Vec<Step>,
    /// The network-status of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
}

/// How far the ADD of an entry has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was interrupted, or is under way: any of its operations may or may not have been done.
    Open,
    /// All of its operations have been done.
    Done,
}

/// An entry as it was found, and how far its ADD has come.
pub type Loaded = (Entry, State);

/// Why the journal could not be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The entry is there but cannot be understood.
    #[error("journal entry {} is damaged ({what})", path.display())]
    Damaged {
        /// The entry's file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file system said no.
    #[error("cannot {action} journal entry {}: {source}", path.display())]
    Io {
        /// `read`, `write`, …
        action: &'static str,
        /// The entry's file.
        path: PathBuf,
        /// The errno behind it.
        source: io::Error,
    },
}

/// The entries below one directory.
#[derive(Debug, Clone)]
pub struct Journal {
    directory: PathBuf,
}

impl Journal {
    /// The journal below the plugin's state directory (`cniDir`). Nothing is created before the first entry.
    pub fn new(state: &Path) -> Self {
        Self { directory: state.join("journal") }
    }

    /// The file of an entry.
    pub fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(format!("{}:{}:{}:{}", key.container, key.ifname, key.network, key.plugin))
    }

    /// The entry and how far it has come; none when there is nothing to undo.
    ///
    /// # Errors
    /// An entry that cannot be read or understood.
    pub fn load(&self, key: &Key) -> Result<Option<Loaded>, JournalError> {
        read(&self.path(key))
    }

    /// Writes an entry that is about to be carried out, in place of an earlier form of it.
    ///
    /// # Errors
    /// A directory that cannot be written: full, read-only.
    pub fn write(&self, entry: &Entry) -> Result<(), JournalError> {
        let path = self.path(&entry.key);
        let io = |source| JournalError::Io { action: "write", path: path.clone(), source };
        let json = serde_json::to_string(entry).map_err(|error| io(io::Error::other(error)))?;
        let text = format!("{OPEN}{json}\n");
        let (text, mode) = (text.as_bytes(), 0o600);
        let written = match net::file::create_whole(&path, text, mode) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&self.directory).map_err(io)?;
                net::file::create_whole(&path, text, mode)
            }
            // an earlier form of the same entry, from before a foreign plugin was executed
            Err(error) if error.exists() => net::file::replace_whole(&path, text, mode),
            written => written,
        };
        written.map_err(|error| io(error.source))
    }

    /// Marks an entry as carried out.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn mark_done(&self, key: &Key) -> Result<(), JournalError> {
        let path = self.path(key);
        let state = DONE.get(usize::try_from(STATE_AT).unwrap_or_default()..).unwrap_or_default().trim_end();
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.write_all_at(state.as_bytes(), STATE_AT))
            .map_err(|source| JournalError::Io { action: "write", path, source })
    }

    /// Removes an entry, after everything it knows of has been undone, and what a killed writer left of it.
    ///
    /// # Errors
    /// A directory that cannot be written.
    pub fn remove(&self, key: &Key) -> Result<(), JournalError> {
        let path = self.path(key);
        match net::file::remove_replaced(&path) {
            Ok(_) => Ok(()),
            Err(error) => Err(JournalError::Io { action: "remove", path, source: error.source }),
        }
    }

    /// Every entry, in the order of their files' names; damaged ones as errors in their place.
    ///
    /// # Errors
    /// A directory that cannot be listed. A missing one is an empty journal.
    pub fn entries(&self) -> Result<Vec<Result<Loaded, JournalError>>, JournalError> {
        let listing = match std::fs::read_dir(&self.directory) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(JournalError::Io { action: "list", path: self.directory.clone(), source }),
        };
        let mut paths: Vec<_> = listing
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            // temporary files of a writer hold no colon-separated key of four parts
            .filter(|path| {
                path.file_name().is_some_and(|name| {
                    name.to_string_lossy().split(':').count() == 4 && !name.to_string_lossy().starts_with('.')
                })
            })
            .collect();
        paths.sort();
        Ok(paths.iter().filter_map(|path| read(path).transpose()).collect())
    }
}

fn read(path: &Path) -> Result<Option<Loaded>, JournalError> {
    let damaged = |what: String| JournalError::Damaged { path: path.to_owned(), what };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(JournalError::Io { action: "read", path: path.to_owned(), source }),
    };
    let (state, json) = if let Some(json) = bytes.strip_prefix(OPEN.as_bytes()) {
        (State::Open, json)
    } else if let Some(json) = bytes.strip_prefix(DONE.as_bytes()) {
        (State::Done, json)
    } else {
        return Err(damaged("its first line is not a journal's".into()));
    };
    let entry: Entry = serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))?;
    if entry.format > FORMAT {
        return Err(damaged(format!("its format {} is newer than {FORMAT}: run the newer plexus", entry.format)));
    }
    Ok(Some((entry, state)))
}

/// What tells this boot from every other.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl Entry {
    /// An entry with nothing done yet.
    pub fn new(key: Key, netns: Option<PathBuf>, pod: Option<PodName>) -> Self {
        Self {
            format: FORMAT,
            key,
            boot_id: boot_id(),
            created: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            netns,
            pod,
            attachments: Vec::new(),
            steps: Vec::new(),
            status: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key { container: "c1".into(), ifname: "eth0".into(), network: "demo".into(), plugin: "plexus".into() }
    }

    #[test]
    fn an_entry_is_open_until_it_is_marked_done_and_then_gone_when_removed() {
        let state = tempfile::tempdir().unwrap();
        let journal = Journal::new(state.path());
        assert!(journal.load(&key()).unwrap().is_none());
        let entry = Entry::new(key(), Some("/run/netns/x".into()), None);
        journal.write(&entry).unwrap();
        assert_eq!(journal.load(&key()).unwrap(), Some((entry.clone(), State::Open)));
        journal.mark_done(&key()).unwrap();
        assert_eq!(journal.load(&key()).unwrap(), Some((entry, State::Done)));
        assert_eq!(journal.entries().unwrap().len(), 1);
        journal.remove(&key()).unwrap();
        assert!(journal.load(&key()).unwrap().is_none());
        assert_eq!(std::fs::read_dir(state.path().join("journal")).unwrap().count(), 0);
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let state = tempfile::tempdir().unwrap();
        Journal::new(state.path()).remove(&key()).unwrap();
    }

    #[test]
    fn a_damaged_entry_is_never_taken_for_an_absent_one() {
        let state = tempfile::tempdir().unwrap();
        let journal = Journal::new(state.path());
        journal.write(&Entry::new(key(), None, None)).unwrap();
        let whole = std::fs::read(journal.path(&key())).unwrap();
        for cut in [0, 5, OPEN.len(), whole.len() / 2] {
            std::fs::write(journal.path(&key()), &whole[..cut]).unwrap();
            let error = journal.load(&key()).unwrap_err();
            assert!(matches!(error, JournalError::Damaged { .. }), "{cut}: {error}");
        }
        assert!(journal.entries().unwrap()[0].is_err());
    }

    #[test]
    fn an_entry_of_a_newer_format_says_so() {
        let state = tempfile::tempdir().unwrap();
        let journal = Journal::new(state.path());
        let mut entry = Entry::new(key(), None, None);
        entry.format = FORMAT + 1;
        journal.write(&entry).unwrap();
        assert!(journal.load(&key()).unwrap_err().to_string().contains("newer"));
    }
}
