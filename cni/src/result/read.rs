//! Reading a result in the form of any version.

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::{CniResult, Dns, Interface, Ip, Route, address};
use crate::error::Error;
use crate::gojson;
use crate::version::Version;

impl CniResult {
    /// Reads a result document. Without `cniVersion` it is taken to be in `assumed`, the version of the configuration
    /// that the plugin was given; `null` is an empty result, as for the reference library.
    ///
    /// # Errors
    /// Code 1 for a version not spoken here, code 6 for anything else, with the path of the key.
    pub fn from_json(document: &Value, assumed: Version) -> Result<Self, Error> {
        if document.is_null() {
            return Ok(Self::default());
        }
        let head: Head = gojson::from_ref(document)?;
        let version = if head.cni_version.is_empty() { assumed } else { Version::parse(head.cni_version)? };
        if version.supported()? < Version::V0_3_0 {
            return Ok(gojson::from_ref::<Legacy>(document)?.into());
        }
        let mut result: Self = gojson::from_ref::<Current>(document)?.into();
        if version < Version::V1_0_0 {
            result.interfaces.iter_mut().for_each(Interface::forget_newer_keys);
        }
        Ok(result)
    }

    /// Reads what a plugin printed; nothing at all is an empty result, as `null` is.
    ///
    /// # Errors
    /// As [`CniResult::from_json`]; code 6 also for text that is not one JSON document.
    pub fn from_slice(text: &[u8], assumed: Version) -> Result<Self, Error> {
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let document: Value =
            serde_json::from_slice(text).map_err(|cause| Error::decode(format!("the result is no JSON: {cause}")))?;
        Self::from_json(&document, assumed)
    }
}

impl Interface {
    /// Before 1.0.0 an interface had a name, a hardware address and a sandbox.
    pub(super) fn forget_newer_keys(&mut self) {
        self.mtu = None;
        self.socket_path.clear();
        self.pci_id.clear();
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "cniVersion", default)]
    cni_version: &'a str,
}

/// 0.3.0 and later.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Current {
    interfaces: Vec<InterfaceDocument>,
    ips: Vec<IpDocument>,
    routes: Vec<RouteDocument>,
    dns: Dns,
}

#[derive(Deserialize)]
struct InterfaceDocument {
    #[serde(default)]
    name: String,
    #[serde(default)]
    mac: String,
    #[serde(default)]
    mtu: u32,
    #[serde(default)]
    sandbox: String,
    #[serde(default, rename = "socketPath")]
    socket_path: String,
    #[serde(default, rename = "pciID")]
    pci_id: String,
}

/// The `version` of 0.3 and 0.4 follows from the address and is not looked at.
#[derive(Deserialize)]
struct IpDocument {
    #[serde(default, deserialize_with = "address::index")]
    interface: Option<usize>,
    #[serde(deserialize_with = "address::network")]
    address: IpNet,
    #[serde(default, deserialize_with = "address::optional")]
    gateway: Option<std::net::IpAddr>,
}

#[derive(Deserialize)]
struct RouteDocument {
    #[serde(deserialize_with = "address::network")]
    dst: IpNet,
    #[serde(default, deserialize_with = "address::optional")]
    gw: Option<std::net::IpAddr>,
    #[serde(default)]
    mtu: u32,
    #[serde(default)]
    advmss: u32,
    #[serde(default)]
    priority: u32,
    table: Option<u32>,
    scope: Option<u8>,
}

/// 0.1.0 and 0.2.0: one address of each family, with its routes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Legacy {
    ip4: Option<LegacyIp>,
    ip6: Option<LegacyIp>,
    dns: Dns,
}

#[derive(Deserialize)]
struct LegacyIp {
    #[serde(deserialize_with = "address::network")]
    ip: IpNet,
    #[serde(default, deserialize_with = "address::optional")]
    gateway: Option<std::net::IpAddr>,
    #[serde(default)]
    routes: Vec<RouteDocument>,
}

impl From<Current> for CniResult {
    fn from(document: Current) -> Self {
        Self {
            interfaces: document.interfaces.into_iter().map(Interface::from).collect(),
            ips: document.ips.into_iter().map(Ip::from).collect(),
            routes: document.routes.into_iter().map(Route::from).collect(),
            dns: document.dns,
        }
    }
}

impl From<Legacy> for CniResult {
    fn from(document: Legacy) -> Self {
        let mut result = Self { dns: document.dns, ..Self::default() };
        for address in [document.ip4, document.ip6].into_iter().flatten() {
            result.ips.push(Ip::new(address.ip, address.gateway));
            result.routes.extend(address.routes.into_iter().map(Route::from));
        }
        result
    }
}

impl From<InterfaceDocument> for Interface {
    fn from(document: InterfaceDocument) -> Self {
        Self {
            name: document.name,
            mac: document.mac,
            mtu: given(document.mtu),
            sandbox: document.sandbox,
            socket_path: document.socket_path,
            pci_id: document.pci_id,
        }
    }
}

impl From<IpDocument> for Ip {
    fn from(document: IpDocument) -> Self {
        Self { interface: document.interface, address: document.address, gateway: document.gateway }
    }
}

impl From<RouteDocument> for Route {
    fn from(document: RouteDocument) -> Self {
        Self {
            dst: document.dst,
            gw: document.gw,
            mtu: given(document.mtu),
            advmss: given(document.advmss),
            priority: given(document.priority),
            table: document.table,
            scope: document.scope,
        }
    }
}

/// Zero is Go's way to say that a number was not given.
fn given(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}
