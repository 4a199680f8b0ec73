//! Nodes as namespaces on one machine: the bench on which the demo and the tests run.
//!
//! A lab is an underlay and any number of nodes on it. A node is a network namespace and a mount namespace in which the product's
//! default paths (`/run`, `/var/lib/cni`, `/var/lib/plexus`, `/etc/cni`) are private and empty, so that what runs in it runs exactly as
//! on a machine of its own, and so that nothing is left when the lab ends, however it ends. Nothing is ever made in the machine's own
//! network namespace.
//!
//! The lab knows the product as its users do: an executable, its configuration and its files. It links none of our crates.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let mut lab = lab::Lab::new("example", &lab::program::built()?)?;
//! let node = lab.node("node1")?;
//! let mut pod = node.pod("default", "pod1")?;
//! let conf = serde_json::json!({"cniVersion": "1.0.0", "name": "net", "type": "plexus", "delegates": []});
//! let runtime = lab.runtime(&node, &conf)?;
//! let added = runtime.add(&mut pod)?;
//! println!("{} in {:?}", added.result, added.took);
//! runtime.del(&mut pod)?;
//! # Ok(())
//! # }
//! ```

pub mod certificates;
pub mod check;
pub mod command;
pub mod daemon;
pub mod demo;
pub mod enter;
pub mod etcd;
pub mod hold;
pub mod inspect;
pub mod node;
pub mod overlays;
pub mod pod;
pub mod program;
pub mod report;
pub mod runtime;
pub mod snapshot;
pub mod space;
pub mod try_out;
pub mod underlay;
pub mod verbs;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

pub use daemon::Daemon;
pub use etcd::Etcd;
pub use node::Node;
pub use pod::Pod;
pub use runtime::Runtime;
pub use snapshot::Snapshot;
pub use space::Space;
pub use underlay::Underlay;

/// An underlay, a directory for what nodes share, and the names under which the product is installed.
#[derive(Debug)]
pub struct Lab {
    underlay: Underlay,
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl Lab {
    /// Lays the underlay. `program` is the product's executable, which also holds and enters the namespaces.
    ///
    /// # Errors
    /// Without root, without namespaces in the kernel, or without `ip`; the message says which.
    pub fn new(name: &str, program: &Path) -> Result<Self> {
        anyhow::ensure!(nix::unistd::geteuid().is_root(), "a lab makes network namespaces: run it as root");
        let directory = tempfile::Builder::new()
            .prefix(&format!("plexus-lab-{name}-"))
            .tempdir()
            .context("make the lab's directory")?;
        let lab = Self { underlay: Underlay::new(program)?, directory, program: program.to_owned() };
        for kind in ["plexus", "multus"] {
            lab.install(kind)?;
        }
        Ok(lab)
    }

    /// Adds a node to the underlay.
    ///
    /// # Errors
    /// When the kernel refuses a namespace or a link.
    pub fn node(&mut self, name: &str) -> Result<Node> {
        let space = Space::new(&self.program).with_context(|| format!("make node {name}"))?;
        let address = self.underlay.attach(&space).with_context(|| format!("attach node {name} to the underlay"))?;
        Ok(Node::new(name, address, space, self.directory.path()))
    }

    /// A container runtime on `node`: executes the plugins of `conf`, a network configuration or list, for its pods. Plugins are
    /// looked for among the names the product is installed under, then in `/opt/cni/bin` and `/usr/lib/cni`.
    ///
    /// # Errors
    /// When `conf` is no network configuration or names a plugin that is nowhere.
    pub fn runtime<'a>(&self, node: &'a Node, conf: &Value) -> Result<Runtime<'a>> {
        Runtime::new(node, conf, vec![self.plugins(), "/opt/cni/bin".into(), "/usr/lib/cni".into()])
    }

    /// Installs the product under one more name: the `type` of a configuration, or a daemon such as `flanneld`.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub fn install(&self, name: &str) -> Result<PathBuf> {
        std::fs::create_dir_all(self.plugins()).context("make the plugin directory")?;
        let link = self.plugins().join(name);
        match symlink(&self.program, &link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("install {name}"))
            }
            _ => Ok(link),
        }
    }

    /// A directory that all nodes see, removed with the lab.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the product is installed.
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.directory.path().join("plugins")
    }

    /// The product's executable.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What connects the nodes.
    #[must_use]
    pub const fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// What connects the nodes, for attaching something else to it.
    pub const fn underlay_mut(&mut self) -> &mut Underlay {
        &mut self.underlay
    }
}
