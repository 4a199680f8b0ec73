//! Takes an attachment back from its journal entry alone: the API server, the NAD, the pod and its namespace may be
//! gone. Everything is tried whatever became of the rest; the entry goes last, and only when nothing is left of it.

use crate::journal::{Entry, Journal};
use crate::node::journal_error;
use cni::{CniResult, Error, PluginConf, Version};
use net::apply::Executor;
use net::op::{Op, PlacedOp, Step};
use serde_json::Value;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a store may be locked by others before its sweep is left to the next DEL.
const SWEEP_PATIENCE: Duration = Duration::from_secs(1);

/// Undoes an entry, last operation first, and removes it.
///
/// # Errors
/// What could not be taken back. The entry stays then, for the next DEL or GC to go on with.
pub fn undo(entry: &Entry, executor: &mut dyn Executor, journal: &Journal) -> Result<(), Error> {
    let ops: Vec<_> = entry.steps.iter().rev().filter_map(Step::placed_undo).map(|op| with_result(op, entry)).collect();
    let errors = executor.undo(&ops);
    if !errors.is_empty() {
        let causes: Vec<_> = errors.iter().map(ToString::to_string).collect();
        return Err(Error::internal(format!(
            "container {:?}: not everything could be taken back, and is kept in {} for the next try: {}",
            entry.key.container,
            journal.path(&entry.key).display(),
            causes.join("; ")
        )));
    }
    sweep(entry);
    journal.remove(&entry.key).map_err(journal_error)
}

/// An executed host-local that was killed between creating a reservation and writing its owner into it leaves an empty
/// file that no DEL of its own ever removes. Whoever writes reservations holds the store's lock, so that an empty one
/// seen under the lock belongs to nobody. Only an ADD that never came to its end can have left one.
fn sweep(entry: &Entry) {
    if entry.attachments.iter().all(|attachment| attachment.result.is_some()) {
        return;
    }
    let confs = entry.steps.iter().filter_map(|step| match &step.op {
        Op::Exec { stdin, .. } => PluginConf::from_value(serde_json::from_str(stdin).ok()?).ok(),
        _ => None,
    });
    for store in confs.filter_map(|conf| delegates::ipam::reservations(&conf)) {
        let Ok(_lock) = net::lock::flock(&store.join("lock"), 0o750, Instant::now() + SWEEP_PATIENCE) else { continue };
        for file in std::fs::read_dir(&store).into_iter().flatten().flatten() {
            let is_reservation = file.file_name().to_string_lossy().parse::<IpAddr>().is_ok();
            if is_reservation && file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
                let _retried_by_the_next = net::file::remove_if(&file.path(), "");
            }
        }
    }
}

/// The DEL of an executed plugin gets the attachment's result as `prevResult` (CNI 0.4.0 and later), which was not
/// known yet when the operation was written down; and no namespace when the sandbox is gone.
pub fn with_result(mut placed: PlacedOp, entry: &Entry) -> PlacedOp {
    let Op::Exec { environment, stdin, .. } = &mut placed.op else { return placed };
    for (key, value) in environment.iter_mut() {
        if key == "CNI_NETNS" && !Path::new(value).exists() {
            value.clear();
        }
    }
    let ifname = environment.iter().find(|(key, _)| key == "CNI_IFNAME").map(|(_, value)| value.as_str());
    let result = entry
        .attachments
        .iter()
        .find(|attachment| Some(attachment.ifname.as_str()) == ifname)
        .and_then(|attachment| attachment.result.as_ref());
    if let (Some(result), Ok(conf)) = (result, serde_json::from_str::<Value>(stdin))
        && let Ok(conf) = PluginConf::from_value(conf)
        && conf.cni_version() >= Version::V0_4_0
        && let Ok(result) = CniResult::from_json(result, Version::CURRENT)
        && let Ok(conf) = conf.with_prev_result(&result)
    {
        *stdin = conf.to_text();
    }
    placed
}
