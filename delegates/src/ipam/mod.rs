//! Address management: who hands out the addresses of an attachment.
//!
//! A plugin that makes interfaces names its IPAM plugin under `ipam.type`; that one is given the whole configuration
//! and answers with addresses and routes, without interfaces (CNI spec, section 4).

mod host_local;
mod range;
#[cfg(test)]
mod tests;

pub use host_local::HostLocal;

use crate::{Call, Delegate, Plan, World};
use cni::error::code;
use cni::{CniResult, Error, PluginConf};
use std::path::{Path, PathBuf};

/// The IPAM plugin's name in the conf, none when the attachment has no addresses.
pub(crate) fn kind<'a>(call: &Call<'a>) -> Option<&'a str> {
    let ipam = call.conf.get("ipam")?.as_object()?;
    cni::gojson::lookup(ipam, "type")?.as_str().filter(|kind| !kind.is_empty())
}

/// Plans the addresses of an attachment. Without an IPAM plugin the result is empty.
pub(crate) fn add(call: &Call<'_>, world: &mut dyn World, plan: &mut Plan) -> Result<CniResult, Error> {
    let Some(kind) = kind(call) else { return Ok(CniResult::default()) };
    let result = match bundled(kind, world) {
        Some(delegate) => delegate.add(call, world, plan)?,
        None => world.execute(call, kind, plan)?,
    };
    if result.ips.is_empty() {
        return Err(Error::new(
            code::INVALID_CONFIG,
            format!("IPAM plugin {kind:?} gave network {:?} no address", call.network()),
        ));
    }
    Ok(result)
}

/// Plans the return of an attachment's addresses that no journal entry knows.
pub(crate) fn del(call: &Call<'_>, world: &mut dyn World, plan: &mut Plan) -> Result<(), Error> {
    match kind(call) {
        None => Ok(()),
        Some(kind) => match bundled(kind, world) {
            Some(delegate) => delegate.del(call, world, plan),
            None => world.execute_del(call, kind, plan),
        },
    }
}

/// Whether the IPAM plugin could hand out an address.
pub(crate) fn status(call: &Call<'_>, world: &mut dyn World) -> Result<(), Error> {
    match kind(call) {
        None => Ok(()),
        Some(kind) => match bundled(kind, world) {
            Some(delegate) => delegate.status(call, world),
            None => world.execute_status(call, kind),
        },
    }
}

/// Where host-local keeps the reservations of a network; none for confs without it.
pub fn reservations(conf: &PluginConf) -> Option<PathBuf> {
    let ipam = conf.get("ipam")?.as_object()?;
    let text = |key| cni::gojson::lookup(ipam, key).and_then(serde_json::Value::as_str);
    (text("type") == Some(HostLocal.kind())).then(|| host_local::store(conf.name(), text("dataDir").map(Path::new)))
}

/// The address stores behind a conf's IPAM plugin.
pub(crate) fn stores(call: &Call<'_>) -> Vec<PathBuf> {
    if kind(call) == Some(HostLocal.kind()) { HostLocal.stores(call) } else { Vec::new() }
}

fn bundled(kind: &str, world: &dyn World) -> Option<&'static dyn Delegate> {
    (kind == HostLocal.kind() && !world.executes(kind)).then_some(&HostLocal as &dyn Delegate)
}
