//! Reading and writing the directory. Whoever writes holds the lock from reading to writing, so that nothing it decided on can change under it.

use super::format::{self, FileLease, Stamp};
use crate::allocate::{self, Choice, Entry};
use crate::lease::{Attributes, Lease, SubnetKey};
use crate::manager::{AcquireRequest, Error, StoredConfig};
use crate::skipped::Skipped;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What temporary files begin with; any that exists while the lock is held was left by somebody who was killed.
const TEMPORARY: &str = ".new-";

/// The directory of one network.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) directory: PathBuf,
    pub(super) ttl: Duration,
    pub(super) skipped: Skipped,
}

/// Lets go of the lock when dropped, as closing a file does.
struct Lock(#[allow(dead_code, reason = "held, not read")] File);

impl Store {
    /// The store's name in messages.
    pub(super) fn name(&self) -> String {
        format!("directory {}", self.directory.display())
    }

    pub(super) fn config(&self) -> PathBuf {
        self.directory.join("config")
    }

    pub(super) fn subnets(&self) -> PathBuf {
        self.directory.join("subnets")
    }

    pub(super) fn read_config(&self) -> Result<Option<StoredConfig>, Error> {
        match fs::read_to_string(self.config()) {
            Ok(text) => Ok(Some(StoredConfig { text, version: 0 })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &self.config(), &error)),
        }
    }

    /// The version of a configuration is its text: whoever replaces it has seen that.
    pub(super) fn write_config(&self, text: &str, replaces: Option<&StoredConfig>) -> Result<bool, Error> {
        let _lock = self.lock()?;
        if self.read_config()?.map(|stored| stored.text) != replaces.map(|stored| stored.text.clone()) {
            return Ok(false);
        }
        self.replace(&self.config(), &format!("{}\n", text.trim_end()))?;
        Ok(true)
    }

    pub(super) fn acquire(&self, request: &AcquireRequest) -> Result<Lease, Error> {
        let _lock = self.lock()?;
        let now = SystemTime::now();
        let (over, leases): (Vec<_>, Vec<_>) = self.list()?.into_iter().partition(|lease| lease.is_over(now));
        for lease in over {
            self.remove(lease.key)?;
        }
        let entries: Vec<Entry> = leases.into_iter().map(entry).collect();
        let decision = allocate::decide(request, &entries, allocate::random());
        for stale in decision.stale {
            self.remove(stale.key)?;
        }
        match decision.choice {
            None => Err(allocate::exhausted(&request.pool)),
            Some(Choice::Reuse(entry)) => self.put(entry.key, &request.attributes, entry.reserved),
            Some(Choice::Create(subnet)) => self.put(subnet.into(), &request.attributes, false),
        }
    }

    pub(super) fn renew(&self, lease: &Lease) -> Result<Lease, Error> {
        let _lock = self.lock()?;
        let key = lease.key();
        match self.read(key)? {
            None => self.put(key, &lease.attributes, false),
            Some(present) if present.attributes.as_ref() == Some(&lease.attributes) && present.expires.is_some() => {
                self.prolong(key, lease)
            }
            Some(present) if is_same_node(&present, lease) => {
                self.put(key, &lease.attributes, present.expires.is_none())
            }
            // somebody else's that has run out is nobody's
            Some(present) if present.is_over(SystemTime::now()) => self.put(key, &lease.attributes, false),
            Some(_) => Err(Error::Lost(key)),
        }
    }

    pub(super) fn release(&self, lease: &Lease) -> Result<(), Error> {
        let _lock = self.lock()?;
        match self.read(lease.key())? {
            Some(present) if is_same_node(&present, lease) && present.expires.is_some() => self.remove(present.key),
            _ => Ok(()),
        }
    }

    /// All leases, those that have run out included. Names that are no leases' are passed over.
    pub(super) fn list(&self) -> Result<Vec<FileLease>, Error> {
        let directory = self.subnets();
        let names = fs::read_dir(&directory).map_err(|error| failed("list", &directory, &error))?;
        let mut leases = Vec::new();
        for name in names {
            let name = name.map_err(|error| failed("list", &directory, &error))?.file_name();
            let Some(key) = self.key(&name.to_string_lossy()) else { continue };
            match self.read(key) {
                Ok(lease) => leases.extend(lease),
                // one bad file must not keep nodes from their subnets; its own counts as taken
                Err(error) => {
                    self.skipped.note(&self.lease(key).to_string_lossy(), &error);
                    leases.push(FileLease { key, attributes: None, expires: None, stamp: Stamp::default() });
                }
            }
        }
        Ok(leases)
    }

    /// Which lease a file is; hidden files are nobody's business.
    pub(super) fn key(&self, name: &str) -> Option<SubnetKey> {
        if name.starts_with('.') {
            return None;
        }
        name.parse().map_err(|error| self.skipped.note(&self.subnets().join(name).to_string_lossy(), &error)).ok()
    }

    /// Reads one lease; none if there is no such file.
    pub(super) fn read(&self, key: SubnetKey) -> Result<Option<FileLease>, Error> {
        let path = self.lease(key);
        let opened = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        self.parse(key, opened, &path).map_err(|error| failed("read", &path, &error))
    }

    fn parse(&self, key: SubnetKey, mut file: File, path: &Path) -> io::Result<Option<FileLease>> {
        let stamp = Stamp::of(&file.metadata()?);
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(Some(format::parse(key, &text, stamp).unwrap_or_else(|error| {
            // empty: somebody is about to write it by hand
            if !text.is_empty() {
                self.skipped.note(&path.to_string_lossy(), &error);
            }
            FileLease { key, attributes: None, expires: None, stamp }
        })))
    }

    pub(super) fn lease(&self, key: SubnetKey) -> PathBuf {
        self.subnets().join(key.to_string())
    }

    fn put(&self, key: SubnetKey, attributes: &Attributes, reserved: bool) -> Result<Lease, Error> {
        let ttl = (!reserved).then_some(self.ttl);
        self.replace(&self.lease(key), &format::text(attributes, ttl))?;
        Ok(Lease {
            subnet: key.subnet,
            subnet6: key.subnet6,
            attributes: attributes.clone(),
            expires: ttl.and_then(|ttl| SystemTime::now().checked_add(ttl)),
        })
    }

    /// Begins the term of a lease anew by its file's time; the contents stay.
    fn prolong(&self, key: SubnetKey, lease: &Lease) -> Result<Lease, Error> {
        let path = self.lease(key);
        let touched = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        touched.map_err(|error| failed("renew", &path, &error))?;
        let renewed = self.read(key)?.and_then(|lease| lease.expires);
        Ok(Lease { expires: renewed, ..lease.clone() })
    }

    fn remove(&self, key: SubnetKey) -> Result<(), Error> {
        let path = self.lease(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, &error)),
            _ => Ok(()),
        }
    }

    /// Takes the lock, waiting for whoever has it, and clears away what a killed writer left.
    fn lock(&self) -> Result<Lock, Error> {
        let subnets = self.subnets();
        fs::create_dir_all(&subnets).map_err(|error| failed("make", &subnets, &error))?;
        let path = self.directory.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.and_then(|file| file.lock().map(|()| file)).map_err(|error| failed("lock", &path, &error))?;
        for entry in fs::read_dir(&self.directory).map_err(|error| failed("list", &self.directory, &error))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                // a left-over that stays does no harm
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Lock(file))
    }

    /// Puts a whole file in place, also over an older one. Only under the lock.
    fn replace(&self, path: &Path, contents: &str) -> Result<(), Error> {
        let temporary = self.directory.join(format!("{TEMPORARY}{}", std::process::id()));
        let written = (|| {
            let mut file = File::create(&temporary)?;
            file.write_all(contents.as_bytes())?;
            // after a power cut there is the old file or the new one, not an empty one
            file.sync_all()?;
            fs::rename(&temporary, path)
        })();
        if written.is_err() {
            // the error of the write is the one to tell
            let _ = fs::remove_file(&temporary);
        }
        written.map_err(|error| failed("write", path, &error))
    }
}

/// Whether a lease that its holder wants to renew is still the holder's: it has the same public address, or (when that is what has changed)
/// the same data, in which the MAC of the holder's own device is.
fn is_same_node(present: &FileLease, lease: &Lease) -> bool {
    let ours = &lease.attributes;
    let data = |attributes: &Attributes| attributes.backend_data.as_ref().map(|data| data.get().to_owned());
    present.attributes.as_ref().is_some_and(|attributes| {
        attributes.public_ip == ours.public_ip || (ours.backend_data.is_some() && data(attributes) == data(ours))
    })
}

fn entry(lease: FileLease) -> Entry {
    Entry { key: lease.key, reserved: lease.expires.is_none(), attributes: lease.attributes, version: 0 }
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> Error {
    Error::Store { store: format!("{verb} {}", path.display()), reason: error.to_string() }
}
