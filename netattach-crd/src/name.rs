//! The names that come in from pods and NADs. They become paths, map keys and interface names further on, so they are
//! checked once, here, against the rules of Kubernetes and of the Linux kernel.

use thiserror::Error;

/// Bytes of an interface name without the terminating zero (`IFNAMSIZ` - 1, include/uapi/linux/if.h).
pub const MAX_INTERFACE: usize = 15;

/// A name that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Not a DNS-1123 subdomain, as the names of Kubernetes objects must be.
    #[error("{0:?} is not a valid object name: lower-case letters, digits, \"-\" and \".\", at most 253 characters")]
    Object(String),
    /// Not a DNS-1123 label, as namespaces must be.
    #[error("{0:?} is not a valid namespace: lower-case letters, digits and \"-\", at most 63 characters")]
    Namespace(String),
    /// Not something the kernel takes as the name of an interface, or one that exists in every pod.
    #[error("{name:?} is not a valid interface name: {why}")]
    Interface {
        /// The name.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
}

/// Checks the name of a Kubernetes object: a DNS-1123 subdomain (RFC 1123 2.1), dots included.
///
/// # Errors
/// The name itself, with the rule.
pub fn check(name: &str) -> Result<(), NameError> {
    if name.len() <= 253 && name.split('.').all(is_label) { Ok(()) } else { Err(NameError::Object(name.to_owned())) }
}

/// Checks the name of a namespace: one DNS-1123 label.
///
/// # Errors
/// The name itself, with the rule.
pub fn check_namespace(name: &str) -> Result<(), NameError> {
    if name.len() <= 63 && is_label(name) { Ok(()) } else { Err(NameError::Namespace(name.to_owned())) }
}

/// Checks the name of an interface as the kernel does (`dev_valid_name`, net/core/dev.c), and refuses what would be
/// taken for a template (`%`) and the loopback interface, which every pod has.
///
/// # Errors
/// The name itself, with the rule.
pub fn check_interface(name: &str) -> Result<(), NameError> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_INTERFACE {
        "it is longer than 15 bytes"
    } else if matches!(name, "." | "..") {
        "the kernel reserves it"
    } else if name == "lo" {
        "every pod has its loopback interface already"
    } else if name.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%')) {
        "it must not hold white space, \"/\", \":\" or \"%\""
    } else {
        return Ok(());
    };
    Err(NameError::Interface { name: name.to_owned(), why })
}

fn is_label(label: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (first, last) = (label.bytes().next(), label.bytes().next_back());
    first.is_some_and(plain) && last.is_some_and(plain) && label.bytes().all(|byte| plain(byte) || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_names_are_dns_subdomains() {
        for good in ["a", "flannel.2", "a-b.c-d.0", "0", &"a".repeat(253)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "-a", "a-", "A", "a_b", "a/b", "a b", "ä", "..", &"a".repeat(254)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn namespaces_hold_no_dots() {
        assert_eq!(check_namespace("kube-system"), Ok(()));
        for bad in ["", "a.b", "Default", "-", &"a".repeat(64)] {
            assert!(check_namespace(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn interface_names_are_those_the_kernel_takes() {
        for good in ["net1", "Net-1.2", "a", "x23456789012345", "eth0@x"] {
            assert_eq!(check_interface(good), Ok(()), "{good}");
        }
        for bad in ["", "x234567890123456", "a b", "a/b", "a:1", "net%d", ".", "..", "lo", "a\tb", "a\u{0}b"] {
            assert!(check_interface(bad).is_err(), "{bad:?}");
        }
    }
}
