//! What a pod must look like, and how a pod differs from it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;

use crate::{Node, Pod, inspect};

/// An interface on an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name in the pod.
    pub name: String,
    /// The overlay's whole network.
    pub network: Ipv4Net,
    /// The node's part of it.
    pub subnet: Ipv4Net,
    /// In bytes.
    pub mtu: u32,
    /// Whether the pod's default route goes by way of it.
    pub default_route: bool,
}

impl Interface {
    /// From the file the overlay's agent has written on `node` (flannel's `subnet.env`).
    ///
    /// # Errors
    /// When the file is missing or incomplete.
    pub fn from_subnet_file(node: &Node, path: &str, name: &str, default_route: bool) -> Result<Self> {
        let text = node.read(path)?;
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.with_context(|| format!("{path} of {} has no {key}", node.name()))
        };
        let subnet: Ipv4Net = value("FLANNEL_SUBNET")?.parse().with_context(|| format!("FLANNEL_SUBNET in {path}"))?;
        Ok(Self {
            name: name.to_owned(),
            network: value("FLANNEL_NETWORK")?.parse().with_context(|| format!("FLANNEL_NETWORK in {path}"))?,
            subnet: subnet.trunc(),
            mtu: value("FLANNEL_MTU")?.parse().with_context(|| format!("FLANNEL_MTU in {path}"))?,
            default_route,
        })
    }

    /// The bridge's address, which is the pod's gateway.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.subnet.hosts().next().unwrap_or_else(|| self.subnet.addr())
    }

    fn routes(&self) -> Vec<String> {
        let (name, gateway) = (&self.name, self.gateway());
        let mut routes =
            vec![format!("{} via {gateway} dev {name}", self.network), format!("{} dev {name}", self.subnet)];
        if self.default_route {
            routes.push(format!("default via {gateway} dev {name}"));
        }
        routes
    }
}

/// How `pod` differs from having exactly these interfaces, with exactly their addresses, MTU and routes. Empty when it does not.
///
/// # Errors
/// When the pod cannot be looked at.
pub fn differences(node: &Node, pod: &Pod, expected: &[Interface]) -> Result<Vec<String>> {
    let links = inspect::links_in(node, pod)?;
    let mut found = Vec::new();
    for link in
        links.iter().filter(|link| link.ifname != "lo" && expected.iter().all(|wanted| wanted.name != link.ifname))
    {
        found.push(format!("interface {} is not expected", link.ifname));
    }
    for wanted in expected {
        match links.iter().find(|link| link.ifname == wanted.name) {
            Some(link) => found.extend(differences_of(link, wanted)),
            None => found.push(format!("interface {} is missing", wanted.name)),
        }
    }
    let routes: BTreeSet<_> = inspect::routes_in(node, pod)?.iter().map(ToString::to_string).collect();
    let wanted: BTreeSet<_> = expected.iter().flat_map(Interface::routes).collect();
    found.extend(wanted.difference(&routes).map(|route| format!("route `{route}` is missing")));
    found.extend(routes.difference(&wanted).map(|route| format!("route `{route}` is not expected")));
    Ok(found)
}

fn differences_of(link: &inspect::Link, wanted: &Interface) -> Vec<String> {
    let name = &wanted.name;
    let mut found = Vec::new();
    if link.mtu != wanted.mtu {
        found.push(format!("{name} has mtu {}, not {}", link.mtu, wanted.mtu));
    }
    if !link.is_up() {
        found.push(format!("{name} is down"));
    }
    match link.ipv4().as_slice() {
        [address] if is_of(address.addr(), wanted) && address.prefix_len() == wanted.subnet.prefix_len() => {}
        all => found.push(format!("{name} has addresses {all:?}, not one of {}", wanted.subnet)),
    }
    let broadcast = link.addr_info.iter().find(|address| address.local.is_ipv4()).and_then(|address| address.broadcast);
    if broadcast != Some(IpAddr::V4(wanted.subnet.broadcast())) {
        found.push(format!("{name} has broadcast {broadcast:?}, not {}", wanted.subnet.broadcast()));
    }
    found
}

fn is_of(address: IpAddr, wanted: &Interface) -> bool {
    matches!(address, IpAddr::V4(v4) if wanted.subnet.contains(&v4) && v4 != wanted.gateway())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_brings_its_network_its_subnet_and_perhaps_the_default_route() {
        let mut interface = Interface {
            name: "eth0".into(),
            network: "10.42.0.0/16".parse().unwrap(),
            subnet: "10.42.7.0/24".parse().unwrap(),
            mtu: 1450,
            default_route: false,
        };
        assert_eq!(interface.routes(), ["10.42.0.0/16 via 10.42.7.1 dev eth0", "10.42.7.0/24 dev eth0"]);
        interface.default_route = true;
        assert!(interface.routes().contains(&"default via 10.42.7.1 dev eth0".to_owned()));
    }
}
