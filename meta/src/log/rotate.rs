//! Rotation of the log file. A plugin call is short, so a file that has grown too large is moved aside when the next
//! call opens it; Multus' `logOptions`, which its own thin plugin never gets to apply.

use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `logOptions` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogOptions {
    /// Days after which a file that was moved aside is removed; 0 keeps it.
    pub max_age: u64,
    /// Megabytes at which the file is moved aside.
    pub max_size: u64,
    /// How many files that were moved aside are kept; 0 keeps all.
    pub max_backups: usize,
    /// Whether files that were moved aside are compressed. Refused when it is asked for.
    pub compress: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { max_age: 5, max_size: 100, max_backups: 5, compress: false }
    }
}

/// Moves a file that has grown too large aside, as `<name>.<seconds since 1970>`, and removes what is too old or too
/// much of those. A log that cannot be rotated goes on growing; nothing depends on it.
pub(super) fn rotate(path: &Path, options: &LogOptions, now: SystemTime) {
    let limit = options.max_size.max(1).saturating_mul(1 << 20);
    if fs::metadata(path).is_ok_and(|file| file.len() >= limit) {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{seconds}"));
        let _goes_on_growing = fs::rename(path, PathBuf::from(aside));
        prune(path, options, seconds);
    }
}

fn prune(path: &Path, options: &LogOptions, now: u64) {
    let age = Duration::from_secs(options.max_age.saturating_mul(24 * 3600)).as_secs();
    for (position, (moved, file)) in aside(path).into_iter().rev().enumerate() {
        let too_many = options.max_backups != 0 && position >= options.max_backups;
        let too_old = age != 0 && now.saturating_sub(moved) > age;
        if too_many || too_old {
            let _tried_again_next_time = fs::remove_file(file);
        }
    }
}

/// The files that were moved aside, oldest first.
fn aside(path: &Path) -> Vec<(u64, PathBuf)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let moved = entry.file_name().to_string_lossy().strip_prefix(&prefix)?.parse().ok()?;
            Some((moved, entry.path()))
        })
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_file_below_its_limit_stays() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("plexus.log");
        fs::write(&log, "short").unwrap();
        rotate(&log, &LogOptions::default(), at(1000));
        assert_eq!(names(directory.path()), ["plexus.log"]);
    }

    #[test]
    fn a_large_file_is_moved_aside_and_the_oldest_and_the_surplus_go() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("plexus.log");
        let day = 24 * 3600;
        let now = 100 * day;
        for moved in [now - 9 * day, now - 3 * day, now - 2 * day, now - day] {
            fs::write(directory.path().join(format!("plexus.log.{moved}")), "").unwrap();
        }
        fs::write(directory.path().join("plexus.log.notes"), "somebody else's").unwrap();
        fs::write(&log, vec![b'x'; 1 << 20]).unwrap();
        rotate(&log, &LogOptions { max_age: 5, max_size: 1, max_backups: 3, compress: false }, at(now));
        let expected =
            [format!("plexus.log.{}", now - 2 * day), format!("plexus.log.{}", now - day), format!("plexus.log.{now}")];
        let mut expected: Vec<_> = expected.into_iter().chain(["plexus.log.notes".to_owned()]).collect();
        expected.sort();
        assert_eq!(names(directory.path()), expected);
    }
}
