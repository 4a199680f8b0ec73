//! What to measure, and how much of it.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;

use crate::subject::Kind;

const USAGE: &str = "usage: bench --plexus FILE --floor FILE [--quick] [--out FILE] [--only attach|leases] [--subject NAME ...] [--pods N,N,...] [--pairs N]";

/// The command line.
pub(crate) struct Options {
    /// The plugin under test.
    pub(crate) plexus: PathBuf,
    /// The floor program.
    pub(crate) floor: PathBuf,
    /// Directory of the reference plugins.
    pub(crate) reference: PathBuf,
    /// Where the JSON lines go.
    pub(crate) out: PathBuf,
    /// Pods on the node, in growing order.
    pub(crate) pods: Vec<u32>,
    /// ADD and DEL pairs for each subject and number of pods.
    pub(crate) pairs: u32,
    /// Pods of the parallel part.
    pub(crate) burst: u32,
    /// Numbers of leases.
    pub(crate) leases: Vec<u32>,
    /// Runs with each number of leases; the median counts.
    pub(crate) lease_rounds: u32,
    /// Who takes part.
    pub(crate) subjects: Vec<Kind>,
    /// Parts to run: `attach`, `leases`.
    pub(crate) parts: Vec<String>,
}

impl Options {
    /// Read the command line.
    pub(crate) fn parse() -> Result<Self> {
        let mut options = Self {
            plexus: PathBuf::new(),
            floor: PathBuf::new(),
            reference: "/usr/lib/cni".into(),
            out: "bench.jsonl".into(),
            pods: vec![0, 100, 250, 1000],
            pairs: 60,
            burst: 200,
            leases: vec![100, 1000, 5000, 10000],
            lease_rounds: 3,
            subjects: Vec::new(),
            parts: Vec::new(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            if word == "--quick" {
                (options.pods, options.pairs, options.burst) = (vec![0, 100], 20, 64);
                (options.leases, options.lease_rounds) = (vec![100, 1000], 1);
                continue;
            }
            let value = words.next().with_context(|| format!("{word} needs a value; {USAGE}"))?;
            match word.as_str() {
                "--plexus" => options.plexus = std::path::absolute(&value)?,
                "--floor" => options.floor = std::path::absolute(&value)?,
                "--out" => options.out = value.into(),
                "--only" => options.parts.push(value),
                "--subject" => options.subjects.push(Kind::named(&value)?),
                "--pods" => options.pods = numbers(&value)?,
                "--leases" => options.leases = numbers(&value)?,
                "--pairs" => options.pairs = value.parse()?,
                _ => bail!("unknown option {word}; {USAGE}"),
            }
        }
        for program in [&options.plexus, &options.floor] {
            if !program.is_file() {
                bail!("{} is no file; {USAGE}", program.display());
            }
        }
        options.pods.sort_unstable();
        if options.subjects.is_empty() {
            options.subjects = Kind::ALL.to_vec();
        }
        if !options.reference.join("bridge").exists() {
            eprintln!("no reference plugins in {}: measured without them", options.reference.display());
            options.subjects.retain(|subject| *subject != Kind::Reference);
        }
        Ok(options)
    }

    /// Is this part to run?
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

fn numbers(list: &str) -> Result<Vec<u32>> {
    list.split(',').map(|text| text.parse().with_context(|| format!("{text:?} is no number"))).collect()
}
