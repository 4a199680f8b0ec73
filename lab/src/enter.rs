//! `plexus lab enter`: becomes a program inside a node's namespaces.
//!
//! Joining a mount namespace needs a process of one thread, so that this is a program of its own and not a function of the lab. It
//! replaces itself by the program, whose process id is therefore the one the lab started.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// What to do inside the namespaces of the process `pid`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Enter {
    /// The holder.
    pub pid: i32,
    /// A pod's network namespace, by the path under which the node sees it.
    pub netns: Option<PathBuf>,
    /// Variables added to the environment of the program, and only there: the way into the namespaces may itself depend on some.
    pub environment: Vec<(OsString, OsString)>,
    /// Whether the program is killed when the lab's thread that started it ends.
    pub guarded: bool,
    /// The program and its arguments.
    pub program: Vec<OsString>,
}

impl Enter {
    /// Joins the namespaces and becomes the program. Returns only to say why that failed.
    #[must_use]
    pub fn become_program(&self) -> anyhow::Error {
        match self.join().and_then(|()| self.command()) {
            Ok(mut command) => {
                let error = command.exec();
                anyhow::Error::new(error).context(format!("execute {}", command.get_program().to_string_lossy()))
            }
            Err(error) => error,
        }
    }

    fn join(&self) -> Result<()> {
        if self.guarded {
            set_pdeathsig(Signal::SIGKILL).context("ask to die with the lab")?;
        }
        join_node(self.pid)?;
        match &self.netns {
            Some(netns) => {
                setns(open(netns)?, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter {}", netns.display()))
            }
            None => Ok(()),
        }
    }

    fn command(&self) -> Result<Command> {
        let Some((program, arguments)) = self.program.split_first() else { bail!("no program is given after --") };
        let mut command = Command::new(program);
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

/// Joins the network and the mount namespace of the process `pid`, keeping the working directory where it still exists.
///
/// # Errors
/// When the process is gone or may not be joined.
pub fn join_node(pid: i32) -> Result<()> {
    let directory = std::env::current_dir();
    let net = open(Path::new(&format!("/proc/{pid}/ns/net")))?;
    let mnt = open(Path::new(&format!("/proc/{pid}/ns/mnt")))?;
    setns(net, CloneFlags::CLONE_NEWNET).with_context(|| format!("join the network namespace of process {pid}"))?;
    setns(mnt, CloneFlags::CLONE_NEWNS).with_context(|| format!("join the mount namespace of process {pid}"))?;
    if let Ok(directory) = directory {
        // a directory that the node does not have: the root of the file system serves as well
        let _ = std::env::set_current_dir(directory);
    }
    Ok(())
}

/// Makes a network namespace and binds it at `path` of the node that `pid` holds, as a container runtime does for a sandbox.
///
/// # Errors
/// When the path is taken or the kernel refuses.
pub fn make_netns(pid: i32, path: &Path) -> Result<()> {
    join_node(pid)?;
    File::create_new(path).with_context(|| format!("make {}", path.display()))?;
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
    mount(Some("/proc/self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("bind a network namespace to {}", path.display()))
}

/// Removes what [`make_netns`] made.
///
/// # Errors
/// When it is not there.
pub fn remove_netns(pid: i32, path: &Path) -> Result<()> {
    join_node(pid)?;
    umount2(path, MntFlags::MNT_DETACH).with_context(|| format!("unmount {}", path.display()))?;
    std::fs::remove_file(path).with_context(|| format!("remove {}", path.display()))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("open {}", path.display()))
}
