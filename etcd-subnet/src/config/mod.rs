//! The configuration of one overlay network: the JSON text flannel calls net-conf, kept under `<prefix>/config` in etcd or in the file
//! `config` of a directory. It is read once at start; everybody in the network reads the same text, so it is checked as flannel checks it.

mod backend;
mod pool;

pub use crate::fields::FieldError;
pub use backend::{Backend, VXLAN_PORT};
pub use pool::{Ipv4Pool, Ipv6Pool};

use crate::fields::Fields;
use serde_json::Value;

/// Why a text is not a network configuration, or not one this program can serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not JSON.
    #[error("network configuration is not valid JSON: {0}")]
    Json(String),
    /// The text is JSON but not an object.
    #[error("network configuration is not a JSON object")]
    NotAnObject,
    /// A field has a value that cannot be used.
    #[error("network configuration: {0}")]
    Field(#[from] FieldError),
    /// Valid for flannel, but outside what Plexus does.
    #[error("network configuration: {0}")]
    Unsupported(String),
}

/// What all nodes of one overlay network agree on.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// IPv4 addresses to hand out; absent when `EnableIPv4` is false.
    pub ipv4: Option<Ipv4Pool>,
    /// IPv6 addresses to hand out; present when `EnableIPv6` is true.
    pub ipv6: Option<Ipv6Pool>,
    /// `EnableNFTables`: flannel's choice between iptables and nftables. Plexus always uses nftables; kept so that it can be shown.
    pub enable_nftables: bool,
    /// How packets travel between the nodes.
    pub backend: Backend,
}

impl NetworkConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// The text is not a JSON object, or a field (named in the error) is missing or out of range.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let value: Value = serde_json::from_str(text).map_err(|error| ConfigError::Json(error.to_string()))?;
        let object = value.as_object().ok_or(ConfigError::NotAnObject)?;
        let fields = Fields::new("", object);
        let enable_ipv4 = fields.boolean("EnableIPv4")?.unwrap_or(true);
        let enable_ipv6 = fields.boolean("EnableIPv6")?.unwrap_or(false);
        if !enable_ipv4 && !enable_ipv6 {
            return Err(
                FieldError::new("EnableIPv4", "is false and EnableIPv6 is not true: a network needs one").into()
            );
        }
        Ok(Self {
            ipv4: if enable_ipv4 { Some(Ipv4Pool::from_fields(&fields)?) } else { None },
            ipv6: if enable_ipv6 { Some(Ipv6Pool::from_fields(&fields)?) } else { None },
            enable_nftables: fields.boolean("EnableNFTables")?.unwrap_or(false),
            backend: Backend::from_fields(&fields)?,
        })
    }

    /// Whether Plexus can join this network, and if so the addresses its nodes share.
    ///
    /// # Errors
    /// The network uses IPv6 or a backend other than vxlan. Joining it in part would leave pods without an address they were promised,
    /// and in an IPv6-only network flannel's keys cannot tell two nodes apart (both are `0.0.0.0`).
    pub fn supported(&self) -> Result<&Ipv4Pool, ConfigError> {
        if self.backend.kind != "vxlan" {
            return Err(ConfigError::Unsupported(format!(
                "Backend.Type `{}` is not supported, only vxlan is (a configuration without Backend.Type means udp)",
                self.backend.kind
            )));
        }
        match (&self.ipv4, &self.ipv6) {
            (Some(pool), None) => Ok(pool),
            (Some(_), Some(_)) => Err(ConfigError::Unsupported(
                "EnableIPv6 is true: dual-stack networks are not supported, only IPv4 is".into(),
            )),
            _ => Err(ConfigError::Unsupported("EnableIPv4 is false: IPv6-only networks are not supported".into())),
        }
    }
}

#[cfg(test)]
mod tests;
