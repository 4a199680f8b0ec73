//! The MAC address of a network's VXLAN device, kept across link loss, restarts and reboots.
//!
//! Peers send to the MAC in our lease. A device that comes back with another one is dead until every peer has read the
//! new lease, so the first choice is written down and stays, together with the public address it was published under: a
//! node that starts under another address gets another lease, and must not carry the MAC of the one that still stands in the
//! store, nor may a clone of a machine carry the original's. The file is one line: `<mac> <address>`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use net::Mac;

/// The file that remembers the MAC of one network's device.
#[derive(Debug, Clone)]
pub struct Identity {
    path: PathBuf,
}

/// The MAC could not be read, made or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The state file cannot be read or written.
    #[error("mac address file {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// No random bytes.
    #[error("no random bytes for a mac address: {0}")]
    Random(io::Error),
}

impl Identity {
    /// The file for `vni` below `directory`, which is made when missing.
    #[must_use]
    pub fn new(directory: &Path, vni: u32) -> Self {
        Identity { path: directory.join(format!("{vni}.mac")) }
    }

    /// The MAC to use under the address `public`: the remembered one, else `found` (an existing device's), else a new random one.
    /// Whichever it is, it is remembered if that is possible; if not, the reason is returned beside it. A damaged file counts as missing.
    ///
    /// # Errors
    /// Only when there are no random bytes.
    pub fn choose(&self, found: Option<Mac>, public: Ipv4Addr) -> Result<(Mac, Option<IdentityError>), IdentityError> {
        let mut candidate = found.filter(|mac| mac.is_unicast() && *mac != Mac::default());
        let mut unreadable = None;
        match self.read() {
            Ok(Some((mac, address))) if address == public => return Ok((mac, None)),
            Ok(Some((mac, _))) => candidate = candidate.filter(|found| *found != mac),
            Ok(None) => {}
            Err(error) => unreadable = Some(error),
        }
        let mac = match candidate {
            Some(mac) => mac,
            None => random().map_err(IdentityError::Random)?,
        };
        Ok((mac, unreadable.or(self.keep(mac, public).err())))
    }

    /// Remembers the MAC, which from now on is published under the address `public`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&self, mac: Mac, public: Ipv4Addr) -> Result<(), IdentityError> {
        self.write(mac, public).map_err(|error| self.error(error))
    }

    fn read(&self) -> Result<Option<(Mac, Ipv4Addr)>, IdentityError> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(text
                .trim()
                .split_once(' ')
                .and_then(|(mac, public)| Some((mac.parse().ok()?, public.trim().parse().ok()?)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error(error)),
        }
    }

    fn write(&self, mac: Mac, public: Ipv4Addr) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let new = self.path.with_extension("mac.new");
        let mut file = File::create(&new)?;
        writeln!(file, "{mac} {public}")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }

    fn error(&self, error: io::Error) -> IdentityError {
        IdentityError::File { path: self.path.clone(), error }
    }
}

fn random() -> io::Result<Mac> {
    let mut bytes = [0; 6];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Mac::random_local(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const HERE: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 1);
    const THERE: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 2);

    #[test]
    fn the_first_choice_stays() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::new(&directory.path().join("overlay"), 1);
        let first = identity.choose(None, HERE).unwrap().0;
        assert!(first.is_unicast());
        assert_eq!(identity.choose(Some(FOUND), HERE).unwrap().0, first);
        assert_ne!(Identity::new(directory.path(), 2).choose(None, HERE).unwrap().0, first);
    }

    #[test]
    fn the_mac_of_an_existing_device_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Identity::new(directory.path(), 1).choose(Some(FOUND), HERE).unwrap().0, FOUND);
        assert_ne!(Identity::new(directory.path(), 3).choose(Some(Mac::default()), HERE).unwrap().0, Mac::default());
    }

    #[test]
    fn a_node_that_starts_under_another_address_is_another_node() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::new(directory.path(), 1);
        let here = identity.choose(None, HERE).unwrap().0;
        let there = identity.choose(Some(here), THERE).unwrap().0;
        assert_ne!(here, there);
        assert_eq!(identity.choose(None, THERE).unwrap().0, there);
        identity.keep(there, HERE).unwrap();
        assert_eq!(identity.choose(None, HERE).unwrap().0, there, "it moved while it was running");
    }

    #[test]
    fn a_mac_that_cannot_be_kept_is_used_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let (mac, reason) = Identity::new(&file, 1).choose(Some(FOUND), HERE).unwrap();
        assert_eq!(mac, FOUND);
        assert!(reason.unwrap().to_string().contains("1.mac"));
    }

    #[test]
    fn a_damaged_file_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("1.mac"), "half a ma").unwrap();
        let identity = Identity::new(directory.path(), 1);
        assert_eq!(identity.choose(Some(FOUND), HERE).unwrap().0, FOUND);
        assert_eq!(identity.choose(None, HERE).unwrap().0, FOUND);
    }
}
