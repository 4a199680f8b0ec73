//! GC: releases what the runtime no longer knows (CNI spec 1.1, section 2, verb GC).

use crate::invocation::Invocation;
use crate::node::journal_error;
use cni::Error;
use cni::conf::Attachment;
use net::apply::Context;
use std::collections::HashSet;

/// Takes back every attachment of this network that is not in the runtime's list. All are tried.
///
/// # Errors
/// A configuration without the list: an absent list is not an empty one. And what could not be taken back.
pub fn gc(invocation: &Invocation) -> Result<(), Error> {
    let conf = cni::PluginConf::from_object(invocation.stdin.clone())?;
    let valid = conf.valid_attachments()?;
    let valid = valid.ok_or_else(|| {
        Error::config("GC without `cni.dev/valid-attachments`: nothing is released without the list of what is valid")
    })?;
    let valid: HashSet<Attachment> = valid.into_iter().collect();

    let journal = invocation.journal();
    let mut errors = Vec::new();
    for entry in journal.entries().map_err(journal_error)? {
        let entry = match entry {
            Ok((entry, _)) => entry,
            Err(damaged) => {
                errors.push(damaged.to_string());
                continue;
            }
        };
        let key = Attachment { container_id: entry.key.container.clone(), ifname: entry.key.ifname.clone() };
        if entry.key.network != invocation.config.name || entry.key.plugin != invocation.plugin || valid.contains(&key)
        {
            continue;
        }
        if let Err(error) = release(invocation, &entry.key) {
            errors.push(error.msg);
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::internal(errors.join("; "))) }
}

fn release(invocation: &Invocation, key: &crate::journal::Key) -> Result<(), Error> {
    let guard = invocation.lock(&key.container)?;
    let journal = invocation.journal();
    // the lock was not ours when the list was read: a DEL may have come before us
    let Some((entry, _)) = journal.load(key).map_err(journal_error)? else { return Ok(()) };
    let mut executor = (invocation.executor)(Context { host: None, pod: None, lock: crate::lock::inherit(&guard)? });
    crate::undo::undo(&entry, executor.as_mut(), &journal)
}
