//! The MAC address of a network's VXLAN device, kept across link loss, restarts and reboots.
//!
//! Peers send to the MAC in our lease. A device that comes back with another one is dead until every peer has read the
//! new lease, so the first choice is written down and stays. It is no secret and no state worth a format: one line.

use std::fs::{self, File};
use std::io::{self, Read, Write};
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

    /// The MAC to use: the remembered one, else `found` (an existing device's), else a new random one. Whichever it is, it is
    /// remembered if that is possible; if not, the reason is returned beside it. A damaged file counts as missing.
    ///
    /// # Errors
    /// Only when there are no random bytes.
    pub fn choose(&self, found: Option<Mac>) -> Result<(Mac, Option<IdentityError>), IdentityError> {
        let unreadable = match self.read() {
            Ok(Some(mac)) => return Ok((mac, None)),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let usable = |mac: &Mac| mac.is_unicast() && *mac != Mac::default();
        let mac = match found.filter(usable) {
            Some(mac) => mac,
            None => random().map_err(IdentityError::Random)?,
        };
        let unwritten = self.write(mac).map_err(|error| self.error(error)).err();
        Ok((mac, unreadable.or(unwritten)))
    }

    fn read(&self) -> Result<Option<Mac>, IdentityError> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error(error)),
        }
    }

    fn write(&self, mac: Mac) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let new = self.path.with_extension("mac.new");
        let mut file = File::create(&new)?;
        writeln!(file, "{mac}")?;
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

    #[test]
    fn the_first_choice_stays() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::new(&directory.path().join("overlay"), 1);
        let first = identity.choose(None).unwrap().0;
        assert!(first.is_unicast());
        assert_eq!(identity.choose(Some(FOUND)).unwrap().0, first);
        assert_ne!(Identity::new(directory.path(), 2).choose(None).unwrap().0, first);
    }

    #[test]
    fn the_mac_of_an_existing_device_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Identity::new(directory.path(), 1).choose(Some(FOUND)).unwrap().0, FOUND);
        assert_ne!(Identity::new(directory.path(), 3).choose(Some(Mac::default())).unwrap().0, Mac::default());
    }

    #[test]
    fn a_mac_that_cannot_be_kept_is_used_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let (mac, reason) = Identity::new(&file, 1).choose(Some(FOUND)).unwrap();
        assert_eq!(mac, FOUND);
        assert!(reason.unwrap().to_string().contains("1.mac"));
    }

    #[test]
    fn a_damaged_file_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("1.mac"), "half a ma").unwrap();
        let identity = Identity::new(directory.path(), 1);
        assert_eq!(identity.choose(Some(FOUND)).unwrap().0, FOUND);
        assert_eq!(identity.choose(None).unwrap().0, FOUND);
    }
}
