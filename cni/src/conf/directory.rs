//! Configurations on disk, in the order the reference library looks at them: lists (`.conflist`) before single
//! configurations (`.conf`, `.json`), each group by name.
//!
//! One thing differs on purpose: a file that cannot be read spoils only its own network, not every other one. The
//! reference gives up at the first of them.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::{NetworkList, PluginConf, list};
use crate::error::Error;
use crate::gojson;

/// Largest configuration file read, in bytes. Real ones are a thousandth of it.
const LARGEST: u64 = 4 << 20;

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Directory {
    /// The readable networks, in order of preference.
    pub networks: Vec<(PathBuf, NetworkList)>,
    /// The files that could not be used, and why.
    pub broken: Vec<(PathBuf, Error)>,
}

/// Reads every configuration of a directory. A missing directory is an empty one.
///
/// # Errors
/// Code 5 when the directory cannot be listed.
pub fn load(directory: &Path) -> Result<Directory, Error> {
    let mut found = Directory::default();
    for extensions in [&["conflist"][..], &["conf", "json"]] {
        for path in files(directory, extensions)? {
            match load_file(&path) {
                Ok(network) => found.networks.push((path, network)),
                Err(error) => found.broken.push((path, error)),
            }
        }
    }
    Ok(found)
}

/// The first network of a directory that has this name.
///
/// # Errors
/// Code 7 when there is none, naming the files that could not be read (it may be in one of them); 5 when the directory
/// cannot be listed.
pub fn find(directory: &Path, name: &str) -> Result<NetworkList, Error> {
    let found = load(directory)?;
    if let Some((_, network)) = found.networks.into_iter().find(|(_, network)| network.name == name) {
        return Ok(network);
    }
    let error = Error::config(format!("no network configuration named {name:?} in {}", directory.display()));
    let broken: Vec<String> = found.broken.iter().map(|(_, error)| error.to_string()).collect();
    Err(error.with_details(broken.join("; ")))
}

/// Reads one file and, unless it forbids that, appends the plugins of the directory named after its network beside it.
///
/// # Errors
/// Code 5 when a file cannot be read, else as [`NetworkList::from_value`]; the message names the file.
pub fn load_file(path: &Path) -> Result<NetworkList, Error> {
    let named = |error: Error| error.context(path.display());
    let value = list::parse(&read(path)?).map_err(named)?;
    let mut network = NetworkList::from_value_or_directory(value, None).map_err(named)?;
    if !network.load_only_inlined_plugins {
        let chained = chained(path, &network)?;
        network.plugins.extend(chained);
    }
    if network.plugins.is_empty() {
        return Err(named(Error::config(format!("network {:?} has no plugins", network.name))));
    }
    Ok(network)
}

/// The plugins in `<directory of the file>/<network>/*.conf`, by file name. The network's name has been checked, so
/// that the directory is a real child.
fn chained(file: &Path, network: &NetworkList) -> Result<Vec<PluginConf>, Error> {
    let directory = file.parent().unwrap_or(Path::new(".")).join(&network.name);
    let load = |path: PathBuf| {
        let conf = list::parse(&read(&path)?).and_then(gojson::from_value);
        let conf = conf.and_then(|object| PluginConf::from_listed(object, network.cni_version));
        conf.map_err(|error| error.context(path.display()))
    };
    files(&directory, &["conf"])?.into_iter().map(load).collect()
}

/// The regular files of a directory (links followed) with one of these extensions, by name. A missing directory has
/// none.
///
/// # Errors
/// Code 5 when the directory cannot be listed.
pub fn files(directory: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, Error> {
    let failed = |cause: std::io::Error| Error::io(directory.display(), &cause);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(cause) => return Err(failed(cause)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if extensions.contains(&extension) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let result = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text));
    match result {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length <= LARGEST) => Ok(text),
        Ok(_) => Err(Error::config(format!("{}: larger than {LARGEST} bytes", path.display()))),
        Err(cause) => Err(Error::io(path.display(), &cause)),
    }
}
