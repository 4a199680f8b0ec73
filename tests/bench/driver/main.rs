//! `make bench`: Plexus beside the reference plugins and beside the kernel alone, in one run.
//!
//! Each subject has a node of its own, and calls for the subjects take turns, so that a noisy machine disturbs all alike and ratios
//! hold where absolute times do not. What is measured is what a container runtime sees: the time from before the fork until the
//! plugin has ended and its output is read, and the CPU time of the plugin with all its children.

mod attach;
mod call;
mod leases;
mod node;
mod options;
mod order;
mod report;
mod routes;
mod stats;
mod subject;

use anyhow::Result;
use options::Options;
use report::Report;

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("node") {
        return node::serve();
    }
    let options = Options::parse()?;
    let mut report = Report::new(&options)?;
    attach::run(&options, &mut report)?;
    leases::run(&options, &mut report)?;
    report.finish()
}
