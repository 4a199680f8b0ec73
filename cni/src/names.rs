//! Which names may be used: of networks, containers, interfaces and plugins.
//!
//! The rules are the reference's (its `pkg/utils`; spec sections 1 and 2 for the characters), with one of our own: names that
//! become part of a file name are limited to [`LONGEST`] bytes, because beyond that the file could not be created and
//! the failure would come late.

use crate::error::Error;

/// Longest network name, container ID or plugin type, in bytes. File names end at 255, and ours carry a suffix.
pub const LONGEST: usize = 200;

/// Longest interface name in bytes: IFNAMSIZ of `linux/if.h` without the closing zero.
pub const LONGEST_INTERFACE: usize = 15;

/// Checks the name of a network.
///
/// # Errors
/// Code 7.
pub fn network(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::config("missing network name"));
    }
    spelled(name).map_err(|fault| Error::config(format!("network name {fault}")).with_details(shown(name)))
}

/// Checks a container ID.
///
/// # Errors
/// Code 3 when it is empty, else 4, as in the reference.
pub fn container_id(id: &str) -> Result<(), Error> {
    if id.is_empty() {
        return Err(Error::unknown_container("missing container ID"));
    }
    spelled(id).map_err(|fault| Error::environment(format!("container ID {fault}")).with_details(shown(id)))
}

/// Checks the name of an interface by the kernel's rules (`dev_valid_name` in `net/core/dev.c`).
///
/// # Errors
/// Code 4.
pub fn interface(name: &str) -> Result<(), Error> {
    let fault = if name.is_empty() {
        "is empty"
    } else if name.len() > LONGEST_INTERFACE {
        "is longer than 15 bytes"
    } else if name == "." || name == ".." {
        "is a directory"
    } else if name.chars().any(|character| matches!(character, '/' | ':' | '\0') || character.is_whitespace()) {
        "holds '/', ':' or white space"
    } else {
        return Ok(());
    };
    Err(Error::environment(format!("interface name {fault}")).with_details(shown(name)))
}

/// Checks the `type` of a plugin: the name of an executable in one of the configured directories, never a path.
///
/// # Errors
/// Code 7.
pub fn plugin_type(kind: &str) -> Result<(), Error> {
    let fault = if kind.is_empty() {
        "is missing"
    } else if kind.len() > LONGEST {
        "is longer than 200 bytes"
    } else if kind.contains(['/', '\0']) || kind == "." || kind == ".." {
        "is not the plain name of an executable"
    } else {
        return Ok(());
    };
    let error = Error::config(format!("plugin type {fault}"));
    Err(if kind.is_empty() { error } else { error.with_details(shown(kind)) })
}

/// Letter or digit first, then also `_`, `.` and `-`.
fn spelled(name: &str) -> Result<(), &'static str> {
    if name.len() > LONGEST {
        return Err("is longer than 200 bytes");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if name.starts_with(['_', '.', '-']) {
        return Err("does not start with a letter or digit");
    }
    if !name.bytes().all(allowed) {
        return Err("holds characters other than letters, digits, '_', '.' and '-'");
    }
    Ok(())
}

/// The refused name, but not at any length.
fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(64).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::code;

    #[test]
    fn names_of_networks_and_containers_start_with_a_letter_or_digit() {
        let longest = "a".repeat(LONGEST);
        for name in ["a", "0", "cbr0", "flannel.2", "A_b-c.d", "9..", longest.as_str()] {
            network(name).unwrap();
            container_id(name).unwrap();
        }
        let too_long = "a".repeat(LONGEST + 1);
        for name in [".", "..", "-a", "_a", "a/b", "../a", "a b", "a\n", "ä", "a:b", "a\0", too_long.as_str()] {
            assert_eq!(network(name).unwrap_err().code, code::INVALID_CONFIG, "{name}");
            assert_eq!(container_id(name).unwrap_err().code, code::INVALID_ENVIRONMENT, "{name}");
        }
        assert_eq!(network("").unwrap_err().code, code::INVALID_CONFIG);
        assert_eq!(container_id("").unwrap_err().code, code::UNKNOWN_CONTAINER);
    }

    #[test]
    fn names_of_interfaces_follow_the_kernel() {
        for name in ["eth0", "net1", "a", "...", "eth0.100", "-", "äöüäöüä", "fifteen-letters"] {
            interface(name).unwrap();
        }
        for name in
            ["", ".", "..", "sixteen-letters!", "äöüäöüäö", "a/b", "eth0:1", "a b", "a\tb", "a\u{a0}b", "a\n", "a\0"]
        {
            assert_eq!(interface(name).unwrap_err().code, code::INVALID_ENVIRONMENT, "{name}");
        }
    }

    #[test]
    fn types_of_plugins_are_plain_file_names() {
        for kind in ["bridge", "host-local", "my plugin", "a.b", "..."] {
            plugin_type(kind).unwrap();
        }
        let too_long = "a".repeat(LONGEST + 1);
        for kind in ["", ".", "..", "/bin/sh", "../sh", "a/b", "a\0", too_long.as_str()] {
            assert_eq!(plugin_type(kind).unwrap_err().code, code::INVALID_CONFIG, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_one_path_component(name in any::<String>()) {
            let path = std::path::Path::new(&name);
            let plain = path.file_name() == Some(name.as_ref()) && path.components().count() == 1;
            prop_assert!(plain || network(&name).is_err());
            prop_assert!(plain || container_id(&name).is_err());
            prop_assert!(plain || plugin_type(&name).is_err());
            prop_assert!(name.len() <= LONGEST_INTERFACE || interface(&name).is_err());
        }
    }
}
