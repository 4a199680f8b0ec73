//! One overlay, two kinds of node: real flanneld on one, Plexus on the others, twice (VNI 1 and 2), over one etcd with client
//! certificates. Runs where `PLEXUS_FLANNELD` names a flanneld binary; needs root.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on is a failed test")]

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::overlays::{self, NETWORKS, Network, Store};
use lab::{Daemon, Etcd, Lab, Node, Pod, inspect, program};

const CONF: &str = include_str!("../../samples/article/plexus.conf");
const DEFINITION: &str = include_str!("../../samples/article/nad-flannel.2.yaml");
const POD: &str = include_str!("../../samples/article/overlay2pod.yaml");
/// flanneld looks again every few seconds at most; a loaded machine takes longer.
const PATIENCE: Duration = Duration::from_secs(40);

/// Three nodes, each with a pod on both networks.
struct Cluster {
    lab: Lab,
    store: Store,
    flanneld: PathBuf,
    /// Real flanneld, `plexus agent`, `plexus flanneld`.
    nodes: Vec<Member>,
}

struct Member {
    kind: Kind,
    node: Node,
    pod: Pod,
    daemons: Vec<Daemon>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Flanneld,
    Agent,
    PlexusFlanneld,
}

#[test]
fn pods_of_both_kinds_of_node_reach_each_other_and_traffic_comes_back_after_restarts_and_lost_links() {
    let Some(flanneld) = std::env::var_os("PLEXUS_FLANNELD").map(PathBuf::from) else {
        println!("SKIPPED: PLEXUS_FLANNELD does not name a flanneld binary");
        return;
    };
    let mut cluster = Cluster::start(flanneld);
    cluster.all_reach_each_other("at first");
    for position in 0..cluster.nodes.len() {
        let kind = cluster.nodes.get(position).unwrap().kind;
        cluster.restart(position);
        cluster.all_reach_each_other(&format!("after a restart of {kind:?}"));
        cluster.delete_links(position);
        if kind == Kind::Flanneld {
            // flanneld makes its link again with another address and tells nobody: only a restart helps it, and peers must follow
            cluster.restart(position);
        }
        cluster.all_reach_each_other(&format!("after the links of {kind:?} were deleted"));
    }
}

impl Cluster {
    fn start(flanneld: PathBuf) -> Self {
        let mut lab = Lab::new("flanneld", &program::built().unwrap()).unwrap();
        let store = Store::Etcd(Etcd::start(&mut lab, 1).unwrap());
        let manifests = lab.directory().join("manifests");
        std::fs::create_dir_all(&manifests).unwrap();
        for (name, text) in [("network.yaml", DEFINITION), ("pod.yaml", POD)] {
            std::fs::write(manifests.join(name), text).unwrap();
        }
        let conf = lab::demo::standalone(serde_json::from_str(CONF).unwrap(), &manifests.to_string_lossy());
        let mut nodes = Vec::new();
        for kind in [Kind::Flanneld, Kind::Agent, Kind::PlexusFlanneld] {
            let node = lab.node(&format!("{kind:?}").to_lowercase()).unwrap();
            if nodes.is_empty() {
                for network in &NETWORKS {
                    store.init(&lab, &node, network).unwrap();
                }
            }
            let pod = node.pod("default", "overlay2pod").unwrap();
            nodes.push(Member { kind, node, pod, daemons: Vec::new() });
        }
        let mut cluster = Self { lab, store, flanneld, nodes };
        for position in 0..cluster.nodes.len() {
            cluster.launch(position);
            let member = cluster.nodes.get_mut(position).unwrap();
            cluster.lab.runtime(&member.node, &conf).unwrap().add(&mut member.pod).unwrap();
        }
        cluster
    }

    /// Start the daemons of a node and wait for their leases.
    fn launch(&mut self, position: usize) {
        let member = self.nodes.get(position).unwrap();
        let mut daemons = match member.kind {
            Kind::Agent => vec![self.store.start_agent(&self.lab, &member.node).unwrap()],
            Kind::Flanneld => NETWORKS.iter().map(|network| self.flanneld(&self.flanneld, member, network)).collect(),
            Kind::PlexusFlanneld => {
                let program = self.lab.install("flanneld").unwrap();
                NETWORKS.iter().map(|network| self.flanneld(&program, member, network)).collect()
            }
        };
        for daemon in &mut daemons {
            overlays::wait_for_leases(daemon, &member.node).unwrap();
        }
        self.nodes.get_mut(position).unwrap().daemons = daemons;
    }

    /// flanneld, real or ours, with the same flags.
    fn flanneld(&self, program: &Path, member: &Member, network: &Network) -> Daemon {
        let Store::Etcd(etcd) = &self.store else { unreachable!("the store is etcd") };
        let tls = etcd.certificates();
        let flag = |name: &str, value: &str| OsString::from(format!("-{name}={value}"));
        let path = |path: &Path| path.to_string_lossy().into_owned();
        member
            .node
            .daemon([
                program.as_os_str().to_owned(),
                flag("etcd-endpoints", &etcd.endpoints().join(",")),
                flag("etcd-prefix", network.prefix),
                flag("etcd-cafile", &path(&tls.ca)),
                flag("etcd-certfile", &path(&tls.client)),
                flag("etcd-keyfile", &path(&tls.client_key)),
                flag("iface", &member.node.address().to_string()),
                flag("subnet-file", network.subnet_file),
                flag("ip-masq", "true"),
            ])
            .unwrap()
    }

    /// Kill the daemons of a node and start them again.
    fn restart(&mut self, position: usize) {
        self.nodes.get_mut(position).unwrap().daemons.clear();
        self.launch(position);
    }

    fn delete_links(&self, position: usize) {
        for network in &NETWORKS {
            self.nodes.get(position).unwrap().node.run(["ip", "link", "del", network.name]).unwrap();
        }
    }

    /// Every pod reaches every other through both networks, if not at once then soon.
    fn all_reach_each_other(&self, when: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let cut = self.cut_off();
            if cut.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{when}, {PATIENCE:?} later: {}\n{}", cut.join("; "), self.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn cut_off(&self) -> Vec<String> {
        let mut cut = Vec::new();
        for network in &NETWORKS {
            for from in &self.nodes {
                for to in self.nodes.iter().filter(|to| to.kind != from.kind) {
                    let target: IpAddr = inspect::address_in(&to.node, &to.pod, network.interface).unwrap().addr();
                    if !inspect::ping_from(&from.node, &from.pod, network.interface, target) {
                        cut.push(format!("{:?} does not reach {:?} through {}", from.kind, to.kind, network.name));
                    }
                }
            }
        }
        cut
    }

    fn logs(&self) -> String {
        let log = |member: &Member, daemon: &Daemon| {
            let text = daemon.log();
            let lines: Vec<_> = text.lines().collect();
            format!(
                "--- {:?}\n{}",
                member.kind,
                lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
            )
        };
        self.nodes
            .iter()
            .flat_map(|member| member.daemons.iter().map(|daemon| log(member, daemon)))
            .collect::<Vec<_>>()
            .join("\n")
    }
}
