//! `plexus lab demo`: the article's scenario on this machine, shown and checked step by step.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::check::{self, Interface};
use crate::overlays::{self, NETWORKS, Network, Store, StoreKind};
use crate::report::Report;
use crate::runtime::Verb;
use crate::{Daemon, Lab, Node, Pod, Runtime, Snapshot, command, inspect, program};

const CONF: &str = include_str!("../../samples/article/plexus.conf");
const DEFINITION: &str = include_str!("../../samples/article/nad-flannel.2.yaml");
const FIRST_POD: &str = include_str!("../../samples/article/overlay1pod.yaml");
const SECOND_POD: &str = include_str!("../../samples/article/overlay2pod.yaml");

/// The article's pods, and how many networks each is on.
const NAMES: [(&str, usize); 2] = [("overlay1pod", 1), ("overlay2pod", 2)];

/// A node's part of a network, unless its configuration says otherwise.
const SUBNET_LENGTH: u8 = 24;
/// VXLAN over IPv4 takes 50 bytes of each packet.
const MTU: u32 = 1450;

/// What to show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Where leases are kept.
    pub store: StoreKind,
    /// Whether to wait before the pods are deleted.
    pub keep: bool,
}

/// A node with its agent, and with what is on it.
struct Machine<'a> {
    node: &'a Node,
    runtime: Runtime<'a>,
    before: Snapshot,
    pods: Vec<(Pod, usize)>,
    addresses: Vec<String>,
}

/// Runs the demonstration. True when everything was as it has to be.
///
/// # Errors
/// When something fails that the rest depends on.
pub fn run(options: Options) -> Result<bool> {
    let mut report = Report::new();
    let mut lab = Lab::new("demo", &program::running()?)?;
    let nodes = [lab.node("node1")?, lab.node("node2")?];
    // Stopped in the reverse order, when the demonstration ends: the agents live on the store.
    let (_store, mut agents) = networks(&mut report, &mut lab, &nodes, options.store)?;
    let conf = configuration(&report, &lab)?;
    let mut machines = Vec::new();
    for node in &nodes {
        let (runtime, before) = (lab.runtime(node, &conf)?, node.snapshot()?);
        machines.push(Machine { node, runtime, before, pods: Vec::new(), addresses: Vec::new() });
    }
    plan(&mut report, &lab, &machines)?;
    add(&mut report, &mut machines)?;
    network_status(&mut report, &lab, &machines)?;
    pings(&mut report, &machines)?;
    if options.keep {
        wait(&report, &lab, &machines)?;
    }
    delete(&mut report, &mut machines)?;
    for (agent, node) in agents.iter_mut().zip(&nodes) {
        let ended = agent.ended()?.map(|status| format!("it has ended ({status}); it wrote:\n{}", agent.log()));
        report.check(
            &format!("the agent of {} has run all the time", node.name()),
            &ended.into_iter().collect::<Vec<_>>(),
        );
    }
    Ok(report.finish())
}

/// The overlays: configuration written once, an agent on each node, a subnet for each node.
fn networks(report: &mut Report, lab: &mut Lab, nodes: &[Node], kind: StoreKind) -> Result<(Store, Vec<Daemon>)> {
    report.section("Two nodes, each with an agent and two overlay networks");
    for node in nodes {
        report.note(&format!("{} is {} on an underlay of its own", node.name(), node.address()));
    }
    let store = Store::make(lab, kind)?;
    report.note(match kind {
        StoreKind::File => "leases are kept in a directory that both nodes share",
        StoreKind::Etcd => "leases are kept in etcd: three members, TLS with client certificates",
    });
    let first = nodes.first().context("there is no node")?;
    for network in &NETWORKS {
        report.output(&format!("plexus overlay init … {}", network.name), &store.init(lab, first, network)?);
    }
    let mut agents = nodes.iter().map(|node| store.start_agent(lab, node)).collect::<Result<Vec<_>>>()?;
    overlays::wait_until_joined(&mut agents, nodes)?;
    for node in nodes {
        for network in &NETWORKS {
            subnet(report, node, network)?;
        }
    }
    Ok((store, agents))
}

/// What the agent has told plugins, and whether it is what follows from the network's configuration.
fn subnet(report: &mut Report, node: &Node, network: &Network) -> Result<()> {
    let got = Interface::from_subnet_file(node, network.subnet_file, network.interface, false)?;
    let config: Value = serde_json::from_str(network.config).context("read the network's configuration")?;
    let whole = config.get("Network").and_then(Value::as_str).unwrap_or_default();
    let right = got.network.to_string() == whole
        && got.network.contains(&got.subnet)
        && got.subnet.prefix_len() == SUBNET_LENGTH;
    report.holds(&format!("{}: {} has {} of {whole}", network.name, node.name(), got.subnet), right);
    report
        .holds(&format!("{}: {} leaves {MTU} of the underlay's 1500 bytes", network.name, node.name()), got.mtu == MTU);
    Ok(())
}

/// The node's configuration and the manifests, as the article has them.
fn configuration(report: &Report, lab: &Lab) -> Result<Value> {
    let directory = lab.directory().join("manifests");
    std::fs::create_dir_all(&directory).context("make the directory of manifests")?;
    let manifests =
        [("nad-flannel.2.yaml", DEFINITION), ("overlay1pod.yaml", FIRST_POD), ("overlay2pod.yaml", SECOND_POD)];
    for (name, text) in manifests {
        std::fs::write(directory.join(name), text).with_context(|| format!("write {name}"))?;
    }
    report.section("The second network's definition, and what the second pod says");
    report.output("cat nad-flannel.2.yaml", DEFINITION);
    let annotations: Vec<_> = SECOND_POD.lines().skip_while(|line| !line.contains("metadata")).take(5).collect();
    report.output("grep -A4 metadata overlay2pod.yaml", &annotations.join("\n"));
    let conf = serde_json::from_str(CONF).context("read the sample configuration")?;
    Ok(standalone(conf, &directory.to_string_lossy()))
}

/// The configuration without an API server: pods and network definitions come from `directory`.
#[must_use]
pub fn standalone(mut conf: Value, directory: &str) -> Value {
    let point = |plugin: &mut Value| {
        if let Some(plugin) = plugin
            .as_object_mut()
            .filter(|plugin| plugin.contains_key("delegates") || plugin.contains_key("clusterNetwork"))
        {
            plugin.remove("kubeconfig");
            plugin.insert("manifestDir".to_owned(), directory.into());
        }
    };
    match conf.get_mut("plugins").and_then(Value::as_array_mut) {
        Some(plugins) => plugins.iter_mut().for_each(point),
        None => point(&mut conf),
    }
    conf
}

/// What an ADD of the second pod would do.
fn plan(report: &mut Report, lab: &Lab, machines: &[Machine<'_>]) -> Result<()> {
    let Machine { node, runtime, before, .. } = machines.first().context("there is no node")?;
    report.section("The plan: what ADD will do for overlay2pod on node1");
    let pod = node.pod("default", "overlay2pod")?;
    let mut command = node.space().command_with(&runtime.parameters(Verb::Add, Some(&pod)), lab.program());
    let plan = command::run_with(command.arg("plan"), &runtime.stdin(&pod)?)?;
    report.output("plexus plan", &plan);
    node.remove_sandbox(&pod)?;
    report.check("making the plan has changed nothing", &node.snapshot()?.changes_since(before));
    Ok(())
}

fn add(report: &mut Report, machines: &mut [Machine<'_>]) -> Result<()> {
    for machine in machines {
        let node = machine.node;
        let interfaces = NETWORKS.iter().enumerate();
        let interfaces = interfaces
            .map(|(i, network)| Interface::from_subnet_file(node, network.subnet_file, network.interface, i == 0));
        let interfaces = interfaces.collect::<Result<Vec<_>>>()?;
        for (name, networks) in NAMES {
            let mut pod = node.pod("default", name)?;
            let added = machine.runtime.add(&mut pod)?;
            report.section(&format!(
                "{name} on {}: ADD took {}, entering the node included",
                node.name(),
                milliseconds(added.took)
            ));
            report.output("ip -4 addr", &node.run_in(&pod, ["ip", "-4", "addr"])?);
            report.output("ip route", &node.run_in(&pod, ["ip", "route"])?);
            let expected = interfaces.get(..networks).context("a pod on more networks than there are")?;
            let what: Vec<_> =
                expected.iter().map(|one| format!("{} in {} mtu {}", one.name, one.subnet, one.mtu)).collect();
            report.check(
                &format!("{}, and exactly the routes of these networks", what.join(", ")),
                &check::differences(node, &pod, expected)?,
            );
            for interface in expected {
                machine.addresses.push(inspect::address_in(node, &pod, &interface.name)?.addr().to_string());
            }
            machine.pods.push((pod, networks));
        }
    }
    Ok(())
}

fn network_status(report: &mut Report, lab: &Lab, machines: &[Machine<'_>]) -> Result<()> {
    report.section("The network-status of overlay2pod on node1");
    let machine = machines.first().context("there is no node")?;
    let text = machine.node.run([lab.program(), "show".as_ref(), "overlay2pod".as_ref()])?;
    report.output("plexus show overlay2pod", &text);
    let (pod, _) =
        machine.pods.iter().find(|(pod, _)| pod.name == "overlay2pod").context("overlay2pod is not there")?;
    for network in &NETWORKS {
        let address = inspect::address_in(machine.node, pod, network.interface)?.addr();
        report
            .holds(&format!("it names {} with {address}", network.interface), text.contains(&format!("\"{address}\"")));
    }
    Ok(())
}

/// Every pod to its likes on the other nodes, on every network they share.
fn pings(report: &mut Report, machines: &[Machine<'_>]) -> Result<()> {
    report.section("From pod to pod across the nodes");
    for from in machines {
        for to in machines.iter().filter(|to| to.node.name() != from.node.name()) {
            for ((pod, networks), (other, _)) in from.pods.iter().zip(&to.pods) {
                for network in NETWORKS.iter().take(*networks) {
                    let target = inspect::address_in(to.node, other, network.interface)?.addr();
                    let statement = format!(
                        "{} on {} reaches {target} on {} by {}",
                        pod.name,
                        from.node.name(),
                        to.node.name(),
                        network.interface
                    );
                    report.holds(&statement, inspect::ping_from(from.node, pod, network.interface, target));
                }
            }
        }
    }
    Ok(())
}

fn wait(report: &Report, lab: &Lab, machines: &[Machine<'_>]) -> Result<()> {
    report.section("Look around; Enter goes on");
    for Machine { node, pods, .. } in machines {
        let enter = format!("{} lab enter --pid {}", lab.program().display(), node.space().pid());
        report.note(&format!("{}: {enter} -- bash", node.name()));
        for (pod, _) in pods {
            report.note(&format!("{} on {}: {enter} --netns {} -- bash", pod.name, node.name(), pod.netns().display()));
        }
    }
    std::io::stdin().read_line(&mut String::new()).context("wait for Enter")?;
    Ok(())
}

fn delete(report: &mut Report, machines: &mut [Machine<'_>]) -> Result<()> {
    report.section("Deleting the pods");
    for machine in machines {
        let node = machine.node;
        for (pod, _) in &mut machine.pods {
            let took = machine.runtime.del(pod)?;
            let left =
                inspect::links_in(node, pod)?.into_iter().filter(|link| link.ifname != "lo").map(|link| link.ifname);
            report.check(
                &format!("{} on {}: DEL took {} and left no interface", pod.name, node.name(), milliseconds(took)),
                &left.collect::<Vec<_>>(),
            );
            node.remove_sandbox(pod)?;
        }
        let bridges = NETWORKS.map(|network| network.bridge);
        let pods = machine.pods.iter().map(|(pod, _)| pod.container.as_str());
        let names: Vec<_> = pods.chain(machine.addresses.iter().map(String::as_str)).collect();
        let left = node.snapshot()?.leftovers_since(&machine.before, &bridges, &names);
        report.check(
            &format!("{} is as before, but for the bridges {} that stay", node.name(), bridges.join(" and ")),
            &left,
        );
    }
    Ok(())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
