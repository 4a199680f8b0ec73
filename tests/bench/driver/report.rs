//! The tables for people and the JSON lines for programs.

use crate::options::Options;
use crate::stats::Summary;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// Where results go.
pub(crate) struct Report {
    lines: File,
    path: PathBuf,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let path = options.out.clone();
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let lines = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut report = Self { lines, path };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        say(&format!("kernel {}, {processors} processors, load {}", kernel.trim(), load.trim()))?;
        say("Times in milliseconds; \"x floor\" is the ratio of the medians.")?;
        report.line(
            &json!({"part": "machine", "kernel": kernel.trim(), "processors": processors, "load": load.trim()}),
        )?;
        Ok(report)
    }

    /// A remark on stderr while people wait.
    pub(crate) fn progress(&self, text: &str) {
        if io::stderr().is_terminal() {
            eprintln!("... {text}");
        }
    }

    /// One JSON line.
    pub(crate) fn line(&mut self, value: &Value) -> Result<()> {
        writeln!(self.lines, "{value}").with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Head of a table of pairs.
    pub(crate) fn head(&mut self, what: &str, masquerade: bool, pods: u32) -> Result<()> {
        let rules = if masquerade { ", masqueraded pod by pod" } else { "" };
        say(&format!("\nADD and DEL of a pod of two networks, {what}, {pods} pods on the node{rules}"))?;
        say(&format!(
            "{:28} {:>8} {:>8} {:>7} {:>8}   {:>8} {:>8} {:>7} {:>8}   {}",
            "", "ADD med", "p95", "CPU", "x floor", "DEL med", "p95", "CPU", "x floor", "API requests / connections"
        ))
    }

    /// One subject's pairs.
    pub(crate) fn row(
        &mut self,
        title: &str,
        add: &Summary,
        del: &Summary,
        floor: Option<&(Summary, Summary)>,
        (requests, connections): (usize, usize),
    ) -> Result<()> {
        let ratio =
            |value: f64, base: Option<f64>| base.map_or_else(|| "-".to_owned(), |base| format!("{:.2}", value / base));
        let api = if requests == 0 { String::new() } else { format!("{requests} / {connections}") };
        say(&format!(
            "{title:28} {:8.2} {:8.2} {:7.2} {:>8}   {:8.2} {:8.2} {:7.2} {:>8}   {api}",
            add.median,
            add.p95,
            add.cpu,
            ratio(add.median, floor.map(|(add, _)| add.median)),
            del.median,
            del.p95,
            del.cpu,
            ratio(del.median, floor.map(|(_, del)| del.median)),
        ))
    }

    /// Head of a table of bursts.
    pub(crate) fn burst_head(&mut self, workers: u32, count: u32) -> Result<()> {
        say(&format!("{workers} at a time, {count} ADDs and then {count} DELs"))?;
        say(&format!(
            "{:28} {:>8} {:>8} {:>7} {:>8}   {:>8} {:>8} {:>7} {:>8}",
            "", "ADD med", "p95", "CPU", "ADD/s", "DEL med", "p95", "CPU", "DEL/s"
        ))
    }

    /// One subject's burst.
    pub(crate) fn burst_row(&mut self, title: &str, add: &Summary, adds: f64, del: &Summary, dels: f64) -> Result<()> {
        say(&format!(
            "{title:28} {:8.2} {:8.2} {:7.2} {adds:8.0}   {:8.2} {:8.2} {:7.2} {dels:8.0}",
            add.median, add.p95, add.cpu, del.median, del.p95, del.cpu
        ))
    }

    /// A line of any table.
    pub(crate) fn say(&mut self, text: &str) -> Result<()> {
        say(text)
    }

    /// Say where the JSON lines are.
    pub(crate) fn finish(self) -> Result<()> {
        say(&format!("\nJSON lines: {}", self.path.display()))
    }
}

fn say(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}").context("cannot print")
}
