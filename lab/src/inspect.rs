//! Looking at nodes and pods with `ip` and `ping`, whose opinion is independent of ours.

use std::fmt;
use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context as _, Result};
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Node, Pod, command};

/// A link, as `ip -j -d addr` shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct Link {
    /// Its name.
    pub ifname: String,
    /// Its index.
    pub ifindex: u32,
    /// In bytes.
    pub mtu: u32,
    /// Its MAC, where it has one.
    #[serde(default)]
    pub address: String,
    /// `UP`, `LOWER_UP` and others.
    #[serde(default)]
    pub flags: Vec<String>,
    /// The bridge it is a port of.
    pub master: Option<String>,
    /// Its addresses.
    #[serde(default)]
    pub addr_info: Vec<Address>,
    linkinfo: Option<LinkInfo>,
}

#[derive(Debug, Clone, Deserialize)]
struct LinkInfo {
    info_kind: Option<String>,
}

/// An address of a link.
#[derive(Debug, Clone, Deserialize)]
pub struct Address {
    /// The address.
    pub local: IpAddr,
    /// The network's prefix length.
    pub prefixlen: u8,
    /// The broadcast address.
    pub broadcast: Option<IpAddr>,
    /// `global`, `host` or `link`.
    pub scope: String,
}

/// A route of the main table, as `ip -j route` shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Route {
    /// `default` or a network.
    pub dst: String,
    /// The next hop.
    pub gateway: Option<IpAddr>,
    /// The link.
    pub dev: String,
    /// `kernel` for routes that come with an address.
    pub protocol: Option<String>,
    /// The preference among equals; none is the best.
    pub metric: Option<u32>,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dst)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " dev {}", self.dev)?;
        match self.metric {
            Some(metric) => write!(f, " metric {metric}"),
            None => Ok(()),
        }
    }
}

impl Link {
    /// `veth`, `bridge`, `vxlan` and so on.
    #[must_use]
    pub fn kind(&self) -> Option<String> {
        self.linkinfo.as_ref().and_then(|info| info.info_kind.clone())
    }

    /// Whether it is administratively up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.flags.iter().any(|flag| flag == "UP")
    }

    /// Its IPv4 addresses with prefix lengths.
    #[must_use]
    pub fn ipv4(&self) -> Vec<IpNet> {
        let v4 = self.addr_info.iter().filter(|address| address.local.is_ipv4());
        v4.filter_map(|address| IpNet::new(address.local, address.prefixlen).ok()).collect()
    }
}

/// The node's links with their addresses.
///
/// # Errors
/// When `ip` fails.
pub fn links_of(node: &Node) -> Result<Vec<Link>> {
    json(node.command("ip").args(["-j", "-d", "addr"]))
}

/// The pod's links with their addresses.
///
/// # Errors
/// When `ip` fails or the sandbox is gone.
pub fn links_in(node: &Node, pod: &Pod) -> Result<Vec<Link>> {
    json(node.space().command_in(pod.netns(), "ip").args(["-j", "-d", "addr"]))
}

/// The node's IPv4 routes of the main table.
///
/// # Errors
/// When `ip` fails.
pub fn routes_of(node: &Node) -> Result<Vec<Route>> {
    json(node.command("ip").args(["-j", "-4", "route"]))
}

/// The pod's IPv4 routes of the main table.
///
/// # Errors
/// When `ip` fails or the sandbox is gone.
pub fn routes_in(node: &Node, pod: &Pod) -> Result<Vec<Route>> {
    json(node.space().command_in(pod.netns(), "ip").args(["-j", "-4", "route"]))
}

/// The first IPv4 address of the pod's interface.
///
/// # Errors
/// When it has none.
pub fn address_in(node: &Node, pod: &Pod, ifname: &str) -> Result<IpNet> {
    let links = links_in(node, pod)?;
    let link =
        links.iter().find(|link| link.ifname == ifname).with_context(|| format!("{pod} has no interface {ifname}"))?;
    link.ipv4().first().copied().with_context(|| format!("{ifname} of {pod} has no IPv4 address"))
}

/// Whether the pod reaches `target` by way of its interface or address `from`. Tries for some three seconds: the first packet of a pair
/// of nodes may be lost while they find each other.
#[must_use]
pub fn ping_from(node: &Node, pod: &Pod, from: &str, target: IpAddr) -> bool {
    ping(|| node.space().command_in(pod.netns(), "ping"), Some(from), target)
}

/// Whether the node itself reaches `target`.
#[must_use]
pub fn ping_from_node(node: &Node, target: IpAddr) -> bool {
    ping(|| node.command("ping"), None, target)
}

fn ping(command: impl Fn() -> Command, from: Option<&str>, target: IpAddr) -> bool {
    (0..3).any(|_| {
        let mut ping = command();
        ping.args(["-n", "-q", "-c", "1", "-W", "1"])
            .args(from.map(|from| ["-I", from]).into_iter().flatten())
            .arg(target.to_string());
        command::run(&mut ping).is_ok()
    })
}

fn json<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let text = command::run(command)?;
    serde_json::from_str(&text).with_context(|| format!("read the output of {}", command::text(command)))
}
