//! A node: namespaces with an address on the underlay, daemons and pods.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use crate::{Daemon, Pod, Snapshot, Space, command};

/// A machine of the lab. Everything on it goes when it is dropped.
#[derive(Debug)]
pub struct Node {
    name: String,
    address: Ipv4Addr,
    space: Space,
    logs: PathBuf,
    daemons: AtomicU32,
}

impl Node {
    pub(crate) fn new(name: &str, address: Ipv4Addr, space: Space, directory: &Path) -> Self {
        Self { name: name.to_owned(), address, space, logs: directory.join("logs"), daemons: AtomicU32::new(0) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the underlay.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its namespaces.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// `program`, to be run on the node.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.space.command(program)
    }

    /// Runs a program on the node to its end and gives its output: `node.run(["ip", "route"])`.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run<T: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = T>) -> Result<String> {
        let mut words = words.into_iter();
        let program = words.next().context("no program is given")?;
        command::run(self.command(program).args(words)).with_context(|| format!("on {}", self.name))
    }

    /// Starts a daemon on the node. The thread that calls this must outlive the daemon.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn daemon<T: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = T>) -> Result<Daemon> {
        let mut words = words.into_iter();
        let program = words.next().context("no program is given")?;
        let mut command = self.space.guarded_command(program.as_ref());
        command.args(words);
        self.start(command)
    }

    /// Starts a prepared command (of [`Space::guarded_command`]) as a daemon.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, mut command: Command) -> Result<Daemon> {
        let number = self.daemons.fetch_add(1, Ordering::Relaxed);
        Daemon::start(&mut command, &self.logs.join(format!("{}-{number}.log", self.name)))
            .with_context(|| format!("on {}", self.name))
    }

    /// A pod's sandbox: a network namespace of its own bound under `/run/netns`, and no interface but a `lo` that is down.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Pod> {
        let pod = Pod::new(namespace, name);
        self.space.make_netns(pod.netns()).with_context(|| format!("make the sandbox of {pod} on {}", self.name))?;
        Ok(pod)
    }

    /// Takes the sandbox away, as a runtime does before or after DEL.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn remove_sandbox(&self, pod: &Pod) -> Result<()> {
        self.space.remove_netns(pod.netns()).with_context(|| format!("remove the sandbox of {pod} on {}", self.name))
    }

    /// Runs a program in the pod's network namespace and gives its output.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run_in<T: AsRef<OsStr>>(&self, pod: &Pod, words: impl IntoIterator<Item = T>) -> Result<String> {
        let mut words = words.into_iter();
        let program = words.next().context("no program is given")?;
        command::run(self.space.command_in(pod.netns(), program).args(words))
            .with_context(|| format!("in {pod} on {}", self.name))
    }

    /// Reads a file of the node, such as `/run/flannel/subnet.env`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<String> {
        let path = path.as_ref();
        // /proc/<pid>/root leads through the holder's mounts
        std::fs::read_to_string(self.host_path(path))
            .with_context(|| format!("read {} of {}", path.display(), self.name))
    }

    /// Writes a file of the node, with its directories.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, contents: &str) -> Result<()> {
        let (path, seen) = (path.as_ref(), self.host_path(path.as_ref()));
        let made = seen.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(seen, contents))
            .with_context(|| format!("write {} of {}", path.display(), self.name))
    }

    /// Whether the node has a file or directory at `path`.
    #[must_use]
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.host_path(path.as_ref()).symlink_metadata().is_ok()
    }

    /// Where the lab's own process finds a file of the node. Symbolic links in it would lead out of the node's file system.
    #[must_use]
    pub fn host_path(&self, path: &Path) -> PathBuf {
        Path::new("/proc").join(self.space.pid().to_string()).join("root").join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Everything a plugin could leave behind, as it is now.
    ///
    /// # Errors
    /// When `ip`, `bridge` or `nft` fails.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::take(self)
    }
}
