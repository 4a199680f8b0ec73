//! Programming the peers of an overlay: the agent from its start to the last route, beside the raw netlink floor.

use crate::options::Options;
use crate::report::Report;
use anyhow::Result;

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants("leases") {
        return Ok(());
    }
    report.say(&format!("leases: {:?}", options.leases))
}
