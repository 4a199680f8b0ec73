//! The bundled CNI plugins, one file each, behind one trait.
//!
//! A delegate decides and touches nothing: [`Delegate::add`] is a function of its configuration, the attachment, the
//! result so far and what [`World`] lets it see, and returns operations *as data* ([`Plan`]) with the undo of each,
//! and the CNI result they lead to. Whoever calls writes the plan to the journal and applies it.

pub mod bridge;
mod call;
pub mod flannel;
pub mod ipam;
pub mod loopback;
#[cfg(test)]
mod made_up;
mod masquerade;
mod naming;
mod plan;
pub mod portmap;
mod world;

pub use call::{Call, DefaultRoute};
pub use plan::Plan;
pub use world::World;

use cni::{CniResult, Error};
use std::path::PathBuf;

/// One bundled plugin.
pub trait Delegate: Sync {
    /// The `type` under which configurations name it.
    fn kind(&self) -> &'static str;

    /// Plans an ADD: appends the operations to `plan` and returns the result they lead to.
    ///
    /// # Errors
    /// A configuration that cannot work, an exhausted address pool, a conflict with the node as it is. Nothing has
    /// been touched then, except by foreign plugins that the plan had to ask on the way (see [`World::execute`]).
    fn add(&self, call: &Call<'_>, world: &mut dyn World, plan: &mut Plan) -> Result<CniResult, Error>;

    /// Plans a DEL for an attachment that no journal entry knows: one that another plugin made, or whose entry was
    /// damaged. Works from the configuration, the container's id and what the stores say; finding nothing is fine.
    ///
    /// # Errors
    /// Only what keeps the rest from being found at all.
    fn del(&self, call: &Call<'_>, world: &mut dyn World, plan: &mut Plan) -> Result<(), Error>;

    /// Whether an ADD could succeed now.
    ///
    /// # Errors
    /// Code 50 ([`cni::code::NOT_AVAILABLE`]) with what is missing and what to do about it.
    fn status(&self, call: &Call<'_>, world: &mut dyn World) -> Result<(), Error>;

    /// The directories of address reservations that an ADD of this configuration locks while it plans.
    fn stores(&self, _call: &Call<'_>) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// All bundled plugins: the one registry that dispatch, `plexus install`, help and tests read.
pub static ALL: &[&dyn Delegate] =
    &[&bridge::Bridge, &flannel::Flannel, &ipam::HostLocal, &loopback::Loopback, &portmap::PortMap];

/// The bundled plugin of that `type`.
pub fn find(kind: &str) -> Option<&'static dyn Delegate> {
    ALL.iter().copied().find(|delegate| delegate.kind() == kind)
}

/// Plans the ADD of one plugin: in-process when it is bundled, else by asking the world to execute it.
///
/// # Errors
/// As [`Delegate::add`], or what the executed plugin answered.
pub fn add(call: &Call<'_>, world: &mut dyn World, plan: &mut Plan) -> Result<CniResult, Error> {
    match bundled(call.conf.kind(), world) {
        Some(delegate) => delegate.add(call, world, plan),
        None => world.execute(call, call.conf.kind(), plan),
    }
}

/// Plans the DEL of one plugin that no journal entry knows.
///
/// # Errors
/// As [`Delegate::del`].
pub fn del(call: &Call<'_>, world: &mut dyn World, plan: &mut Plan) -> Result<(), Error> {
    match bundled(call.conf.kind(), world) {
        Some(delegate) => delegate.del(call, world, plan),
        None => world.execute_del(call, call.conf.kind(), plan),
    }
}

/// Whether an ADD of this plugin could succeed now; for a plugin that is executed, whether it can be found.
///
/// # Errors
/// As [`Delegate::status`].
pub fn status(call: &Call<'_>, world: &mut dyn World) -> Result<(), Error> {
    match bundled(call.conf.kind(), world) {
        Some(delegate) => delegate.status(call, world),
        None => world.execute_status(call, call.conf.kind()),
    }
}

/// The directories of address reservations behind this plugin.
pub fn stores(call: &Call<'_>, world: &dyn World) -> Vec<PathBuf> {
    bundled(call.conf.kind(), world).map(|delegate| delegate.stores(call)).unwrap_or_default()
}

/// The bundled delegate for `kind`, unless the node's configuration wants the executable of that name.
fn bundled(kind: &str, world: &dyn World) -> Option<&'static dyn Delegate> {
    find(kind).filter(|_| !world.executes(kind))
}
