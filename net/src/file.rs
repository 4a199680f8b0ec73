//! Files that are there whole or not at all.
//!
//! A record that is created empty and filled later leaks when its writer is killed in between. Files here are written without a name
//! (`O_TMPFILE`) and then linked, so that a kill at any moment leaves either nothing or the finished file.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;

/// How often a name that somebody else keeps taking is tried again.
const ATTEMPTS: usize = 100;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The kernel's answer.
    pub source: io::Error,
}

impl FileError {
    fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }

    /// The kernel's error number.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Whether the file was there already.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }
}

/// Creates a file with these contents; the permission bits are subject to the umask. Several processes may try at once: just one wins.
///
/// # Errors
/// [`FileError::exists`] when the file is there already, and whatever the file system says.
pub fn create_whole(path: &Path, contents: &[u8], mode: u32) -> Result<(), FileError> {
    let failed = |source| FileError::new("create", path, source);
    match write_unnamed(path, contents, mode) {
        Ok(file) => give_name(&file, path).map_err(failed),
        Err(error) if lacks_unnamed_files(&error) => create_by_link(path, contents, mode).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

/// Gives a file these contents, creating it if need be. Readers see the old contents or the new, and of several writers at once one
/// wins. The temporary name beside it is always the same, so that killed writers leave at most one file, which the next one reuses.
///
/// # Errors
/// Whatever the file system says; the old file is untouched then.
pub fn replace_whole(path: &Path, contents: &[u8], mode: u32) -> Result<(), FileError> {
    let failed = |source| FileError::new("write", path, source);
    let temporary = beside(path, "new");
    for _ in 0..ATTEMPTS {
        match write_unnamed(path, contents, mode) {
            Ok(file) if rename_over(&file, &temporary, path).map_err(failed)? => return Ok(()),
            Ok(_) => {}
            Err(error) if lacks_unnamed_files(&error) => {
                return replace_by_rename(&temporary, path, contents, mode).map_err(failed);
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(io::Error::from_raw_os_error(libc::EBUSY)))
}

/// Removes a file that is empty or has just these contents; returns whether it did. Missing, or with other contents, it is left alone.
///
/// # Errors
/// Whatever the file system says.
pub fn remove_if(path: &Path, contents: &str) -> Result<bool, FileError> {
    let mut found = Vec::new();
    // One byte more than expected tells a longer file.
    let limit = u64::try_from(contents.len()).unwrap_or(u64::MAX).saturating_add(1);
    match File::open(path).and_then(|file| file.take(limit).read_to_end(&mut found)) {
        Ok(_) if found.is_empty() || found == contents.as_bytes() => remove(path),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::new("read", path, error)),
    }
}

/// Removes a file; returns whether it was there.
///
/// # Errors
/// Whatever the file system says.
pub fn remove(path: &Path) -> Result<bool, FileError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::new("remove", path, error)),
    }
}

/// Removes a file and what a killed [`replace_whole`] may have left beside it; returns whether the file was there.
///
/// # Errors
/// Whatever the file system says.
pub fn remove_replaced(path: &Path) -> Result<bool, FileError> {
    remove(&beside(path, "new"))?;
    remove(path)
}

/// Overwrites a file where it is, creating it if need be. A killed writer may leave it empty: for hints that readers can do without.
///
/// # Errors
/// Whatever the file system says.
pub fn overwrite(path: &Path, contents: &[u8], mode: u32) -> Result<(), FileError> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(contents)).map_err(|source| FileError::new("write", path, source))
}

/// Creates the directory of a file with its parents.
///
/// # Errors
/// Whatever the file system says.
pub fn make_parents(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(directory(path)).map_err(|error| FileError::new("create directory of", path, error))
}

/// Writes a file that has no name yet into the directory of `path`.
fn write_unnamed(path: &Path, contents: &[u8], mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(mode).custom_flags(libc::O_TMPFILE);
    let mut file = options.open(directory(path))?;
    file.write_all(contents)?;
    Ok(file)
}

/// Gives a file without a name its name; fails when the name is taken.
fn give_name(file: &File, path: &Path) -> io::Result<()> {
    // Naming the descriptor itself (AT_EMPTY_PATH) would need CAP_DAC_READ_SEARCH before Linux 6.10.
    let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
    let here = nix::fcntl::AT_FDCWD;
    nix::unistd::linkat(here, itself.as_str(), here, path, AtFlags::AT_SYMLINK_FOLLOW).map_err(io::Error::from)
}

/// Moves a file without a name over `path` through a temporary name. Another writer may take the temporary name away between the two
/// calls; then this returns `false`, and a new file is needed: the kernel gives a name only to one that never had any.
fn rename_over(file: &File, temporary: &Path, path: &Path) -> io::Result<bool> {
    while let Err(error) = give_name(file, temporary) {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        remove(temporary).map_err(|error| error.source)?;
    }
    match fs::rename(temporary, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// For file systems without unnamed files: a name of our own, then a second one by link, which fails when it is taken.
fn create_by_link(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let temporary = beside(path, &std::process::id().to_string());
    let done = write_new(&temporary, contents, mode).and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    done.and(removed)
}

/// For file systems without unnamed files; here two writers at once must be kept apart by a lock.
fn replace_by_rename(temporary: &Path, path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    write_new(temporary, contents, mode)?;
    fs::rename(temporary, path)
}

fn write_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?.write_all(contents)
}

/// What file systems without `O_TMPFILE` answer (open(2)).
fn lacks_unnamed_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A hidden name in the same directory.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_created_file_has_contents_and_mode_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("10.42.1.2");
        create_whole(&path, b"abc\r\neth0", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc\r\neth0");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(directory.path()), ["10.42.1.2"]);
    }

    #[test]
    fn creating_a_file_twice_says_that_it_exists_and_keeps_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        create_whole(&path, b"first", 0o600).unwrap();
        let error = create_whole(&path, b"second", 0o600).unwrap_err();
        assert!(error.exists() && error.errno() == Some(libc::EEXIST));
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"first");
    }

    #[test]
    fn of_many_creators_one_wins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let winners = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8_u8)
                .map(|n| {
                    scope.spawn({
                        let path = &path;
                        move || create_whole(path, &[n], 0o600).is_ok()
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().ok().filter(|won| *won)).count()
        });
        assert_eq!(winners, 1);
        assert_eq!(names(directory.path()), ["x"]);
    }

    #[test]
    fn the_fallback_without_unnamed_files_keeps_the_promise_of_exclusiveness() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        create_by_link(&path, b"first", 0o600).unwrap();
        assert_eq!(create_by_link(&path, b"second", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(directory.path()), ["x"]);
    }

    #[test]
    fn writers_at_once_leave_one_whole_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::thread::scope(|scope| {
            for n in 0..8_u8 {
                let path = &path;
                scope.spawn(move || (0..50).for_each(|_| replace_whole(path, &[n; 5000], 0o644).unwrap()));
            }
        });
        let found = fs::read(&path).unwrap();
        assert!(found.len() == 5000 && found.iter().all(|byte| *byte == found[0]));
        assert!(names(directory.path()).iter().all(|name| name == "x" || name == ".x.new"));
        replace_whole(&path, b"last", 0o644).unwrap();
        assert_eq!(names(directory.path()), ["x"]);
    }

    #[test]
    fn a_leftover_of_a_killed_writer_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        fs::write(directory.path().join(".x.new"), b"half").unwrap();
        replace_whole(&path, b"whole", 0o644).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(directory.path()), ["x"]);
    }

    #[test]
    fn only_a_file_with_the_expected_contents_or_none_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        assert!(!remove_if(&path, "mine").unwrap());
        for (contents, removed) in [("mine", true), ("", true), ("mine too", false), ("theirs", false)] {
            fs::write(&path, contents).unwrap();
            assert_eq!(remove_if(&path, "mine").unwrap(), removed, "{contents:?}");
        }
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_the_file() {
        let error = create_whole(Path::new("/nonexistent/dir/file"), b"", 0o600).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOENT));
        assert!(error.to_string().starts_with("create /nonexistent/dir/file: "), "{error}");
    }
}
