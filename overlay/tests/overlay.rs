//! Whole overlays on two and three nodes: real stores, real kernels, real packets, and everything that goes wrong in a node's life.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Lab, Node, add_pod_address, call, eventually, index, reaches, socket};
use etcd_subnet::env::SubnetEnv;
use etcd_subnet::file::FileManager;
use etcd_subnet::{AcquireRequest, Attributes, NetworkConfig, SubnetManager, VxlanData, init};
use ipnet::Ipv4Net;
use net::message::{address, link, neighbour, nexthop, route};
use net::nft;
use net::ns::Namespace;
use net::snapshot::{self, Snapshot};
use overlay::desired::{ROUTE_PROTOCOL, nexthop_id};
use overlay::network::{Overlay, Settings, Status};
use overlay::underlay::Choice;
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

/// A network's store and its text.
struct Network {
    store: PathBuf,
    vni: u32,
}

impl Network {
    fn new(directory: &Path, vni: u32, config: &str) -> Network {
        let store = directory.join(format!("store{vni}"));
        block_on(async {
            init::initialize(&FileManager::new(&store), config, false).await.unwrap();
        });
        Network { store, vni }
    }

    fn manager(&self) -> Arc<dyn SubnetManager> {
        Arc::new(FileManager::new(&self.store))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// An agent on a node: one thread in the node's namespace.
struct Agent {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    status: Vec<watch::Receiver<Status>>,
    files: Vec<PathBuf>,
}

impl Agent {
    fn start(node: &Node, home: &Path, networks: &[&Network]) -> Agent {
        Agent::start_with(node, home, networks, |_| {})
    }

    fn start_with(node: &Node, home: &Path, networks: &[&Network], edit: impl Fn(&mut Settings)) -> Agent {
        let mut overlays = Vec::new();
        let mut files = Vec::new();
        for network in networks {
            let mut settings = Settings {
                name: format!("net{}", network.vni),
                choice: Choice::default(),
                mtu: None,
                subnet_file: home.join(format!("subnet{}.env", network.vni)),
                masquerade: true,
                forward: true,
                state_dir: home.join("state"),
                renew_margin: Duration::from_secs(3600),
                check_every: Duration::from_secs(3600),
            };
            edit(&mut settings);
            files.push(settings.subnet_file.clone());
            overlays.push(Overlay::new(settings, network.manager()));
        }
        let status: Vec<_> = overlays.iter().map(Overlay::status).collect();
        let (stop, stopped) = oneshot::channel();
        let ns = node.ns.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            ns.run(|| block_on(run(overlays, stopped))).unwrap();
        });
        let agent = Agent { stop: Some(stop), thread: Some(thread), status, files };
        eventually("the overlays are ready", || agent.status.iter().all(|status| status.borrow().ready));
        agent
    }

    fn subnet(&self, number: usize) -> Ipv4Net {
        self.status[number].borrow().subnet.unwrap()
    }

    fn peers(&self, number: usize) -> usize {
        self.status[number].borrow().peers
    }

    fn env(&self, number: usize) -> SubnetEnv {
        std::fs::read_to_string(&self.files[number]).unwrap().parse().unwrap()
    }

    /// Stops as a killed process would: at once and without a word.
    fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

async fn run(overlays: Vec<Overlay>, stopped: oneshot::Receiver<()>) {
    let mut tasks = tokio::task::JoinSet::new();
    for overlay in overlays {
        tasks.spawn(overlay.run());
    }
    tokio::select! {
        _ = stopped => {}
        Some(ended) = tasks.join_next() => panic!("an overlay ended: {ended:?}"),
    }
}

const FIRST: &str = r#"{"Network":"10.42.0.0/16","Backend":{"Type":"vxlan","VNI":1}}"#;
const SECOND: &str = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":2}}"#;

/// Two nodes with an agent and a pod address each.
struct Pair {
    lab: Lab,
    home: TempDir,
    network: Network,
    agents: [Agent; 2],
    pods: [Ipv4Addr; 2],
}

impl Pair {
    fn new() -> Pair {
        let lab = Lab::new(3);
        let home = tempfile::tempdir().unwrap();
        let network = Network::new(home.path(), 1, FIRST);
        let agents = [0, 1].map(|n| Agent::start(&lab.nodes[n], &home.path().join(format!("node{n}")), &[&network]));
        let pods =
            [0, 1].map(|n| add_pod_address(&lab.nodes[n].ns, "kbr0", agents[n].subnet(0), if n == 0 { 1 } else { 2 }));
        let pair = Pair { lab, home, network, agents, pods };
        pair.assert_connected("at the start");
        pair
    }

    fn ns(&self) -> &Namespace {
        &self.lab.nodes[0].ns
    }

    fn home(&self, number: usize) -> PathBuf {
        self.home.path().join(format!("node{number}"))
    }

    fn restart(&mut self, number: usize) {
        let replaced = Agent::start(&self.lab.nodes[number], &self.home(number), &[&self.network]);
        std::mem::replace(&mut self.agents[number], replaced).stop();
    }

    fn assert_connected(&self, when: &str) {
        let [a, b] = [&self.lab.nodes[0].ns, &self.lab.nodes[1].ns];
        assert!(reaches(a, self.pods[0], b, self.pods[1], 100), "no traffic to the peer {when}");
        assert!(reaches(b, self.pods[1], a, self.pods[0], 100), "no traffic from the peer {when}");
    }

    fn text(&self, number: usize) -> String {
        let snapshot = Snapshot::take(&mut socket(&self.lab.nodes[number].ns)).unwrap();
        snapshot.lines().collect::<Vec<_>>().join("\n")
    }
}

fn mac_of(ns: &Namespace, name: &str) -> net::Mac {
    snapshot::link_by_name(&mut socket(ns), name).unwrap().unwrap().mac.unwrap()
}

#[test]
fn two_nodes_join_and_tell_the_plugin_their_subnets() {
    let pair = Pair::new();
    for agent in &pair.agents {
        let env = agent.env(0);
        let host = Ipv4Addr::from(u32::from(agent.subnet(0).network()) + 1);
        let text =
            format!("FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET={host}/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n");
        assert_eq!(env.to_string(), text);
        assert_eq!(std::fs::read_to_string(&agent.files[0]).unwrap(), text);
    }
    assert_ne!(pair.agents[0].subnet(0), pair.agents[1].subnet(0));
}

#[test]
fn whatever_is_removed_behind_the_agents_back_comes_back() {
    let pair = Pair::new();
    let peer = pair.agents[1].subnet(0);
    let vtep = peer.network();
    let remote = pair.lab.nodes[1].address;
    let mac = mac_of(&pair.lab.nodes[1].ns, "flannel.1");
    let device = || index(pair.ns(), "flannel.1");
    let id = nexthop_id(1, vtep);
    let whole = Snapshot::take(&mut socket(pair.ns())).unwrap();
    let damages: [(&str, &dyn Fn() -> net::netlink::Message); 9] = [
        ("route removed", &|| route::delete(&route::Route::through(peer.into(), id, ROUTE_PROTOCOL))),
        ("neighbour removed", &|| neighbour::delete(device(), vtep.into())),
        ("forwarding entry removed", &|| neighbour::delete_forwarding(device(), mac, remote.into())),
        ("nexthop removed", &|| nexthop::delete(id)),
        ("neighbour replaced", &|| neighbour::set(device(), vtep.into(), net::Mac([2, 9, 9, 9, 9, 9]))),
        ("device down", &|| link::set_down(device(), "flannel.1")),
        ("mtu changed", &|| link::set_mtu(device(), "flannel.1", 1300)),
        ("mac changed", &|| link::set_mac(device(), "flannel.1", net::Mac([2, 9, 9, 9, 9, 9]))),
        ("device deleted", &|| link::delete(device(), "flannel.1")),
    ];
    for (what, damage) in damages {
        call(pair.ns(), &damage());
        eventually(&format!("repair after: {what}"), || {
            Snapshot::take(&mut socket(pair.ns())).is_ok_and(|now| now.since(&whole).is_empty())
        });
    }
    pair.assert_connected("after all repairs");
}

#[test]
fn a_restart_keeps_subnet_mac_and_connections() {
    let mut pair = Pair::new();
    let before = (pair.agents[0].subnet(0), mac_of(pair.ns(), "flannel.1"), index(pair.ns(), "flannel.1"));
    pair.restart(0);
    let after = (pair.agents[0].subnet(0), mac_of(pair.ns(), "flannel.1"), index(pair.ns(), "flannel.1"));
    assert_eq!(before, after);
    pair.assert_connected("after a restart");
}

#[test]
fn the_data_path_stays_while_no_agent_runs() {
    let mut pair = Pair::new();
    pair.agents[0].end();
    pair.assert_connected("without an agent");
    assert!(pair.agents[0].files[0].exists());
}

#[test]
fn a_device_lost_while_no_agent_ran_comes_back_with_its_mac() {
    let mut pair = Pair::new();
    let mac = mac_of(pair.ns(), "flannel.1");
    pair.agents[0].end();
    call(pair.ns(), &link::delete_by_name("flannel.1"));
    pair.restart(0);
    assert_eq!(mac_of(pair.ns(), "flannel.1"), mac);
    pair.assert_connected("after the device was lost");
}

#[test]
fn a_peer_that_joins_is_reached_and_one_that_leaves_is_forgotten() {
    let pair = Pair::new();
    let third = Agent::start(&pair.lab.nodes[2], &pair.home(2), &[&pair.network]);
    let pod = add_pod_address(&pair.lab.nodes[2].ns, "kbr0", third.subnet(0), 3);
    eventually("all know the third", || pair.agents.iter().all(|agent| agent.peers(0) == 2) && third.peers(0) == 2);
    assert!(reaches(pair.ns(), pair.pods[0], &pair.lab.nodes[2].ns, pod, 100));
    let subnet = third.subnet(0);
    third.stop();
    release(&pair.network, subnet, pair.lab.nodes[2].address);
    eventually("all forget the third", || pair.agents.iter().all(|agent| agent.peers(0) == 1));
    for number in [0, 1] {
        assert!(!pair.text(number).contains(&subnet.network().to_string()), "{}", pair.text(number));
    }
    pair.assert_connected("after the third has left");
}

/// Takes a node's lease out of the store, as expiry would.
fn release(network: &Network, subnet: Ipv4Net, public: Ipv4Addr) {
    let manager = network.manager();
    block_on(async {
        let lease = manager.acquire(&request(network, subnet, public)).await.unwrap();
        assert_eq!(lease.subnet, subnet);
        manager.release(&lease).await.unwrap();
    });
}

fn request(network: &Network, subnet: Ipv4Net, public: Ipv4Addr) -> AcquireRequest {
    let config = block_on_config(network);
    let data = VxlanData { vni: network.vni, vtep_mac: "02:00:00:00:99:99".into() };
    AcquireRequest {
        pool: *config.supported().unwrap(),
        attributes: Attributes::vxlan(public, &data),
        previous_subnet: Some(subnet),
    }
}

fn block_on_config(network: &Network) -> NetworkConfig {
    NetworkConfig::parse(if network.vni == 1 { FIRST } else { SECOND }).unwrap()
}

#[test]
fn a_peer_removed_while_no_agent_ran_leaves_nothing() {
    let mut pair = Pair::new();
    let peer = pair.agents[1].subnet(0);
    pair.agents[0].end();
    pair.agents[1].end();
    release(&pair.network, peer, pair.lab.nodes[1].address);
    pair.restart(0);
    eventually("the peer is forgotten", || !pair.text(0).contains(&peer.network().to_string()));
}

#[test]
fn a_peer_with_a_new_mac_is_followed() {
    let mut pair = Pair::new();
    let old = mac_of(&pair.lab.nodes[1].ns, "flannel.1");
    pair.agents[1].end();
    call(&pair.lab.nodes[1].ns, &link::delete_by_name("flannel.1"));
    std::fs::remove_dir_all(pair.home(1).join("state")).unwrap();
    pair.restart(1);
    assert_ne!(mac_of(&pair.lab.nodes[1].ns, "flannel.1"), old);
    pair.assert_connected("after the peer's mac has changed");
    eventually("the old mac is gone", || !pair.text(0).contains(&old.to_string()));
}

#[test]
fn a_node_whose_address_changes_is_followed_without_a_restart() {
    let pair = Pair::new();
    let node = &pair.lab.nodes[1];
    move_node(node, "192.168.77.2/24", "192.168.77.12/24");
    eventually("the peer sends to the new address", || {
        pair.text(0).contains("to 192.168.77.12") && !pair.text(0).contains("to 192.168.77.2\n")
    });
    pair.assert_connected("after the address has changed");
}

/// Gives `eth0` of a node another address. It is without address and default route for a while, and the kernel takes routes with
/// their address.
fn move_node(node: &Node, old: &str, new: &str) {
    call(&node.ns, &address::delete(2, "eth0", old.parse().unwrap()));
    call(&node.ns, &address::add(2, "eth0", new.parse().unwrap()));
    let default = route::Route {
        gateway: Some(Ipv4Addr::new(192, 168, 77, 254).into()),
        index: Some(2),
        ..route::Route::to("0.0.0.0/0".parse().unwrap())
    };
    call(&node.ns, &route::replace(&default));
}

#[test]
fn a_node_that_starts_under_another_address_is_another_node() {
    let mut pair = Pair::new();
    let node = &pair.lab.nodes[1];
    let (mac, subnet) = (mac_of(&node.ns, "flannel.1"), pair.agents[1].subnet(0));
    pair.agents[1].end();
    move_node(node, "192.168.77.2/24", "192.168.77.12/24");
    pair.restart(1);
    let node = &pair.lab.nodes[1];
    assert_ne!(mac_of(&node.ns, "flannel.1"), mac, "its old lease is still in the store and has this mac");
    assert_ne!(pair.agents[1].subnet(0), subnet);
    let pod = add_pod_address(&node.ns, "kbr9", pair.agents[1].subnet(0), 9);
    assert!(reaches(pair.ns(), pair.pods[0], &node.ns, pod, 100));
}

#[test]
fn a_smaller_underlay_mtu_reaches_device_and_plugin() {
    let pair = Pair::new();
    call(pair.ns(), &link::set_mtu(2, "eth0", 1400));
    eventually("the device follows", || pair.text(0).contains("link flannel.1 mtu 1350"));
    eventually("the plugin is told", || pair.agents[0].env(0).mtu == 1350);
}

#[test]
fn a_lost_lease_is_taken_again() {
    let pair = Pair::new();
    let subnet = pair.agents[0].subnet(0);
    release(&pair.network, subnet, pair.lab.nodes[0].address);
    eventually("the peer knows the node again", || {
        let text = pair.text(1);
        text.contains(&subnet.network().to_string())
            && pair.agents[1].peers(0) == 1
            && !text.contains("02:00:00:00:99:99")
    });
    assert_eq!(pair.agents[0].subnet(0), subnet);
    pair.assert_connected("after the lease was lost");
}

#[test]
fn a_node_whose_subnet_somebody_else_took_moves_to_another() {
    let pair = Pair::new();
    let taken = pair.agents[0].subnet(0);
    let usurper = Ipv4Addr::new(192, 168, 77, 99);
    let data = VxlanData { vni: 1, vtep_mac: "02:00:00:00:99:99".into() };
    let file = pair.network.store.join(format!("subnets/{}-24", taken.network()));
    std::fs::write(file, Attributes::vxlan(usurper, &data).to_json()).unwrap();
    eventually("the node has another subnet", || pair.agents[0].subnet(0) != taken && pair.agents[0].peers(0) == 2);
    let moved = pair.agents[0].subnet(0);
    let text = pair.text(0);
    assert!(text.contains(&format!("address {}/32 on flannel.1", moved.network())), "{text}");
    assert!(!text.contains(&format!("address {}/32 on flannel.1", taken.network())), "{text}");
    assert!(text.contains("02:00:00:00:99:99 on flannel.1 to 192.168.77.99"), "{text}");
    eventually("the plugin is told", || pair.agents[0].env(0).previous_subnet() == Some(moved));
    eventually("the peer follows", || pair.text(1).contains(&moved.network().to_string()));
}

#[test]
fn flushed_rules_come_back() {
    let pair = Pair::new();
    let table = nft::rulesets::flannel::table("net1", nft::Family::Ip);
    let mut rules = nft::Socket::open_in(pair.ns()).unwrap();
    let chains = |rules: &mut nft::Socket| rules.read_table(&table).unwrap().map(|state| state.chains.len());
    assert_eq!(chains(&mut rules), Some(2));
    let delete = nft::Change::DeleteTable { table: table.clone(), missing_ok: false };
    rules.commit(&vec![delete].into()).unwrap();
    eventually("the rules are back", || chains(&mut rules) == Some(2));
}

#[test]
fn without_masquerading_there_are_no_masquerade_rules() {
    let lab = Lab::new(1);
    let home = tempfile::tempdir().unwrap();
    let network = Network::new(home.path(), 1, FIRST);
    let agent = Agent::start_with(&lab.nodes[0], home.path(), &[&network], |settings| settings.masquerade = false);
    assert!(!agent.env(0).ip_masq);
    let table = nft::rulesets::flannel::table("net1", nft::Family::Ip);
    let state = nft::Socket::open_in(&lab.nodes[0].ns).unwrap().read_table(&table).unwrap().unwrap();
    assert_eq!(state.chains.keys().collect::<Vec<_>>(), ["forward"]);
}

#[test]
fn two_networks_in_one_process_both_carry_traffic_and_only_their_own() {
    let lab = Lab::new(2);
    let home = tempfile::tempdir().unwrap();
    let networks = [Network::new(home.path(), 1, FIRST), Network::new(home.path(), 2, SECOND)];
    let both: Vec<&Network> = networks.iter().collect();
    let agents = [0, 1].map(|n| Agent::start(&lab.nodes[n], &home.path().join(format!("node{n}")), &both));
    let [a, b] = lab.nodes.as_slice() else { unreachable!() };
    for (number, bridge) in ["kbr0", "kbr1"].into_iter().enumerate() {
        let from = add_pod_address(&a.ns, bridge, agents[0].subnet(number), 10);
        let to = add_pod_address(&b.ns, bridge, agents[1].subnet(number), 20);
        assert!(reaches(&a.ns, from, &b.ns, to, 100), "network {number}");
    }
    let text = Snapshot::take(&mut socket(&a.ns)).unwrap().lines().collect::<Vec<_>>().join("\n");
    assert!(text.contains("link flannel.1 ") && text.contains("link flannel.2 "), "{text}");
    let tables = nft::Socket::open_in(&a.ns).unwrap().tables().unwrap();
    assert_eq!(tables.len(), 2, "{tables:?}");
}
