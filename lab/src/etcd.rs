//! A real etcd on the underlay: one member or three, each in a namespace of its own, over TLS with client certificates.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::certificates::Certificates;
use crate::{Daemon, Lab, Space, command};

/// How long a cluster may take to elect a leader on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running cluster; it goes when dropped.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    certificates: Certificates,
}

/// One member.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its address on the underlay.
    pub address: Ipv4Addr,
    space: Space,
    daemon: Option<Daemon>,
}

impl Etcd {
    /// Starts a cluster of `size` members and waits until it answers.
    ///
    /// # Errors
    /// When `etcd`, `etcdctl` or `openssl` is missing, or no leader is found in time.
    pub fn start(lab: &mut Lab, size: usize) -> Result<Self> {
        let mut members = Vec::new();
        for number in 1..=size {
            let space = Space::new(&lab.program)?;
            let address = lab.underlay.attach(&space).context("attach etcd to the underlay")?;
            members.push(Member { name: format!("etcd{number}"), address, space, daemon: None });
        }
        let addresses: Vec<_> = members.iter().map(|member| member.address).collect();
        let directory = lab.directory().join("etcd");
        let certificates = Certificates::make(&directory, &addresses)?;
        let mut etcd = Self { members, certificates };
        for position in 0..size {
            etcd.launch(position, &directory.join(format!("member-{position}.log")), "new")?;
        }
        etcd.wait_until_healthy()?;
        Ok(etcd)
    }

    fn launch(&mut self, position: usize, log: &std::path::Path, state: &str) -> Result<()> {
        let peers: Vec<_> =
            self.members.iter().map(|member| format!("{}=https://{}:2380", member.name, member.address)).collect();
        let member = self.members.get_mut(position).context("there is no such member")?;
        let (client, peer) = (format!("https://{}:2379", member.address), format!("https://{}:2380", member.address));
        let tls = &self.certificates;
        let mut command = member.space.guarded_command("etcd");
        // the data is in the member's own /run: memory, whose fsync costs nothing
        command.args(["--name", &member.name, "--data-dir", "/run/etcd", "--log-level", "warn", "--logger", "zap"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args([
            "--initial-cluster",
            &peers.join(","),
            "--initial-cluster-state",
            state,
            "--initial-cluster-token",
            "lab",
        ]);
        command.args(["--heartbeat-interval", "50", "--election-timeout", "500"]);
        for prefix in ["", "peer-"] {
            command.arg(format!("--{prefix}trusted-ca-file")).arg(&tls.ca).arg(format!("--{prefix}client-cert-auth"));
            command
                .arg(format!("--{prefix}cert-file"))
                .arg(&tls.server)
                .arg(format!("--{prefix}key-file"))
                .arg(&tls.server_key);
        }
        member.daemon = Some(Daemon::start(&mut command, log)?);
        Ok(())
    }

    fn wait_until_healthy(&mut self) -> Result<()> {
        let health = |etcd: &Self| etcd.etcdctl(["endpoint", "health", "--command-timeout=1s"]).is_ok();
        let start = std::time::Instant::now();
        while !health(self) {
            for member in &mut self.members {
                if let Some(daemon) = &mut member.daemon {
                    let ended = daemon.ended()?;
                    anyhow::ensure!(ended.is_none(), "{} ended; it wrote:\n{}", member.name, daemon.log());
                }
            }
            anyhow::ensure!(start.elapsed() < PATIENCE, "etcd is not healthy after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The client URLs of all members.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("https://{}:2379", member.address)).collect()
    }

    /// The files a client needs.
    #[must_use]
    pub const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Runs `etcdctl` against all members and gives its output.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn etcdctl<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let first = self.members.first().context("etcd has no member")?;
        let mut command: Command = first.space.command("etcdctl");
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", self.endpoints().join(",")));
        command.arg("--cacert").arg(&self.certificates.ca);
        command.arg("--cert").arg(&self.certificates.client).arg("--key").arg(&self.certificates.client_key);
        command::run(command.args(words))
    }

    /// Kills a member; its data stays.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn kill_member(&mut self, position: usize) -> Result<()> {
        self.members.get_mut(position).context("there is no such member")?.daemon = None;
        Ok(())
    }

    /// Starts a killed member again, from the data it has.
    ///
    /// # Errors
    /// When there is no such member, or the cluster does not recover.
    pub fn restart_member(&mut self, lab: &Lab, position: usize) -> Result<()> {
        let log = lab.directory().join("etcd").join(format!("member-{position}-again.log"));
        self.launch(position, &log, "existing")?;
        self.wait_until_healthy()
    }
}
