//! When the journal entry of a container is damaged: what belongs to it is found by what the node says. The pod's
//! links by its namespace, its addresses by the container id in every reservation below host-local's root.

use cni::{Error, Request};
use net::apply::Executor;
use net::netlink::{Protocol, Socket};
use net::ns::Namespace;
use net::op::{Op, Place, PlacedOp};
use net::snapshot;
use std::path::Path;

/// Where host-local keeps its networks unless a configuration says otherwise.
const RESERVATIONS: &str = "/var/lib/cni/networks";

/// Takes back what can be found of a container.
///
/// # Errors
/// What was found but could not be taken back.
pub fn salvage(request: &Request, executor: &mut dyn Executor) -> Result<(), Error> {
    let mut ops = Vec::new();
    if let Some(sandbox) = request.netns.as_deref().and_then(|path| Namespace::open(path).ok()) {
        ops.extend(pod_links(&sandbox)?);
    }
    ops.extend(reservations(&request.container_id));
    let errors = executor.undo(&ops);
    match errors.first() {
        None => Ok(()),
        Some(error) => Err(Error::internal(format!("container {:?}: {error}", request.container_id))),
    }
}

/// The pod's own virtual links: everything with another end on the node.
fn pod_links(sandbox: &Namespace) -> Result<Vec<PlacedOp>, Error> {
    let failed = |error: net::netlink::NetlinkError| Error::internal(error.to_string());
    let mut socket = Socket::open_in(Protocol::Route, sandbox).map_err(failed)?;
    let links = snapshot::links(&mut socket).map_err(failed)?;
    let virtual_links = links.into_iter().filter(|link| link.kind.as_deref() == Some("veth"));
    Ok(virtual_links
        .map(|link| PlacedOp { place: Place::Pod, op: Op::DeleteLinks { group: 0, names: vec![link.name] } })
        .collect())
}

/// Reservations whose first line is the container's id.
fn reservations(container: &str) -> Vec<PlacedOp> {
    let networks = std::fs::read_dir(Path::new(RESERVATIONS)).into_iter().flatten().filter_map(Result::ok);
    let files =
        networks.flat_map(|network| std::fs::read_dir(network.path()).into_iter().flatten().filter_map(Result::ok));
    files
        .filter(|file| file.file_name().to_string_lossy().parse::<std::net::IpAddr>().is_ok())
        .filter_map(|file| Some((file.path().to_str()?.to_owned(), std::fs::read_to_string(file.path()).ok()?)))
        .filter(|(_, contents)| contents.lines().next().map(str::trim) == Some(container))
        .map(|(path, contents)| PlacedOp { place: Place::Host, op: Op::RemoveFile { path, only_if: Some(contents) } })
        .collect()
}
