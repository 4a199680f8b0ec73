//! ADD and DEL of the pod of two networks: one after the other, and eight at a time, on nodes that fill up.

use crate::options::Options;
use crate::order::{Order, Outcome, Sample};
use crate::report::Report;
use crate::stats::Summary;
use crate::subject::{Kind, Setup};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const WARM_UP: u32 = 3;
const WORKERS: u32 = 8;

/// A node in a process of its own.
struct Remote {
    kind: Kind,
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What was seen of one subject at one number of pods.
#[derive(Default)]
struct Seen {
    adds: Vec<Sample>,
    dels: Vec<Sample>,
    requests: usize,
    connections: usize,
}

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants("attach") {
        return Ok(());
    }
    for masquerade in [false, true] {
        let mut nodes = options
            .subjects
            .iter()
            .map(|kind| Remote::start(options, *kind, masquerade))
            .collect::<Result<Vec<_>>>()?;
        for pods in &options.pods {
            for node in &mut nodes {
                report.progress(&format!("{} pods on the node of {}", pods, node.kind.title()));
                node.obey(&Order::Fill(*pods))?;
            }
            sequential(options, report, &mut nodes, masquerade, *pods)?;
            parallel(options, report, &mut nodes, masquerade, *pods)?;
        }
    }
    Ok(())
}

fn sequential(options: &Options, report: &mut Report, nodes: &mut [Remote], masquerade: bool, pods: u32) -> Result<()> {
    report.progress(&format!("{} pairs each with {pods} pods", options.pairs));
    for node in &mut *nodes {
        node.obey(&Order::Prepare(options.pairs + WARM_UP))?;
    }
    let mut seen: Vec<Seen> = nodes.iter().map(|_| Seen::default()).collect();
    for turn in 0..options.pairs + WARM_UP {
        for (node, seen) in nodes.iter_mut().zip(&mut seen) {
            let outcome = node.obey(&Order::Pair)?;
            if turn >= WARM_UP {
                seen.adds.extend(outcome.adds);
                seen.dels.extend(outcome.dels);
                seen.requests = outcome.requests;
                seen.connections = outcome.connections;
            }
        }
    }
    let mut floor = None;
    report.head("one after the other", masquerade, pods)?;
    for (node, seen) in nodes.iter_mut().zip(&seen) {
        node.obey(&Order::Release)?;
        let (add, del) = (Summary::of(&seen.adds), Summary::of(&seen.dels));
        if node.kind == Kind::Floor {
            floor = Some((add, del));
        }
        report.row(node.kind.title(), &add, &del, floor.as_ref(), (seen.requests, seen.connections))?;
        report.line(&json!({
            "part": "pairs", "subject": node.kind, "masquerade": masquerade, "pods": pods, "add": add, "del": del,
            "requests": seen.requests, "connections": seen.connections
        }))?;
    }
    Ok(())
}

fn parallel(options: &Options, report: &mut Report, nodes: &mut [Remote], masquerade: bool, pods: u32) -> Result<()> {
    let count = options.burst.min(1020_u32.saturating_sub(pods)); // a bridge has 1023 ports
    if count < WORKERS {
        return Ok(());
    }
    report.burst_head(WORKERS, count)?;
    for node in nodes {
        node.obey(&Order::Prepare(count))?;
        let outcome = node.obey(&Order::Burst { pods: count, workers: WORKERS })?;
        node.obey(&Order::Release)?;
        let (add, del) = (Summary::of(&outcome.adds), Summary::of(&outcome.dels));
        let rate = |span: f64| f64::from(count) * 1e3 / span;
        let (adds, dels) = (rate(outcome.add_span), rate(outcome.del_span));
        report.burst_row(node.kind.title(), &add, adds, &del, dels)?;
        report.line(&json!({
            "part": "burst", "subject": node.kind, "masquerade": masquerade, "pods": pods, "workers": WORKERS, "add": add, "del": del,
            "add_per_s": adds, "del_per_s": dels
        }))?;
    }
    Ok(())
}

impl Remote {
    fn start(options: &Options, kind: Kind, masquerade: bool) -> Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .arg("node")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a node")?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("a node without output")?);
        let mut node = Self { kind, child, orders, answers };
        let setup = Setup {
            kind,
            masquerade,
            plexus: options.plexus.clone(),
            floor: options.floor.clone(),
            reference: options.reference.clone(),
        };
        node.send(&serde_json::to_string(&setup)?)?;
        Ok(node)
    }

    fn obey(&mut self, order: &Order) -> Result<Outcome> {
        self.send(&serde_json::to_string(order)?)?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the node of {} ended", self.kind.title());
        }
        let outcome: Outcome = serde_json::from_str(&line)?;
        match outcome.error {
            Some(error) => bail!("{}: {error}", self.kind.title()),
            None => Ok(outcome),
        }
    }

    fn send(&mut self, line: &str) -> Result<()> {
        let orders = self.orders.as_mut().context("the node's input is closed")?;
        writeln!(orders, "{line}").with_context(|| format!("the node of {} ended", self.kind.title()))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.orders = None; // it ends with its input, and all it made with it
        if let Err(error) = self.child.wait() {
            eprintln!("a node cannot be waited for: {error}");
        }
    }
}
