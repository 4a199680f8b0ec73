//! Versions of the CNI specification: which exist, how they are ordered, how they are read.

use std::fmt;

use crate::error::Error;

/// A version of the CNI specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
    /// Third number.
    pub patch: u16,
}

/// Every version spoken here, ascending.
pub const SUPPORTED: [Version; 7] = [
    Version::V0_1_0,
    Version::V0_2_0,
    Version::V0_3_0,
    Version::V0_3_1,
    Version::V0_4_0,
    Version::V1_0_0,
    Version::V1_1_0,
];

impl Version {
    /// 0.1.0: `ip4`/`ip6` results; also what a document without a version is written in.
    pub const V0_1_0: Self = Self::new(0, 1, 0);
    /// 0.2.0: adds VERSION.
    pub const V0_2_0: Self = Self::new(0, 2, 0);
    /// 0.3.0: results with `interfaces`, `ips` and `routes`.
    pub const V0_3_0: Self = Self::new(0, 3, 0);
    /// 0.3.1: as 0.3.0, wording only.
    pub const V0_3_1: Self = Self::new(0, 3, 1);
    /// 0.4.0: adds CHECK, and `prevResult` on DEL.
    pub const V0_4_0: Self = Self::new(0, 4, 0);
    /// 1.0.0: drops `version` from `ips`.
    pub const V1_0_0: Self = Self::new(1, 0, 0);
    /// 1.1.0: adds GC, STATUS and the newer keys of interfaces and routes.
    pub const V1_1_0: Self = Self::new(1, 1, 0);
    /// The newest version spoken here.
    pub const CURRENT: Self = Self::V1_1_0;

    const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Reads `major[.minor[.patch]]`; the empty text means 0.1.0, as a missing `cniVersion` does.
    ///
    /// The version need not be one of [`SUPPORTED`]: a list may name newer ones beside those we speak.
    ///
    /// # Errors
    /// Code 1 when the text is not a version.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Self::V0_1_0);
        }
        let mut numbers = [0; 3];
        let mut parts = text.split('.');
        for (place, number) in numbers.iter_mut().enumerate() {
            match parts.next() {
                Some(part) => *number = parse_number(part).ok_or_else(|| invalid(text))?,
                None if place == 0 => return Err(invalid(text)),
                None => break,
            }
        }
        if parts.next().is_some() {
            return Err(invalid(text));
        }
        let [major, minor, patch] = numbers;
        Ok(Self { major, minor, patch })
    }

    /// Whether this library reads and writes documents of this version.
    pub fn is_supported(self) -> bool {
        SUPPORTED.contains(&self)
    }

    /// Refuses a version that this library does not speak.
    ///
    /// # Errors
    /// Code 1, with both sides in the details.
    pub fn supported(self) -> Result<Self, Error> {
        if self.is_supported() {
            return Ok(self);
        }
        let spoken: Vec<String> = SUPPORTED.iter().map(Version::to_string).collect();
        Err(Error::incompatible_version("incompatible CNI versions")
            .with_details(format!("the configuration is in {self}, supported are {}", spoken.join(", "))))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Digits only: the standard parser would let a sign pass.
fn parse_number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn invalid(text: &str) -> Error {
    let shown: String = text.chars().take(32).collect();
    Error::incompatible_version(format!("{shown:?} is not a CNI version (expected for example \"1.0.0\")"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_with_one_to_three_numbers() {
        for (text, version) in [
            ("", Version::V0_1_0),
            ("1", Version::V1_0_0),
            ("1.1", Version::V1_1_0),
            ("0.3.1", Version::V0_3_1),
            ("12.0.345", Version::new(12, 0, 345)),
        ] {
            assert_eq!(Version::parse(text).unwrap(), version, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_version_is_refused() {
        for text in ["x", "1.", ".1", "1..0", "1.0.0.0", "+1.0.0", "-1", "1.0.0-rc1", " 1.0.0", "99999999999.0.0"] {
            assert_eq!(Version::parse(text).unwrap_err().code, crate::error::code::INCOMPATIBLE_VERSION, "{text}");
        }
    }

    #[test]
    fn the_supported_versions_are_in_order_and_survive_printing() {
        assert!(SUPPORTED.is_sorted());
        for version in SUPPORTED {
            assert_eq!(Version::parse(&version.to_string()).unwrap(), version);
            assert_eq!(version.supported().unwrap(), version);
        }
        assert_eq!(SUPPORTED.last(), Some(&Version::CURRENT));
    }

    #[test]
    fn a_version_from_the_future_is_read_but_not_supported() {
        let error = Version::parse("2.0.0").unwrap().supported().unwrap_err();
        assert_eq!(error.code, 1);
        assert!(error.details.contains("2.0.0") && error.details.contains("1.1.0"), "{error}");
    }
}
