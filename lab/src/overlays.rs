//! The overlay networks of a demonstration: where their leases are kept, and the agent that each node runs for them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::certificates::Certificates;
use crate::check::Interface;
use crate::{Daemon, Etcd, Lab, Node, inspect};

/// How long a node may take to get its leases on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// One overlay network.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its name.
    pub name: &'static str,
    /// Its configuration (flannel's `net-conf.json`).
    pub config: &'static str,
    /// Where the agent tells plugins which subnet the node got.
    pub subnet_file: &'static str,
    /// Its key prefix in etcd.
    pub prefix: &'static str,
    /// The bridge of its pods.
    pub bridge: &'static str,
    /// The pod's interface on it.
    pub interface: &'static str,
}

/// The article's two networks.
pub const NETWORKS: [Network; 2] = [
    Network {
        name: "flannel.1",
        config: include_str!("../../samples/article/net-conf-1.json"),
        subnet_file: "/run/flannel/subnet.env",
        prefix: "/coreos.com/network",
        bridge: "kbr0",
        interface: "eth0",
    },
    Network {
        name: "flannel.2",
        config: include_str!("../../samples/article/net-conf-2.json"),
        subnet_file: "/run/flannel/flannel2.env",
        prefix: "/coreos.com/network2",
        bridge: "kbr1",
        interface: "net1",
    },
];

/// Where leases are kept.
#[derive(Debug)]
pub enum Store {
    /// A directory that all nodes share, one below it for each network.
    Directory(PathBuf),
    /// A cluster with client certificates.
    Etcd(Etcd),
}

/// Which store to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreKind {
    /// [`Store::Directory`].
    #[default]
    File,
    /// [`Store::Etcd`] with three members.
    Etcd,
}

impl std::str::FromStr for StoreKind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "file" => Ok(Self::File),
            "etcd" => Ok(Self::Etcd),
            other => anyhow::bail!("store {other:?} is neither `file` nor `etcd`"),
        }
    }
}

impl Store {
    /// Makes a store that all nodes of `lab` reach.
    ///
    /// # Errors
    /// When etcd does not start.
    pub fn make(lab: &mut Lab, kind: StoreKind) -> Result<Self> {
        match kind {
            StoreKind::File => Ok(Self::Directory(lab.directory().join("leases"))),
            StoreKind::Etcd => Ok(Self::Etcd(Etcd::start(lab, 3)?)),
        }
    }

    /// Writes the network's configuration, from `node`, with the command for it. Gives what the command said.
    ///
    /// # Errors
    /// When the command fails.
    pub fn init(&self, lab: &Lab, node: &Node, network: &Network) -> Result<String> {
        let mut words = vec![path_text(lab.program())];
        words.extend(["overlay", "init", "--config", network.config].map(str::to_owned));
        match self {
            Self::Directory(directory) => {
                words.extend(["--store".into(), format!("file:{}", directory.join(network.name).display())])
            }
            Self::Etcd(etcd) => {
                let tls = etcd.certificates();
                words.extend([
                    "--store".into(),
                    format!("etcd:{}", etcd.endpoints().join(",")),
                    "--prefix".into(),
                    network.prefix.into(),
                ]);
                for (option, file) in [("--ca", &tls.ca), ("--cert", &tls.client), ("--key", &tls.client_key)] {
                    words.extend([option.into(), path_text(file)]);
                }
            }
        }
        node.run(words)
    }

    /// The agent's configuration for all networks. JSON, which is YAML as well.
    #[must_use]
    pub fn agent_config(&self) -> Value {
        let overlay = |network: &Network| {
            let store = match self {
                Self::Directory(directory) => json!({"file": directory.join(network.name)}),
                Self::Etcd(etcd) => {
                    let Certificates { ca, client: cert, client_key: key, .. } = etcd.certificates();
                    let (endpoints, prefix) = (etcd.endpoints(), network.prefix);
                    json!({"etcd": {"endpoints": endpoints, "prefix": prefix, "ca": ca, "cert": cert, "key": key}})
                }
            };
            json!({"name": network.name, "store": store, "subnetFile": network.subnet_file, "ipMasq": true})
        };
        json!({"overlays": NETWORKS.iter().map(overlay).collect::<Vec<_>>()})
    }

    /// Starts the agent on `node`. It has its leases when [`wait_until_joined`] returns.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent(&self, lab: &Lab, node: &Node) -> Result<Daemon> {
        let path = "/run/plexus/agent.json";
        node.write(path, &format!("{:#}\n", self.agent_config()))?;
        node.daemon([lab.program().as_os_str(), "agent".as_ref(), "--config".as_ref(), path.as_ref()])
    }
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Waits until the agent has told plugins the subnets of all networks.
///
/// # Errors
/// When the agent ends or takes too long, with its log.
pub fn wait_for_leases(agent: &mut Daemon, node: &Node) -> Result<()> {
    for network in NETWORKS {
        let what = format!("{} on {}", network.subnet_file, node.name());
        agent.wait_until(&what, PATIENCE, || node.exists(network.subnet_file))?;
    }
    Ok(())
}

/// Waits until every agent has told plugins the subnets of all networks, and every node has a route to each subnet of the others.
///
/// # Errors
/// When an agent ends or takes too long, with its log.
pub fn wait_until_joined(agents: &mut [Daemon], nodes: &[Node]) -> Result<()> {
    for (agent, node) in agents.iter_mut().zip(nodes) {
        wait_for_leases(agent, node)?;
    }
    for (agent, node) in agents.iter_mut().zip(nodes) {
        for other in nodes.iter().filter(|other| other.name() != node.name()) {
            for network in &NETWORKS {
                let subnet = Interface::from_subnet_file(other, network.subnet_file, network.interface, false)?.subnet;
                let what = format!("a route to {subnet} of {} on {}", other.name(), node.name());
                agent.wait_until(&what, PATIENCE, || has_route(node, &subnet.to_string()))?;
            }
        }
    }
    Ok(())
}

fn has_route(node: &Node, subnet: &str) -> bool {
    inspect::routes_of(node).is_ok_and(|routes| routes.iter().any(|route| route.dst == subnet))
}
