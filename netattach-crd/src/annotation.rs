//! The annotation by which a pod asks for networks, in both its forms: the list of names and the JSON list. Everything
//! is validated here, before anything is touched, and all faults are reported at once.

use crate::element;
use crate::fault::{Fault, Faults};
use crate::name;
use crate::selection::{PortMapping, Selection};
use serde_json::Value;
use std::collections::HashMap;

/// The annotation of a pod that asks for networks (multi-net-spec 4.1).
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// The annotation of a pod that replaces the cluster's default network; Multus' own.
pub const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";
/// The annotation of a NAD that names the resource its devices come from.
pub const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";

/// Reads the annotation of a pod in `namespace`, which is also where NADs without a namespace are looked for. Blank
/// text and an empty list ask for nothing.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, namespace: &str) -> Result<Vec<Selection>, Faults> {
    let mut faults = Vec::new();
    let selections = if text.contains(['[', '{', '"']) {
        read_json(text, namespace, &mut faults)
    } else if text.trim().is_empty() {
        Vec::new()
    } else {
        let items = text.split(',').enumerate();
        items.map(|(index, item)| read_item(index + 1, item.trim(), namespace, &mut faults)).collect()
    };
    check_together(&selections, &mut faults);
    if faults.is_empty() { Ok(selections) } else { Err(Faults(faults)) }
}

/// Reads the annotation that replaces the cluster's default network; `namespace` is where NADs without one are.
///
/// # Errors
/// Everything that is wrong with it, also that it names no network or several.
pub fn parse_default_network(text: &str, namespace: &str) -> Result<Selection, Faults> {
    let selections = parse(text, namespace)?;
    let count = selections.len();
    let only = selections.into_iter().next().filter(|_| count == 1);
    only.ok_or_else(|| {
        Faults(vec![Fault::general(format!("names {count} networks, and the default network is exactly one"))])
    })
}

/// Writes selections as the JSON form.
pub fn format(selections: &[Selection]) -> String {
    serde_json::to_string(selections).unwrap_or_default()
}

fn read_json(text: &str, namespace: &str, faults: &mut Vec<Fault>) -> Vec<Selection> {
    let value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            faults.push(Fault::general(format!("is not valid JSON: {error}")));
            return Vec::new();
        }
    };
    match value {
        Value::Array(list) => {
            let elements = list.into_iter().enumerate();
            elements.map(|(index, value)| element::read(index + 1, value, namespace, faults)).collect()
        }
        Value::Object(_) => {
            faults.push(Fault::general("must be a list, not a single object: put it in [ ]"));
            Vec::new()
        }
        other => {
            faults.push(Fault::general(format!("must be a list of objects, not {}", element::kind(&other))));
            Vec::new()
        }
    }
}

/// One item of the short form: `[namespace/]name[@interface]`.
fn read_item(position: usize, item: &str, namespace: &str, faults: &mut Vec<Fault>) -> Selection {
    let mut fault = |key: &str, problem: String| {
        faults.push(Fault { element: Some(position), name: item.to_owned(), key: key.to_owned(), problem });
    };
    if item.is_empty() {
        fault("", "is empty: there is a comma too many".to_owned());
        return Selection::default();
    }
    let (path, interface) = match item.split_once('@') {
        Some((path, interface)) => (path.trim(), Some(interface.trim())),
        None => (item, None),
    };
    let (namespace, name) = match path.split_once('/') {
        Some((namespace, name)) => (namespace.trim(), name.trim()),
        None => (namespace, path),
    };
    if path.contains('/')
        && let Err(error) = name::check_namespace(namespace)
    {
        fault("namespace", error.to_string());
    }
    if let Err(error) = name::check(name) {
        fault("name", error.to_string());
    }
    if let Some(Err(error)) = interface.map(name::check_interface) {
        fault("interface", error.to_string());
    }
    Selection { interface: interface.map(str::to_owned), ..Selection::of(namespace, name) }
}

/// The rules that concern several elements.
fn check_together(selections: &[Selection], faults: &mut Vec<Fault>) {
    let mut interfaces = HashMap::new();
    let mut ports: HashMap<(u16, &str, Option<std::net::IpAddr>), usize> = HashMap::new();
    let mut owner = None;
    for (position, selection) in (1..).zip(selections) {
        let mut fault = |key: String, problem: String| {
            faults.push(Fault { element: Some(position), name: selection.name.clone(), key, problem });
        };
        if let Some(interface) = &selection.interface
            && let Some(other) = interfaces.insert(interface, position)
        {
            fault("interface".to_owned(), format!("{interface:?} is asked for by element {other} already"));
        }
        for (index, PortMapping { host_port, protocol, host_ip, .. }) in selection.port_mappings.iter().enumerate() {
            if let Some(other) = ports.insert((*host_port, protocol.name(), *host_ip), position) {
                let port =
                    format!("port {host_port}/{} of the node is mapped by element {other} already", protocol.name());
                fault(format!("portMappings[{index}]"), port);
            }
        }
        if selection.default_route.is_some()
            && let Some(other) = owner.replace(position)
        {
            fault(
                "default-route".to_owned(),
                format!("only one element may have it, and element {other} has it already"),
            );
        }
    }
}

#[cfg(test)]
#[path = "annotation_tests.rs"]
mod tests;
