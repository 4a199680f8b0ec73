//! What a delegate may see of the node while it plans. The real one reads the kernel and the stores; tests hand in a
//! made-up one, so that a golden test of a delegate needs no root.

use crate::{Call, Plan};
use cni::{CniResult, Error};
use ipnet::IpNet;
use net::snapshot::LinkFacts;
use std::path::Path;

/// The node as planning sees it.
pub trait World {
    /// The host's link of that name, if there is one.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    fn link(&mut self, name: &str) -> Result<Option<LinkFacts>, Error>;

    /// The global addresses of a host link.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    fn addresses(&mut self, index: u32) -> Result<Vec<IpNet>, Error>;

    /// The value of a sysctl of the host, such as `net/ipv4/ip_forward`; none when the kernel does not have it.
    fn sysctl(&mut self, key: &str) -> Option<String>;

    /// The text of a file; none when it does not exist.
    ///
    /// # Errors
    /// Every other failure, naming the file.
    fn read(&mut self, path: &Path) -> Result<Option<String>, Error>;

    /// Whether a file exists.
    fn exists(&mut self, path: &Path) -> bool;

    /// The names in a directory, none when it does not exist.
    ///
    /// # Errors
    /// Every other failure, naming the directory.
    fn list(&mut self, directory: &Path) -> Result<Vec<String>, Error>;

    /// Locks an address store against everybody else, reference plugins included, until the records of the plan
    /// have been applied.
    ///
    /// # Errors
    /// A store that cannot be made or opened, or a lock that nobody gives back.
    fn lock(&mut self, directory: &Path) -> Result<(), Error>;

    /// A random number: MAC addresses and interface indexes.
    fn random(&mut self) -> u64;

    /// Whether the node's configuration wants the executable of this name although it is bundled.
    fn executes(&self, kind: &str) -> bool;

    /// Executes the foreign plugin `kind` with the call's configuration: an ADD whose answer planning needs before it
    /// can go on. Everything planned so far is applied first, and the plugin's DEL is journaled as the undo.
    ///
    /// # Errors
    /// The plugin's own error with its code, or why it could not be run.
    fn execute(&mut self, call: &Call<'_>, kind: &str, plan: &mut Plan) -> Result<CniResult, Error>;

    /// Plans the DEL of the foreign plugin `kind`.
    ///
    /// # Errors
    /// When it cannot be found.
    fn execute_del(&mut self, call: &Call<'_>, kind: &str, plan: &mut Plan) -> Result<(), Error>;

    /// Asks the foreign plugin `kind` for its STATUS.
    ///
    /// # Errors
    /// Its own error, or that it cannot be found.
    fn execute_status(&mut self, call: &Call<'_>, kind: &str) -> Result<(), Error>;
}
