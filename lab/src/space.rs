//! A network and a mount namespace with the process that holds them.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::{command, hold};

/// Namespaces that live as long as this value.
#[derive(Debug)]
pub struct Space {
    holder: Child,
    program: PathBuf,
}

impl Space {
    /// Makes the namespaces; `program` is the executable whose `lab hold` keeps them.
    ///
    /// # Errors
    /// When the kernel refuses; the holder says why on standard error.
    pub fn new(program: &Path) -> Result<Self> {
        let mut holder = Command::new(program)
            .args(["lab", "hold"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {} lab hold", program.display()))?;
        let stdout = holder.stdout.take();
        let space = Self { holder, program: program.to_owned() };
        let mut word = vec![0; hold::READY.len()];
        stdout
            .context("the holder has no output")?
            .read_exact(&mut word)
            .context("the holder of the namespaces did not start")?;
        Ok(space)
    }

    /// The holder's process id: `/proc/<pid>/ns/net` is the network namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// `program`, to be run inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.enter(&[], program.as_ref())
    }

    /// `program`, to be run inside and killed when the thread that starts it ends: for daemons.
    #[must_use]
    pub fn guarded_command(&self, program: impl AsRef<OsStr>) -> Command {
        self.enter(&[OsStr::new("--guarded")], program.as_ref())
    }

    /// `program`, to be run in the network namespace bound at `netns` of this mount namespace.
    #[must_use]
    pub fn command_in(&self, netns: &Path, program: impl AsRef<OsStr>) -> Command {
        self.enter(&[OsStr::new("--netns"), netns.as_os_str()], program.as_ref())
    }

    /// `program`, to be run inside with these variables. They are set there and not on the way: `CNI_COMMAND` in its own environment
    /// would make the product a plugin before it had entered.
    #[must_use]
    pub fn command_with(&self, environment: &[(&str, String)], program: impl AsRef<OsStr>) -> Command {
        let options: Vec<_> =
            environment.iter().flat_map(|(name, value)| ["--env", name, value]).map(OsStr::new).collect();
        self.enter(&options, program.as_ref())
    }

    fn enter(&self, options: &[&OsStr], program: &OsStr) -> Command {
        let mut command = self.lab("enter");
        command.args(options).arg("--").arg(program);
        command
    }

    /// Binds a new network namespace at `netns`.
    ///
    /// # Errors
    /// When the path is taken.
    pub fn make_netns(&self, netns: &Path) -> Result<()> {
        command::run(self.lab("make-netns").arg(netns)).map(drop)
    }

    /// Removes the network namespace bound at `netns`.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove_netns(&self, netns: &Path) -> Result<()> {
        command::run(self.lab("remove-netns").arg(netns)).map(drop)
    }

    fn lab(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["lab", verb, "--pid", &self.pid().to_string()]);
        command
    }

    /// Runs `ip` with one command per line.
    ///
    /// # Errors
    /// With what `ip` said of the first line that failed.
    pub fn ip(&self, lines: &str) -> Result<()> {
        command::run_with(self.command("ip").args(["-batch", "-"]), lines).map(drop)
    }

    /// Writes a kernel setting of the network namespace, such as `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{key}");
        command::run_with(self.command("tee").arg(&path), value)
            .map(drop)
            .with_context(|| format!("set {key} to {value}"))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
