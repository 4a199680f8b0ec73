//! Reads one JSON element of the annotation. A fault does not end the reading: it is noted, the value is left out, and
//! the next key is looked at, so that the user hears of everything at once.

use crate::fault::Fault;
use crate::hardware::{Guid, Mac};
use crate::name;
use crate::selection::{Address, Bandwidth, PortMapping, Protocol, Selection, usable};
use serde_json::{Map, Value};
use std::fmt::Display;
use std::net::IpAddr;

/// All keys of an element, in the order of the specification.
const KEYS: [&str; 13] = [
    "name",
    "namespace",
    "ips",
    "mac",
    "infiniband-guid",
    "interface",
    "interfaceRequest",
    "portMappings",
    "bandwidth",
    "cni-args",
    "default-route",
    "deviceID",
    "ipam-claim-reference",
];
const PORT_MAPPING_KEYS: [&str; 4] = ["hostPort", "containerPort", "protocol", "hostIP"];
const BANDWIDTH_KEYS: [&str; 4] = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"];
/// The burst, in bits, that the reference plugin's token bucket cannot hold: 4 GiB in bytes.
const BURST_LIMIT: u64 = (u32::MAX as u64) * 8;

/// Reads the element at `position` (from 1); the namespace is `namespace` unless it names one.
pub(crate) fn read(position: usize, value: Value, namespace: &str, faults: &mut Vec<Fault>) -> Selection {
    let Value::Object(object) = value else {
        let problem = format!("must be an object such as {{\"name\": \"net-1\"}}, not {}", kind(&value));
        faults.push(Fault { element: Some(position), name: String::new(), key: String::new(), problem });
        return Selection::default();
    };
    let label = object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut object = Object { element: position, label, prefix: String::new(), keys: object, faults };
    object.fold_case(&KEYS);
    let mut selection = Selection {
        name: object.name(),
        namespace: object.namespace(namespace),
        interface: object.interface(),
        ips: object.ips(),
        mac: object.parsed("mac", Mac::parse),
        infiniband_guid: object.parsed("infiniband-guid", Guid::parse),
        port_mappings: object.port_mappings(),
        bandwidth: object.bandwidth(),
        cni_args: object.object("cni-args"),
        default_route: object.default_route(),
        device_id: object.device_id(),
        ipam_claim: object.claim(),
        extensions: Map::new(),
    };
    if !selection.ips.is_empty() && selection.ipam_claim.is_some() {
        object.fault("ipam-claim-reference", "excludes ips: the claim decides about the addresses");
    }
    selection.extensions = object.rest(&KEYS, true);
    selection
}

/// A JSON object whose keys are taken out one by one; what remains is unknown.
struct Object<'a> {
    element: usize,
    label: String,
    prefix: String,
    keys: Map<String, Value>,
    faults: &'a mut Vec<Fault>,
}

impl Object<'_> {
    fn fault(&mut self, key: &str, problem: impl Display) {
        let key = format!("{}{key}", self.prefix);
        self.faults.push(Fault {
            element: Some(self.element),
            name: self.label.clone(),
            key,
            problem: problem.to_string(),
        });
    }

    /// Renames keys that differ from a known one in case only, as Go's encoding/json reads them.
    fn fold_case(&mut self, known: &[&str]) {
        let strange: Vec<String> = self.keys.keys().filter(|key| !known.contains(&key.as_str())).cloned().collect();
        for key in strange {
            let Some(exact) = known.iter().find(|exact| exact.eq_ignore_ascii_case(&key)) else { continue };
            if self.keys.contains_key(*exact) {
                self.fault(&key, format!("is given twice, also as {exact:?}"));
                self.keys.shift_remove(&key);
            } else if let Some(value) = self.keys.shift_remove(&key) {
                self.keys.insert((*exact).to_owned(), value);
            }
        }
    }

    /// A value that is there and not null: null means "not given" to Go.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.keys.shift_remove(key).filter(|value| !value.is_null())
    }

    fn mismatch<T>(&mut self, key: &str, wanted: &str, value: &Value) -> Option<T> {
        self.fault(key, format!("must be {wanted}, not {}", kind(value)));
        None
    }

    /// A string that is there and not empty: an empty one means "not given" to Go.
    fn string(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            other => self.mismatch(key, "a string", &other),
        }
    }

    fn list(&mut self, key: &str) -> Option<Vec<Value>> {
        match self.take(key)? {
            Value::Array(list) => Some(list),
            other => self.mismatch(key, "a list", &other),
        }
    }

    fn object(&mut self, key: &str) -> Option<Map<String, Value>> {
        match self.take(key)? {
            Value::Object(object) => Some(object),
            other => self.mismatch(key, "an object", &other),
        }
    }

    fn number(&mut self, key: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(key)?;
        let number = value.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            let wanted = format!("a whole number from {} to {}", range.start(), range.end());
            self.fault(key, format!("must be {wanted}, not {value}"));
        }
        number
    }

    /// A string read by `parse`, whose error is the rest of a sentence about the text.
    fn parsed<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, &'static str>) -> Option<T> {
        let text = self.string(key)?;
        parse(&text).map_err(|problem| self.fault(key, format!("{text:?} {problem}"))).ok()
    }

    /// A list of strings, each read by `parse`; nothing may be in it twice.
    fn parsed_list<T: PartialEq>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<Vec<T>> {
        let mut parsed = Vec::new();
        for (index, value) in self.list(key)?.into_iter().enumerate() {
            let at = format!("{key}[{index}]");
            let Value::String(text) = value else {
                self.fault(&at, format!("must be a string, not {}", kind(&value)));
                continue;
            };
            match parse(&text) {
                Ok(item) if parsed.contains(&item) => self.fault(&at, format!("{text:?} is in the list twice")),
                Ok(item) => parsed.push(item),
                Err(problem) => self.fault(&at, format!("{text:?} {problem}")),
            }
        }
        Some(parsed)
    }

    fn name(&mut self) -> String {
        let before = self.faults.len();
        let name = self.string("name").unwrap_or_default();
        if name.is_empty() && self.faults.len() == before {
            self.fault("name", "is missing: it names the NetworkAttachmentDefinition");
        } else if let Some(error) = name::check(&name).err().filter(|_| !name.is_empty()) {
            self.fault("name", error);
        }
        name
    }

    fn namespace(&mut self, default: &str) -> String {
        let Some(namespace) = self.string("namespace") else { return default.to_owned() };
        if let Err(error) = name::check_namespace(&namespace) {
            self.fault("namespace", error);
        }
        namespace
    }

    fn interface(&mut self) -> Option<String> {
        let (now, before) = (self.string("interface"), self.string("interfaceRequest"));
        if now.is_some() && before.is_some() && now != before {
            self.fault("interfaceRequest", "is an old name of interface, and both are given");
        }
        let interface = now.or(before)?;
        name::check_interface(&interface).map_err(|error| self.fault("interface", error)).ok()?;
        Some(interface)
    }

    fn ips(&mut self) -> Vec<Address> {
        self.parsed_list("ips", str::parse::<Address>).unwrap_or_default()
    }

    fn default_route(&mut self) -> Option<Vec<IpAddr>> {
        let gateway = |text: &str| {
            let ip: IpAddr = text.parse().map_err(|_| "is not the IP address of a gateway")?;
            usable(ip).map(|()| ip)
        };
        self.parsed_list("default-route", gateway)
    }

    fn device_id(&mut self) -> Option<String> {
        let id = self.string("deviceID")?;
        if id.chars().any(|c| c.is_whitespace() || c.is_control()) || id.split('/').any(|part| part == "..") {
            self.fault("deviceID", format!("{id:?} is not the identifier of a device"));
        }
        Some(id)
    }

    fn claim(&mut self) -> Option<String> {
        let claim = self.string("ipam-claim-reference")?;
        if let Err(error) = name::check(&claim) {
            self.fault("ipam-claim-reference", error);
        }
        Some(claim)
    }

    fn port_mappings(&mut self) -> Vec<PortMapping> {
        let list = self.list("portMappings").unwrap_or_default();
        list.into_iter().enumerate().filter_map(|(index, value)| self.port_mapping(index, value)).collect()
    }

    fn port_mapping(&mut self, index: usize, value: Value) -> Option<PortMapping> {
        let Value::Object(keys) = value else {
            return self.mismatch(&format!("portMappings[{index}]"), "an object", &value);
        };
        let mut mapping = self.inner(format!("portMappings[{index}]."), keys);
        mapping.fold_case(&PORT_MAPPING_KEYS);
        let (host_port, container_port) = (mapping.port("hostPort"), mapping.port("containerPort"));
        let protocol =
            mapping.parsed("protocol", |text| Protocol::parse(text).ok_or("is not one of tcp, udp and sctp"));
        let host_ip = mapping.parsed("hostIP", |text| text.parse().map_err(|_| "is not an IP address"));
        mapping.rest(&PORT_MAPPING_KEYS, false);
        Some(PortMapping {
            host_port: host_port?,
            container_port: container_port?,
            protocol: protocol.unwrap_or(Protocol::Tcp),
            host_ip: host_ip.filter(|ip: &IpAddr| !ip.is_unspecified()),
        })
    }

    fn port(&mut self, key: &str) -> Option<u16> {
        if self.keys.get(key).is_none_or(Value::is_null) {
            self.fault(key, "is missing");
        }
        u16::try_from(self.number(key, 1..=u64::from(u16::MAX))?).ok()
    }

    fn bandwidth(&mut self) -> Option<Bandwidth> {
        let keys = self.object("bandwidth")?;
        let mut limits = self.inner("bandwidth.".to_owned(), keys);
        limits.fold_case(&BANDWIDTH_KEYS);
        let (ingress_rate, ingress_burst) = limits.limit("ingressRate", "ingressBurst");
        let (egress_rate, egress_burst) = limits.limit("egressRate", "egressBurst");
        limits.rest(&BANDWIDTH_KEYS, false);
        let bandwidth = Bandwidth { ingress_rate, ingress_burst, egress_rate, egress_burst };
        (bandwidth != Bandwidth::default()).then_some(bandwidth)
    }

    /// A rate and its burst: the token bucket needs both or neither.
    fn limit(&mut self, rate_key: &str, burst_key: &str) -> (u64, u64) {
        let before = self.faults.len();
        let rate = self.number(rate_key, 0..=u64::MAX).unwrap_or_default();
        let burst = self.number(burst_key, 0..=BURST_LIMIT - 1).unwrap_or_default();
        if self.faults.len() == before && (rate == 0) != (burst == 0) {
            let (given, missing) = if burst == 0 { (rate_key, burst_key) } else { (burst_key, rate_key) };
            self.fault(given, format!("needs {missing} beside it"));
        }
        (rate, burst)
    }

    fn inner(&mut self, prefix: String, keys: Map<String, Value>) -> Object<'_> {
        Object { element: self.element, label: self.label.clone(), prefix, keys, faults: self.faults }
    }

    /// What nobody has taken: keys with a dot belong to somebody else and are kept where `vendors` may add some; all
    /// others are reserved (multi-net-spec 4.1.2.1), and most of them are misspelt.
    fn rest(&mut self, known: &[&str], vendors: bool) -> Map<String, Value> {
        let (kept, reserved): (Map<_, _>, Map<_, _>) =
            std::mem::take(&mut self.keys).into_iter().partition(|(key, _)| vendors && key.contains('.'));
        for key in reserved.keys() {
            match nearest(key, known) {
                Some(near) => self.fault(key, format!("is not a known key: is {near:?} meant?")),
                None => self.fault(key, "is not a known key, and keys without a dot are reserved"),
            }
        }
        kept
    }
}

/// What a JSON value is, with its article.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The known key that differs from `key` least, when it differs by little (edit distance, at most a third of it).
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |other: &str| {
        let mut row: Vec<usize> = (0..=other.len()).collect();
        for (i, a) in key.bytes().enumerate() {
            let mut diagonal = i;
            let mut left = i + 1;
            for (slot, b) in row.iter_mut().zip(std::iter::once(None).chain(other.bytes().map(Some))) {
                let above = *slot;
                if let Some(b) = b {
                    let changed = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
                    left = changed.min(above + 1).min(left + 1);
                }
                *slot = left;
                diagonal = above;
            }
        }
        row.last().copied().unwrap_or_default()
    };
    if key.len() > 64 {
        return None;
    }
    known
        .iter()
        .map(|known| (distance(known), *known))
        .min()
        .filter(|(far, _)| far * 3 <= key.len())
        .map(|(_, near)| near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_finds_the_nearest_one() {
        for (key, near) in [
            ("interfce", "interface"),
            ("ip", ""),
            ("IPS_", "ips"),
            ("port-mappings", "portMappings"),
            ("xyz", ""),
            ("namespaces", "namespace"),
            ("", ""),
        ] {
            assert_eq!(nearest(key, &KEYS).unwrap_or_default(), near, "{key}");
        }
    }
}
