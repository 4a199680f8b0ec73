//! One plugin call, as a container runtime makes it, with its time and its CPU.

use crate::order::Sample;
use crate::subject::Setup;
use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The executions of a subject, their configurations in files.
pub(crate) struct Plugin {
    steps: Vec<(PathBuf, &'static str, PathBuf)>,
    search: String,
    masquerade: bool,
}

/// Which way a pod goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Del,
}

impl Plugin {
    /// Write the configurations below `directory`.
    pub(crate) fn new(setup: &Setup, directory: &str) -> Result<Self> {
        let mut steps = Vec::new();
        for (position, step) in setup.steps().into_iter().enumerate() {
            let path = PathBuf::from(format!("{directory}/conf-{position}.json"));
            std::fs::write(&path, step.conf.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
            steps.push((step.program, step.interface, path));
        }
        Ok(Self { steps, search: setup.reference.display().to_string(), masquerade: setup.masquerade })
    }

    /// The whole ADD or DEL of a pod; the time only, since CPU is known for all children together.
    pub(crate) fn call(&self, verb: Verb, pod: &str) -> Result<f64> {
        let mut steps: Vec<_> = self.steps.iter().collect();
        if verb == Verb::Del {
            steps.reverse();
        }
        let commands = steps.into_iter().map(|step| self.command(verb, pod, step)).collect::<Result<Vec<_>>>()?;
        let start = Instant::now();
        for mut command in commands {
            let output =
                command.output().with_context(|| format!("cannot execute {}", command.get_program().display()))?;
            if !output.status.success() {
                let text = String::from_utf8_lossy(&output.stdout);
                bail!("{} of {pod} by {}: {}", verb.name(), command.get_program().display(), text.trim());
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    /// The same with the CPU it took; nothing else may run as a child of this process meanwhile.
    pub(crate) fn measure(&self, verb: Verb, pod: &str) -> Result<Sample> {
        let before = children_cpu()?;
        let wall = self.call(verb, pod)?;
        Ok(Sample { wall, cpu: children_cpu()? - before })
    }

    fn command(
        &self,
        verb: Verb,
        pod: &str,
        (program, interface, conf): &(PathBuf, &'static str, PathBuf),
    ) -> Result<Command> {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNI_COMMAND", verb.name())
            .env("CNI_CONTAINERID", pod)
            .env("CNI_NETNS", format!("/run/netns/{pod}"))
            .env("CNI_IFNAME", interface)
            .env("CNI_PATH", &self.search)
            .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID={pod};K8S_POD_UID={pod}"))
            .stdin(File::open(conf).with_context(|| format!("cannot open {}", conf.display()))?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.masquerade {
            command.env("FLOOR_MASQUERADE", "1");
        }
        Ok(command)
    }
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
        }
    }
}

/// Milliseconds of CPU of all children waited for so far, and theirs.
pub(crate) fn children_cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot read the children's CPU time")?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64() * 1e3)
}
