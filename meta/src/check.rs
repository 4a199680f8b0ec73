//! CHECK: is everything that an ADD did still in effect? Read off the journal, operation by operation, against the
//! kernel and the files; so no delegate needs a check of its own, and none can forget part of it.

use crate::invocation::Invocation;
use crate::journal::Entry;
use crate::node::journal_error;
use cni::error::code;
use cni::{Error, Request};
use net::apply::{Context, Executor};
use net::netlink::{Protocol, Socket};
use net::ns::Namespace;
use net::op::{Op, Place, RouteSpec, Step};
use net::snapshot::{self, Family, LinkFacts, RouteFilter};
use serde_json::Value;

/// Compares the attachment with its journal entry.
///
/// # Errors
/// The first operation that is no longer in effect, by its network's interface; or that there is no attachment.
pub fn check(request: &Request, invocation: &Invocation) -> Result<(), Error> {
    let guard = invocation.lock(&request.container_id)?;
    let journal = invocation.journal();
    let key = invocation.key(request);
    let (entry, _) = journal.load(&key).map_err(journal_error)?.ok_or_else(|| {
        Error::new(
            code::UNKNOWN_CONTAINER,
            format!("container {:?} has no attachment to network {:?} on this node", key.container, key.network),
        )
    })?;
    let path = request.netns.as_deref().ok_or_else(|| Error::environment("CNI_NETNS is missing"))?;
    let sandbox = Namespace::open(path).map_err(|error| Error::netns(error.to_string()))?;
    let mut kernel = (invocation.executor)(Context {
        host: None,
        pod: Some(sandbox.try_clone().map_err(|error| Error::netns(error.to_string()))?),
        lock: crate::lock::inherit(&guard)?,
    });
    let mut seen = Seen::open(&sandbox)?;
    for step in &entry.steps {
        in_effect(step, &entry, &mut seen, kernel.as_mut())
            .map_err(|what| Error::internal(format!("{} ({}): {what}", step.op, step.why)))?;
    }
    Ok(())
}

/// The kernel on both sides.
struct Seen {
    host: Socket,
    pod: Socket,
}

impl Seen {
    fn open(sandbox: &Namespace) -> Result<Self, Error> {
        let failed = |error: net::netlink::NetlinkError| Error::internal(error.to_string());
        Ok(Self {
            host: Socket::open(Protocol::Route).map_err(failed)?,
            pod: Socket::open_in(Protocol::Route, sandbox).map_err(failed)?,
        })
    }

    fn socket(&mut self, place: Place) -> &mut Socket {
        match place {
            Place::Host => &mut self.host,
            Place::Pod => &mut self.pod,
        }
    }

    fn link(&mut self, place: Place, name: &str) -> Result<LinkFacts, String> {
        let found = snapshot::link_by_name(self.socket(place), name).map_err(|error| error.to_string())?;
        found.ok_or_else(|| format!("interface {name} is gone"))
    }
}

/// Whether an operation's effect is there. Operations whose effect is not state (cursors, dropped flows) always are.
fn in_effect(step: &Step, entry: &Entry, seen: &mut Seen, kernel: &mut dyn Executor) -> Result<(), String> {
    match &step.op {
        Op::EnsureBridge { name, .. } => match seen.link(step.place, name)?.up {
            true => Ok(()),
            false => Err(format!("bridge {name} is down")),
        },
        Op::CreateVeth { host, pod, bridge, mtu, .. } => {
            let outer = seen.link(Place::Host, &host.name)?;
            let inner = seen.link(Place::Pod, &pod.name)?;
            if let Some(bridge) = bridge
                && outer.master != Some(seen.link(Place::Host, bridge)?.index)
            {
                return Err(format!("{} is no port of bridge {bridge} any more", host.name));
            }
            if inner.mac != Some(pod.mac) {
                return Err(format!("{} has another MAC address than {}", pod.name, pod.mac));
            }
            match mtu {
                Some(mtu) if inner.mtu != *mtu => Err(format!("{} has MTU {}, not {mtu}", pod.name, inner.mtu)),
                _ => Ok(()),
            }
        }
        Op::LinkUp { name, .. } => match seen.link(step.place, name)?.up {
            true => Ok(()),
            false => Err(format!("interface {name} is down")),
        },
        Op::EnsureAddress { link, address } | Op::AddAddress { name: link, address, .. } => {
            let index = seen.link(step.place, link)?.index;
            let addresses =
                snapshot::addresses(seen.socket(step.place), index, Family::Any).map_err(|error| error.to_string())?;
            match addresses.iter().any(|facts| facts.address == *address) {
                true => Ok(()),
                false => Err(format!("interface {link} does not have {address}")),
            }
        }
        Op::AddRoute(route) => has_route(seen, step.place, route),
        Op::Sysctl { key, value } if step.place == Place::Host => match net::sysctl::read(key) {
            Ok(now) if now == *value => Ok(()),
            Ok(now) => Err(format!("{key} is {now}")),
            Err(error) => Err(error.to_string()),
        },
        Op::CreateFile { path, contents, .. } => match std::fs::read_to_string(path) {
            Ok(now) if now == *contents => Ok(()),
            Ok(_) => Err(format!("{path} has other contents")),
            Err(error) => Err(format!("{path}: {error}")),
        },
        Op::Nft { transaction, .. } => {
            let differences = net::nft::Socket::open().and_then(|mut socket| socket.differences(transaction));
            match differences.map_err(|error| error.to_string())?.first() {
                None => Ok(()),
                Some(difference) => Err(format!("nftables: {difference}")),
            }
        }
        Op::Exec { .. } => foreign_check(step, entry, kernel),
        _ => Ok(()),
    }
}

fn has_route(seen: &mut Seen, place: Place, route: &RouteSpec) -> Result<(), String> {
    let index = seen.link(place, &route.name)?.index;
    let filter = RouteFilter { index: Some(index), table: Some(route.table.unwrap_or(254)), ..RouteFilter::default() };
    let routes = snapshot::routes(seen.socket(place), &filter).map_err(|error| error.to_string())?;
    match routes.iter().any(|facts| facts.dst == route.dst && facts.gateway == route.gateway) {
        true => Ok(()),
        false => Err(format!("no such route through {}", route.name)),
    }
}

/// An executed plugin checks for itself, if its version of the specification has the verb.
fn foreign_check(step: &Step, entry: &Entry, kernel: &mut dyn Executor) -> Result<(), String> {
    let Some(mut placed) = step.placed_undo().map(|placed| crate::undo::with_result(placed, entry)) else {
        return Ok(());
    };
    let Op::Exec { environment, stdin, what, .. } = &mut placed.op else { return Ok(()) };
    let version = serde_json::from_str::<Value>(stdin)
        .ok()
        .and_then(|conf| cni::PluginConf::from_value(conf).ok())
        .map(|conf| conf.cni_version());
    if version.is_none_or(|version| version < cni::Version::V0_4_0) {
        return Ok(());
    }
    if let Some((_, command)) = environment.iter_mut().find(|(key, _)| key == "CNI_COMMAND") {
        "CHECK".clone_into(command);
    }
    *what = what.replacen("DEL", "CHECK", 1);
    let check = Step { place: placed.place, op: placed.op, undo: None, why: "CHECK of the chain".into() };
    kernel.apply(&[check]).map(|_| ()).map_err(|failed| crate::node::failure(&failed).msg)
}
