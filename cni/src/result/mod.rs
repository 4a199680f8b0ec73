//! What a successful ADD answers: the superset of every version of the specification, which is the 1.1.0 form.
//!
//! Inside the program a result is always this type; versions exist only at the edges, in [`CniResult::from_json`] and
//! [`CniResult::to_json`] (spec section 5, "ADD Success", and its forms in the older specifications).

mod address;
mod read;
mod write;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::version::Version;

/// The result of an ADD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CniResult {
    /// Interfaces the plugins made, on either side.
    pub interfaces: Vec<Interface>,
    /// Addresses assigned.
    pub ips: Vec<Ip>,
    /// Routes set in the container.
    pub routes: Vec<Route>,
    /// Name resolution the container should use.
    pub dns: Dns,
}

/// An interface of the result. Empty texts mean "not given".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Hardware address as text.
    pub mac: String,
    /// Largest packet in bytes (1.0.0 and later); `Some(0)` is the same as `None`.
    pub mtu: Option<u32>,
    /// Path of the namespace it is in; empty for the host.
    pub sandbox: String,
    /// Absolute path of the socket behind it (1.0.0 and later).
    pub socket_path: String,
    /// PCI address of the device behind it (1.0.0 and later).
    pub pci_id: String,
}

/// An address of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip {
    /// Index into [`CniResult::interfaces`]. Not checked against its length.
    pub interface: Option<usize>,
    /// Address and prefix length; the host bits are the point of it.
    pub address: IpNet,
    /// The default gateway of that subnet.
    pub gateway: Option<IpAddr>,
}

/// A route of the result. Absent numbers are left to whoever sets the route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub dst: IpNet,
    /// Next hop; the gateway of the address of the same family if absent.
    pub gw: Option<IpAddr>,
    /// Largest packet in bytes; `Some(0)` is the same as `None`.
    pub mtu: Option<u32>,
    /// Largest TCP segment to announce, in bytes; `Some(0)` is the same as `None`.
    pub advmss: Option<u32>,
    /// Metric; `Some(0)` is the same as `None`.
    pub priority: Option<u32>,
    /// Routing table.
    pub table: Option<u32>,
    /// Scope as in rtnetlink (0 global, 253 link, 254 host).
    pub scope: Option<u8>,
}

/// Name resolution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Servers in order of preference.
    pub nameservers: Vec<String>,
    /// The local domain.
    pub domain: String,
    /// Search domains in order of preference.
    pub search: Vec<String>,
    /// Options of resolv.conf.
    pub options: Vec<String>,
}

impl Ip {
    /// An address that belongs to no interface of the result yet.
    pub fn new(address: IpNet, gateway: Option<IpAddr>) -> Self {
        Self { interface: None, address, gateway }
    }
}

impl Route {
    /// A plain route.
    pub fn new(dst: IpNet, gw: Option<IpAddr>) -> Self {
        Self { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

impl Dns {
    /// Whether nothing is said about name resolution.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl CniResult {
    /// Whether the plugins said nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Written in the newest version, so that a stored result says what it is in.
impl Serialize for CniResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json(Version::CURRENT).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// Reads any version that names itself.
impl<'de> Deserialize<'de> for CniResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Value::deserialize(deserializer)?;
        Self::from_json(&document, Version::CURRENT).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
