//! `plexus lab try`: a user's own configuration, network definitions and pods on nodes of the lab.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::overlays::{self, Store, StoreKind};
use crate::report::Report;
use crate::{Daemon, Lab, Node, Pod, Runtime, demo, program, snapshot};

/// What to try.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The node's network configuration or list.
    pub conf: Value,
    /// Files with network definitions and pods, which the plugin reads.
    pub manifests: Vec<PathBuf>,
    /// Namespace and name of each pod.
    pub pods: Vec<(String, String)>,
    /// How many nodes; pods are dealt out to them in turn.
    pub nodes: usize,
    /// Whether to go without the two overlay networks of the demonstration.
    pub bare: bool,
    /// What to run in each pod instead of showing its addresses and routes.
    pub command: Vec<OsString>,
}

/// Attaches the pods, shows them or runs the command in them, and detaches them. True when nothing failed and nothing was left.
///
/// # Errors
/// When something fails that the rest depends on.
pub fn run(options: &Options) -> Result<bool> {
    let mut report = Report::new();
    let mut lab = Lab::new("try", &program::running()?)?;
    let nodes =
        (1..=options.nodes.max(1)).map(|number| lab.node(&format!("node{number}"))).collect::<Result<Vec<_>>>()?;
    let _agents = if options.bare { Vec::new() } else { agents(&report, &mut lab, &nodes)? };
    let conf = demo::standalone(options.conf.clone(), &manifests(&lab, &options.manifests)?);
    let runtimes = nodes.iter().map(|node| lab.runtime(node, &conf)).collect::<Result<Vec<_>>>()?;
    let before = nodes.iter().map(Node::snapshot).collect::<Result<Vec<_>>>()?;

    let mut pods = Vec::new();
    for ((namespace, name), (node, runtime)) in options.pods.iter().zip(nodes.iter().zip(&runtimes).cycle()) {
        let mut pod = node.pod(namespace, name)?;
        attach(&mut report, node, runtime, &mut pod);
        pods.push((pod, node, runtime));
    }
    for (pod, node, _) in pods.iter().filter(|(pod, ..)| pod.result.is_some()) {
        show(&mut report, &lab, node, pod, &options.command);
    }
    report.section("Deleting the pods");
    for (pod, node, runtime) in &mut pods {
        let deleted = runtime.del(pod).and_then(|_| node.remove_sandbox(pod));
        report.check(&format!("DEL of {pod} on {}", node.name()), &reason(&deleted));
    }
    for (node, before) in nodes.iter().zip(&before) {
        // what a foreign configuration may leave is not known here: it is shown, and judged by the reader
        report.output(
            &format!("what is new on {}", node.name()),
            &snapshot::text(&node.snapshot()?.changes_since(before)),
        );
    }
    Ok(report.finish())
}

fn agents(report: &Report, lab: &mut Lab, nodes: &[Node]) -> Result<Vec<Daemon>> {
    let store = Store::make(lab, StoreKind::File)?;
    let first = nodes.first().context("there is no node")?;
    for network in &overlays::NETWORKS {
        store.init(lab, first, network)?;
        report.note(&format!("overlay network {} is described by {} on every node", network.name, network.subnet_file));
    }
    let mut agents = nodes.iter().map(|node| store.start_agent(lab, node)).collect::<Result<Vec<_>>>()?;
    overlays::wait_until_joined(&mut agents, nodes)?;
    Ok(agents)
}

/// Copies the files into a directory of their own, which the plugin reads.
fn manifests(lab: &Lab, files: &[PathBuf]) -> Result<String> {
    let directory = lab.directory().join("manifests");
    std::fs::create_dir_all(&directory).context("make the directory of manifests")?;
    for (number, file) in files.iter().enumerate() {
        let ending = file.extension().map_or_else(|| "yaml".into(), |ending| ending.to_string_lossy());
        std::fs::copy(file, directory.join(format!("{number:03}.{ending}")))
            .with_context(|| format!("copy {}", file.display()))?;
    }
    Ok(directory.to_string_lossy().into_owned())
}

fn attach(report: &mut Report, node: &Node, runtime: &Runtime<'_>, pod: &mut Pod) {
    report.section(&format!("{pod} on {}", node.name()));
    let added = runtime.add(pod);
    report.check("ADD", &reason(&added));
    if let Ok(added) = added {
        report.output("result", &format!("{:#}", added.result));
    }
}

fn show(report: &mut Report, lab: &Lab, node: &Node, pod: &Pod, command: &[OsString]) {
    report.section(&format!("In {pod} on {}", node.name()));
    if !command.is_empty() {
        let output = node.run_in(pod, command);
        report.check(&format!("{}", command.join(" ".as_ref()).to_string_lossy()), &reason(&output));
        report.note(&output.unwrap_or_default());
        return;
    }
    for words in [["ip", "addr"], ["ip", "route"]] {
        let output = node.run_in(pod, words);
        report.output(&words.join(" "), &output.unwrap_or_else(|error| format!("{error:#}")));
    }
    let status = node.run([lab.program().as_os_str(), "show".as_ref(), pod.container.as_ref()]);
    report.output(&format!("plexus show {pod}"), &status.unwrap_or_else(|error| format!("{error:#}")));
}

fn reason<T>(outcome: &Result<T>) -> Vec<String> {
    outcome.as_ref().err().map(|error| format!("{error:#}")).into_iter().collect()
}
