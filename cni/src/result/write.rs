//! Writing a result in the form of any version, exactly as the reference library prints it.
//!
//! Its habits, all of which runtimes see: numbers and texts that are zero or empty are left out, except `table` and
//! `scope`; before 1.0.0 `dns` is always there, if only as `{}`, and the keys are in the order of the Go structs;
//! from 1.0.0 on an empty `dns` is left out and the keys of every object are sorted. Before 1.0.0 the newer keys of
//! interfaces are dropped, those of routes are not; 0.1.0 and 0.2.0 know neither.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::{CniResult, Dns, Interface, Ip, Route};
use crate::error::Error;
use crate::version::Version;

type Object = Map<String, Value>;

impl CniResult {
    /// The document in the form of `version`. What the version has no place for is dropped: before 0.3.0 that is
    /// everything but the first address of each family, its routes and `dns`.
    ///
    /// # Errors
    /// Code 1 for a version not spoken here; code 999 when a result without any address is asked for in a version
    /// before 0.3.0, which cannot say that.
    pub fn to_json(&self, version: Version) -> Result<Value, Error> {
        let mut document = Object::new();
        document.insert("cniVersion".into(), version.supported()?.to_string().into());
        if version < Version::V0_3_0 {
            self.write_legacy(&mut document)?;
        } else {
            self.write_current(&mut document, version);
        }
        if version < Version::V1_0_0 || !self.dns.is_empty() {
            document.insert("dns".into(), write_dns(&self.dns).into());
        }
        if version >= Version::V1_0_0 {
            sort_keys(&mut document);
        }
        Ok(document.into())
    }

    fn write_current(&self, document: &mut Object, version: Version) {
        put_list(document, "interfaces", self.interfaces.iter().map(|interface| write_interface(interface, version)));
        put_list(document, "ips", self.ips.iter().map(|ip| write_ip(ip, version)));
        put_list(document, "routes", self.routes.iter().map(write_route));
    }

    fn write_legacy(&self, document: &mut Object) -> Result<(), Error> {
        let families = [("ip4", true), ("ip6", false)];
        for (key, v4) in families {
            if let Some(ip) = self.ips.iter().find(|ip| is_v4(&ip.address) == v4) {
                let routes = self.routes.iter().filter(|route| is_v4(&route.dst) == v4);
                document.insert(key.into(), write_legacy_ip(ip, routes).into());
            }
        }
        if families.iter().all(|(key, _)| !document.contains_key(*key)) {
            return Err(Error::internal(
                "a result without addresses cannot be written in CNI 0.2.0 or older; use cniVersion 0.3.0 or later",
            ));
        }
        Ok(())
    }
}

fn write_interface(interface: &Interface, version: Version) -> Object {
    let mut object = Object::new();
    object.insert("name".into(), interface.name.as_str().into());
    put_text(&mut object, "mac", &interface.mac);
    if version >= Version::V1_0_0 {
        put_number(&mut object, "mtu", interface.mtu);
    }
    put_text(&mut object, "sandbox", &interface.sandbox);
    if version >= Version::V1_0_0 {
        put_text(&mut object, "socketPath", &interface.socket_path);
        put_text(&mut object, "pciID", &interface.pci_id);
    }
    object
}

fn write_ip(ip: &Ip, version: Version) -> Object {
    let mut object = Object::new();
    if version < Version::V1_0_0 {
        object.insert("version".into(), if is_v4(&ip.address) { "4" } else { "6" }.into());
    }
    if let Some(index) = ip.interface {
        object.insert("interface".into(), index.into());
    }
    object.insert("address".into(), ip.address.to_string().into());
    put_address(&mut object, "gateway", ip.gateway);
    object
}

fn write_route(route: &Route) -> Object {
    let mut object = write_legacy_route(route);
    put_number(&mut object, "mtu", route.mtu);
    put_number(&mut object, "advmss", route.advmss);
    put_number(&mut object, "priority", route.priority);
    if let Some(table) = route.table {
        object.insert("table".into(), table.into());
    }
    if let Some(scope) = route.scope {
        object.insert("scope".into(), scope.into());
    }
    object
}

fn write_legacy_ip<'a>(ip: &Ip, routes: impl Iterator<Item = &'a Route>) -> Object {
    let mut object = Object::new();
    object.insert("ip".into(), ip.address.to_string().into());
    put_address(&mut object, "gateway", ip.gateway);
    put_list(&mut object, "routes", routes.map(write_legacy_route));
    object
}

fn write_legacy_route(route: &Route) -> Object {
    let mut object = Object::new();
    object.insert("dst".into(), route.dst.to_string().into());
    put_address(&mut object, "gw", route.gw);
    object
}

fn write_dns(dns: &Dns) -> Object {
    let mut object = Object::new();
    put_texts(&mut object, "nameservers", &dns.nameservers);
    put_text(&mut object, "domain", &dns.domain);
    put_texts(&mut object, "search", &dns.search);
    put_texts(&mut object, "options", &dns.options);
    object
}

fn put_text(object: &mut Object, key: &str, text: &str) {
    if !text.is_empty() {
        object.insert(key.into(), text.into());
    }
}

fn put_texts(object: &mut Object, key: &str, texts: &[String]) {
    if !texts.is_empty() {
        object.insert(key.into(), texts.into());
    }
}

fn put_number(object: &mut Object, key: &str, number: Option<u32>) {
    if let Some(number) = number.filter(|number| *number != 0) {
        object.insert(key.into(), number.into());
    }
}

fn put_address(object: &mut Object, key: &str, address: Option<IpAddr>) {
    if let Some(address) = address {
        object.insert(key.into(), address.to_string().into());
    }
}

fn put_list(object: &mut Object, key: &str, items: impl Iterator<Item = Object>) {
    let items: Vec<Value> = items.map(Value::Object).collect();
    if !items.is_empty() {
        object.insert(key.into(), items.into());
    }
}

fn is_v4(network: &IpNet) -> bool {
    matches!(network, IpNet::V4(_))
}

/// From 1.0.0 on the reference prints through an unordered map, which Go sorts.
fn sort_keys(object: &mut Object) {
    object.sort_keys();
    for value in object.values_mut() {
        match value {
            Value::Object(inner) => sort_keys(inner),
            Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(sort_keys),
            _ => {}
        }
    }
}
