//! Kernel settings below `/proc/sys/net`, of the namespace of the calling thread.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const ROOT: &str = "/proc/sys";

/// A setting that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// The key is malformed or leads outside of the network settings.
    #[error("sysctl key {key:?} is not below net/ (write it with slashes, such as net/ipv4/ip_forward)")]
    Key {
        /// The key as given.
        key: String,
    },
    /// The kernel refused.
    #[error("{action} sysctl {key}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The key.
        key: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl SysctlError {
    /// The kernel's error number.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Key { .. } => Some(libc::EINVAL),
            Self::System { source, .. } => source.raw_os_error(),
        }
    }
}

/// The value of a setting, without the line feed.
///
/// # Errors
/// A bad key, or the kernel's refusal (`ENOENT`: there is no such setting).
pub fn read(key: &str) -> Result<String, SysctlError> {
    let path = path(key)?;
    let value = fs::read_to_string(path);
    let value = value.map_err(|source| SysctlError::System { action: "read", key: key.to_owned(), source })?;
    Ok(value.trim_end().to_owned())
}

/// Gives a setting a value unless it has it already; returns whether it was written. Reading first is cheaper where it matters: some
/// settings (forwarding) make the kernel walk every interface when they are written.
///
/// # Errors
/// A bad key, or the kernel's refusal.
pub fn write(key: &str, value: &str) -> Result<bool, SysctlError> {
    if same(&read(key)?, value) {
        return Ok(false);
    }
    let written = fs::write(path(key)?, value);
    written.map_err(|source| SysctlError::System { action: "write", key: key.to_owned(), source })?;
    Ok(true)
}

/// Settings of several numbers are separated by tabs when read, by whatever the writer likes when written.
fn same(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

fn path(key: &str) -> Result<PathBuf, SysctlError> {
    let refuse = || SysctlError::Key { key: key.to_owned() };
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    let rest = key.strip_prefix("net/").ok_or_else(refuse)?;
    if rest.split('/').all(plain) { Ok(Path::new(ROOT).join(key)) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_leave_the_network_settings_are_refused() {
        for key in ["", "net", "net/", "kernel/hostname", "/net/ipv4/ip_forward", "net/../kernel/hostname", "net//ipv4"]
        {
            assert!(matches!(read(key), Err(SysctlError::Key { .. })), "{key}");
        }
    }

    #[test]
    fn interface_names_with_dots_are_part_of_a_key() {
        let found = path("net/ipv4/conf/flannel.1/forwarding").unwrap();
        assert_eq!(found, Path::new("/proc/sys/net/ipv4/conf/flannel.1/forwarding"));
    }

    #[test]
    fn a_setting_is_compared_by_its_numbers() {
        assert!(same("4096\t16384\t4194304", "4096 16384 4194304"));
        assert!(!same("1", "0"));
    }

    #[test]
    fn a_missing_setting_says_so() {
        let error = read("net/ipv4/no_such_thing").unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOENT));
        assert!(error.to_string().contains("net/ipv4/no_such_thing"));
    }
}
