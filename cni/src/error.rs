//! The error document of the CNI specification: a code, a message and details.
//!
//! Everything that can fail between reading a request and answering it ends up here, so that the code a runtime
//! branches on is decided where the failure is understood (spec section 5, "Error").

use std::fmt;

use serde_json::{Map, Value};

use crate::version::Version;

/// Error codes: 1-99 belong to the specification, 100 and above to plugins; 999 is what the reference uses for
/// everything else.
pub mod code {
    /// The configuration's version is not spoken by the plugin.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field of the configuration is not supported; the message names its key and value.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container is unknown or gone; the runtime need not clean up.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// An environment variable of the contract is missing or wrong.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Reading or writing failed.
    pub const IO: u32 = 5;
    /// A document could not be decoded.
    pub const DECODE: u32 = 6;
    /// The network configuration is wrong.
    pub const INVALID_CONFIG: u32 = 7;
    /// The network namespace cannot be used (in the reference's types, not in the specification's table).
    pub const INVALID_NETNS: u32 = 8;
    /// A passing condition: the runtime should try again later.
    pub const TRY_AGAIN_LATER: u32 = 11;
    /// STATUS: the plugin cannot serve ADD.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: the plugin cannot serve ADD, and containers already attached may be cut off.
    pub const LIMITED: u32 = 51;
    /// Anything without a code of its own.
    pub const INTERNAL: u32 = 999;
}

/// A failure as a CNI runtime sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// One of [`code`], or what a foreign plugin answered.
    pub code: u32,
    /// One line for people.
    pub msg: String,
    /// More for people; may be empty.
    pub details: String,
}

impl Error {
    /// An error with any code.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// Code 1.
    pub fn incompatible_version(msg: impl Into<String>) -> Self {
        Self::new(code::INCOMPATIBLE_VERSION, msg)
    }

    /// Code 2, naming the key and the value as the specification demands.
    pub fn unsupported_field(key: &str, value: &Value) -> Self {
        Self::new(code::UNSUPPORTED_FIELD, format!("unsupported field {key:?} with value {value}"))
    }

    /// Code 3.
    pub fn unknown_container(msg: impl Into<String>) -> Self {
        Self::new(code::UNKNOWN_CONTAINER, msg)
    }

    /// Code 4.
    pub fn environment(msg: impl Into<String>) -> Self {
        Self::new(code::INVALID_ENVIRONMENT, msg)
    }

    /// Code 5, for a file, socket or directory named in `what`.
    pub fn io(what: impl fmt::Display, cause: &std::io::Error) -> Self {
        Self::new(code::IO, format!("{what}: {cause}"))
    }

    /// Code 6.
    pub fn decode(msg: impl Into<String>) -> Self {
        Self::new(code::DECODE, msg)
    }

    /// Code 7.
    pub fn config(msg: impl Into<String>) -> Self {
        Self::new(code::INVALID_CONFIG, msg)
    }

    /// Code 8.
    pub fn netns(msg: impl Into<String>) -> Self {
        Self::new(code::INVALID_NETNS, msg)
    }

    /// Code 11.
    pub fn try_again_later(msg: impl Into<String>) -> Self {
        Self::new(code::TRY_AGAIN_LATER, msg)
    }

    /// Code 50.
    pub fn not_available(msg: impl Into<String>) -> Self {
        Self::new(code::NOT_AVAILABLE, msg)
    }

    /// Code 999.
    pub fn internal(msg: impl Into<String>) -> Self {
        Self::new(code::INTERNAL, msg)
    }

    /// The same error with these details instead of its own.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The same error with `prefix: ` before its message; code and details stay.
    #[must_use]
    pub fn context(mut self, prefix: impl fmt::Display) -> Self {
        self.msg = format!("{prefix}: {}", self.msg);
        self
    }

    /// The error document to print on standard output. `version` is the request's, or the newest when the request
    /// could not be read.
    pub fn to_json(&self, version: Version) -> Value {
        let mut document = Map::new();
        document.insert("cniVersion".into(), version.to_string().into());
        document.insert("code".into(), self.code.into());
        document.insert("msg".into(), self.msg.as_str().into());
        if !self.details.is_empty() {
            document.insert("details".into(), self.details.as_str().into());
        }
        Value::Object(document)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if !self.details.is_empty() {
            write!(f, "; {}", self.details)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keeps_code_and_details() {
        let error = Error::new(101, "no room").with_details("10.5.7.0/24").context("ipam").context("bridge");
        assert_eq!(error, Error { code: 101, msg: "bridge: ipam: no room".into(), details: "10.5.7.0/24".into() });
        assert_eq!(error.to_string(), "bridge: ipam: no room; 10.5.7.0/24");
    }

    #[test]
    fn the_document_has_a_version_and_leaves_empty_details_out() {
        let error = Error::config("bad \"name\"");
        assert_eq!(
            error.to_json(Version::V0_4_0).to_string(),
            r#"{"cniVersion":"0.4.0","code":7,"msg":"bad \"name\""}"#
        );
        let error = error.with_details("x");
        assert_eq!(
            error.to_json(Version::CURRENT).to_string(),
            r#"{"cniVersion":"1.1.0","code":7,"msg":"bad \"name\"","details":"x"}"#
        );
    }

    #[test]
    fn an_unsupported_field_is_named_with_its_value() {
        let error = Error::unsupported_field("ipMasqBackend", &"iptables".into());
        assert_eq!((error.code, error.msg.as_str()), (2, r#"unsupported field "ipMasqBackend" with value "iptables""#));
    }
}
