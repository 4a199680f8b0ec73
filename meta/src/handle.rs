//! One request, from its decoded form to its answer: ADD, DEL, CHECK, STATUS and GC read straight through.

use crate::chain::{self, Link};
use crate::invocation::Invocation;
use crate::journal::{Attached, Entry, Journal, JournalError, Key, State};
use crate::node::{Node, journal_error};
use crate::select::{self, Selection};
use crate::{check, default_route, gc, lock, network_status};
use cni::env::NamespaceIdentity;
use cni::error::code;
use cni::{CniResult, Command, Error, Request, Version};
use delegates::Plan;
use net::apply::{Context, Executor};
use net::netlink::{NetlinkError, Protocol, Socket};
use net::ns::{Namespace, NamespaceError, NamespaceId};
use net::op::{Op, PlacedOp, Step};
use net::snapshot;
use serde_json::Value;

/// Carries out a request; the answer is what belongs on stdout.
///
/// # Errors
/// The error document's content.
pub fn handle(request: &Request, invocation: &Invocation) -> Result<Option<Value>, Error> {
    let answer = serve(request, invocation);
    let (verb, container) = (request.command.name(), &request.container_id);
    match &answer {
        Ok(_) => invocation.log.verbose(&format!("{verb} {container} {}: done", request.ifname)),
        Err(error) => invocation.log.error(&format!("{verb} {container} {}: {error}", request.ifname)),
    }
    answer
}

fn serve(request: &Request, invocation: &Invocation) -> Result<Option<Value>, Error> {
    match request.command {
        Command::Add => add(request, invocation).map(Some),
        Command::Del => del(request, invocation).map(|()| None),
        Command::Check => check::check(request, invocation).map(|()| None),
        Command::Status => status(request, invocation).map(|()| None),
        Command::Gc => gc::gc(invocation).map(|()| None),
        Command::Version => Ok(Some(cni::env::version_answer())),
    }
}

/// Attaches the pod. Nothing has been touched when a request is refused; nothing is left when an operation fails.
fn add(request: &Request, invocation: &Invocation) -> Result<Value, Error> {
    let version = invocation.config.version()?;
    let sandbox = open_sandbox(request)?;
    let selection = select::select(request, invocation)?;
    let links =
        selection.attachments.iter().map(|attachment| Link::new(attachment, request)).collect::<Result<Vec<_>, _>>()?;

    let journal = invocation.journal();
    let guard = invocation.lock(&request.container_id)?;
    let key = invocation.key(request);
    let mut executor = (invocation.executor)(Context { host: None, pod: Some(sandbox), lock: lock::inherit(&guard)? });
    if let Some(result) = earlier_add(request, invocation, &journal, &key, executor.as_mut())? {
        return result.to_json(version);
    }

    let entry = Entry::new(key, request.netns.clone(), selection.pod.as_ref().map(Into::into));
    let mut node = Node::new(&invocation.config, request, executor.as_mut(), Some(&journal), entry);
    let attached = attach(&links, &selection, request, invocation, &mut node);
    match attached {
        Ok(result) => result.to_json(version),
        Err(error) => Err(match node.undo() {
            Ok(()) => error,
            Err(left) => Error { details: left.msg, ..error },
        }),
    }
}

/// Plans, writes down, carries out, publishes.
fn attach(
    links: &[Link<'_>],
    selection: &Selection,
    request: &Request,
    invocation: &Invocation,
    node: &mut Node<'_>,
) -> Result<CniResult, Error> {
    let mut plan = Plan::new();
    node.announce(links.iter().map(announced).collect());
    let mut results = chain::add(links, request, node, &mut plan)?;
    default_route::settle(links, &mut results, node, &mut plan)?;
    let status = network_status::entries(links, &results);
    node.entry.status = Some(serde_json::json!(status));
    node.carry_out(&mut plan)?;
    invocation.journal().mark_done(&node.entry.key).map_err(journal_error)?;
    if let Some(pod) = &selection.pod {
        invocation.source.publish(pod, &netattach_crd::status::print(&status)).map_err(select::source_error)?;
    }
    invocation.log.warnings(&node.warnings);
    results.into_iter().next().ok_or_else(|| Error::config("no network was selected"))
}

fn announced(link: &Link<'_>) -> Attached {
    Attached {
        name: link.attachment.name.clone(),
        ifname: link.attachment.ifname.clone(),
        plugins: link.plugins(),
        result: None,
    }
}

/// What an earlier ADD of the same attachment has left: a finished one is answered again and left untouched; what is
/// left of an interrupted one is taken back first.
fn earlier_add(
    request: &Request,
    invocation: &Invocation,
    journal: &Journal,
    key: &Key,
    executor: &mut dyn Executor,
) -> Result<Option<CniResult>, Error> {
    match journal.load(key) {
        Ok(None) => Ok(None),
        Ok(Some((entry, State::Done)))
            if entry.netns == request.netns
                && entry.boot_id == crate::journal::boot_id()
                && has_its_links(&entry, request)? =>
        {
            let result = entry.attachments.first().and_then(|first| first.result.as_ref());
            let result = result.ok_or_else(|| {
                Error::internal(format!("journal entry {} has no result", journal.path(key).display()))
            })?;
            CniResult::from_json(result, Version::CURRENT).map(Some)
        }
        Ok(Some((entry, _))) => crate::undo::undo(&entry, executor, journal).map(|()| None),
        Err(JournalError::Damaged { .. }) => rebuild(request, invocation, journal, key, executor).map(|()| None),
        Err(error) => Err(journal_error(error)),
    }
}

/// Whether the sandbox has the interfaces that were made for it: another one may have taken its place under the same path.
fn has_its_links(entry: &Entry, request: &Request) -> Result<bool, Error> {
    let mut socket = Socket::open_in(Protocol::Route, &open_sandbox(request)?).map_err(netlink_error)?;
    for step in &entry.steps {
        if let Op::CreateVeth { pod, .. } = &step.op
            && snapshot::link_by_name(&mut socket, &pod.name).map_err(netlink_error)?.is_none()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn netlink_error(error: NetlinkError) -> Error {
    Error::internal(error.to_string())
}

/// Detaches the pod, from the journal alone. Nothing to undo is success: runtimes repeat their DELs.
fn del(request: &Request, invocation: &Invocation) -> Result<(), Error> {
    let journal = invocation.journal();
    let key = invocation.key(request);
    let guard = match invocation.lock(&request.container_id) {
        // a node on which nothing can be locked, because nothing can be written, has nothing of this container either
        Err(error)
            if error.code == code::IO && matches!(journal.load(&key), Ok(None)) && !invocation.stateless_del() =>
        {
            return Ok(());
        }
        guard => guard?,
    };
    let mut executor =
        (invocation.executor)(Context { host: None, pod: sandbox_if_there(request), lock: lock::inherit(&guard)? });
    match journal.load(&key) {
        Ok(Some((entry, _))) => crate::undo::undo(&entry, executor.as_mut(), &journal),
        Ok(None) if invocation.stateless_del() => {
            let selection = select::configured(request, invocation)?;
            del_without_journal(&selection, request, invocation, executor.as_mut())
        }
        Ok(None) if left_by_others(request, invocation) => {
            let selection = select::select(request, invocation).or_else(|_| select::configured(request, invocation))?;
            del_without_journal(&selection, request, invocation, executor.as_mut())
        }
        Ok(None) => journal.remove(&key).map_err(journal_error),
        Err(JournalError::Damaged { .. }) => rebuild(request, invocation, &journal, &key, executor.as_mut()),
        Err(error) => Err(journal_error(error)),
    }
}

/// Whether the plugins that Plexus has taken over from have left state of this container: a pod from before the change.
fn left_by_others(request: &Request, invocation: &Invocation) -> bool {
    let lists = invocation.config.inline_delegates().unwrap_or_default();
    let mut confs = lists.iter().flat_map(|list| &list.plugins);
    confs.any(|conf| delegates::flannel::old_state_file(conf, &request.container_id).is_some_and(|file| file.exists()))
}

/// A damaged entry: what it knew is taken from what the stores and the kernel say, and the entry removed after that.
fn rebuild(
    request: &Request,
    invocation: &Invocation,
    journal: &Journal,
    key: &Key,
    executor: &mut dyn Executor,
) -> Result<(), Error> {
    invocation
        .log
        .error(&format!("journal entry {} is damaged: detaching by what the stores say", journal.path(key).display()));
    // the pod's own networks too, while the pod and their definitions can still be found
    let selection = select::select(request, invocation).or_else(|_| select::configured(request, invocation))?;
    del_without_journal(&selection, request, invocation, executor)?;
    crate::salvage::salvage(request, executor)?;
    journal.remove(key).map_err(journal_error)
}

/// The DEL of an attachment that somebody else made, or whose entry is lost: every delegate of the configuration
/// looks for what belongs to this container.
fn del_without_journal(
    selection: &Selection,
    request: &Request,
    invocation: &Invocation,
    executor: &mut dyn Executor,
) -> Result<(), Error> {
    let links =
        selection.attachments.iter().map(|attachment| Link::new(attachment, request)).collect::<Result<Vec<_>, _>>()?;
    let entry = Entry::new(invocation.key(request), request.netns.clone(), None);
    let mut plan = Plan::new();
    let mut node = Node::new(&invocation.config, request, executor, None, entry);
    let mut errors = chain::del(&links, request, invocation.previous.as_ref(), &mut node, &mut plan);
    let (records, steps) = plan.take();
    let ops: Vec<_> = steps.into_iter().chain(records).map(|Step { place, op, .. }| PlacedOp { place, op }).collect();
    errors.extend(executor.undo(&ops).iter().map(|error| Error::internal(error.to_string())));
    match errors.into_iter().next() {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Whether an ADD could succeed now.
fn status(request: &Request, invocation: &Invocation) -> Result<(), Error> {
    let selection = select::configured(request, invocation)?;
    let links =
        selection.attachments.iter().map(|attachment| Link::new(attachment, request)).collect::<Result<Vec<_>, _>>()?;
    let mut executor = (invocation.executor)(Context::default());
    let entry = Entry::new(invocation.key(request), None, None);
    let mut node = Node::new(&invocation.config, request, executor.as_mut(), None, entry);
    chain::status(&links, request, &mut node)
}

/// The sandbox, which must not be the node's own namespace: refused before anything is touched.
fn open_sandbox(request: &Request) -> Result<Namespace, Error> {
    let path = request.netns.as_deref().ok_or_else(|| Error::environment("CNI_NETNS is missing"))?;
    let failed = |error: NamespaceError| Error::netns(error.to_string());
    let sandbox = Namespace::open(path).map_err(failed)?;
    let identity = |id: NamespaceId| NamespaceIdentity { device: id.dev, inode: id.ino };
    request.refuse_own_netns(identity(Namespace::current().map_err(failed)?.id()), identity(sandbox.id()))?;
    Ok(sandbox)
}

fn sandbox_if_there(request: &Request) -> Option<Namespace> {
    request.netns.as_deref().and_then(|path| Namespace::open(path).ok())
}
