//! Real etcd servers on free loopback ports, killed by their process ids when the test ends.

use super::certificates::Certificates;
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use etcd_subnet::etcd::EtcdSettings;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How the servers talk to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// http.
    Plain,
    /// https; clients need no certificate.
    Tls,
    /// https; clients need a certificate.
    ClientCertificates,
}

/// A cluster.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    security: Security,
    certificates: Option<Certificates>,
    directory: tempfile::TempDir,
}

#[derive(Debug)]
struct Member {
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
}

impl Etcd {
    /// Starts a cluster and waits until every member answers. None, with the reason printed, when etcd is not installed.
    pub async fn start(size: usize, security: Security) -> Option<Self> {
        if Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: etcd is not installed (Debian: etcd-server)");
            return None;
        }
        // memory, whose fsync costs nothing
        let home = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("etcd-").tempdir_in(home).unwrap();
        let certificates =
            (security != Security::Plain).then(|| Certificates::make(&directory.path().join("certificates")));
        let members = free_ports(size * 2)
            .chunks(2)
            .map(|ports| Member { client_port: ports[0], peer_port: ports[1], process: None })
            .collect();
        let mut etcd = Self { members, security, certificates, directory };
        for index in 0..size {
            etcd.launch(index);
        }
        for index in 0..size {
            etcd.wait(index).await;
        }
        Some(etcd)
    }

    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("the servers use TLS")
    }

    pub fn endpoint(&self, index: usize) -> String {
        let scheme = if self.security == Security::Plain { "http" } else { "https" };
        format!("{scheme}://127.0.0.1:{}", self.members[index].client_port)
    }

    pub fn endpoints(&self) -> Vec<String> {
        (0..self.members.len()).map(|index| self.endpoint(index)).collect()
    }

    /// Settings that are let in.
    pub fn settings(&self) -> EtcdSettings {
        let certificates = self.certificates.as_ref();
        let with_client = certificates.filter(|_| self.security == Security::ClientCertificates);
        EtcdSettings {
            endpoints: self.endpoints(),
            prefix: "/coreos.com/network".into(),
            ca_file: certificates.map(|files| files.ca.clone()),
            cert_file: with_client.map(|files| files.client.clone()),
            key_file: with_client.map(|files| files.client_key.clone()),
            ..EtcdSettings::default()
        }
    }

    /// A plain client, to do what others do to the store.
    pub async fn client(&self, index: usize) -> Client {
        let mut options = ConnectOptions::new();
        if let Some(files) = &self.certificates {
            let read = |path: &PathBuf| std::fs::read(path).unwrap();
            let tls = TlsOptions::new()
                .ca_certificate(Certificate::from_pem(read(&files.ca)))
                .identity(Identity::from_pem(read(&files.client), read(&files.client_key)));
            options = options.with_tls(tls);
        }
        Client::connect([self.endpoint(index)], Some(options)).await.unwrap()
    }

    /// Kills a member at once; its data stays.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.members[index].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts a killed member again, from the data it has.
    pub async fn restart(&mut self, index: usize) {
        self.launch(index);
        self.wait(index).await;
    }

    /// Starts a killed member again where its clients do not look for it. Returns the port they do look at.
    pub async fn restart_elsewhere(&mut self, index: usize) -> u16 {
        let port = std::mem::replace(&mut self.members[index].client_port, free_ports(1)[0]);
        self.restart(index).await;
        port
    }

    /// Where clients will find a killed member when it is started the next time.
    pub fn move_to(&mut self, index: usize, port: u16) {
        self.members[index].client_port = port;
    }

    /// Throws the data of a killed member away.
    pub fn wipe(&mut self, index: usize) {
        std::fs::remove_dir_all(self.data(index)).unwrap();
    }

    fn data(&self, index: usize) -> PathBuf {
        self.directory.path().join(format!("member-{index}"))
    }

    fn launch(&mut self, index: usize) {
        let peer = |member: &Member| format!("http://127.0.0.1:{}", member.peer_port);
        let cluster: Vec<String> =
            self.members.iter().enumerate().map(|(index, member)| format!("m{index}={}", peer(member))).collect();
        let own_peer = peer(&self.members[index]);
        let client = self.endpoint(index);
        let mut command = Command::new("etcd");
        command.args(["--name", &format!("m{index}"), "--log-level", "warn", "--logger", "zap"]);
        command.arg("--data-dir").arg(self.data(index));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &own_peer, "--initial-advertise-peer-urls", &own_peer]);
        command.args(["--initial-cluster", &cluster.join(","), "--initial-cluster-state", "new"]);
        command.args(["--heartbeat-interval", "50", "--election-timeout", "500"]);
        if let Some(files) = &self.certificates {
            command.arg("--cert-file").arg(&files.server).arg("--key-file").arg(&files.server_key);
            if self.security == Security::ClientCertificates {
                command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(&files.ca);
            }
        }
        let log = File::options().create(true).append(true).open(self.log(index)).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.members[index].process = Some(command.spawn().unwrap());
    }

    fn log(&self, index: usize) -> PathBuf {
        self.directory.path().join(format!("member-{index}.log"))
    }

    /// Waits until a member answers a read that needs a leader.
    async fn wait(&mut self, index: usize) {
        let start = Instant::now();
        loop {
            let mut client = self.client(index).await;
            if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(1), client.get("health", None)).await {
                return;
            }
            let process = self.members[index].process.as_mut().unwrap();
            let ended = process.try_wait().unwrap();
            let log = || std::fs::read_to_string(self.directory.path().join(format!("member-{index}.log"))).unwrap();
            assert!(ended.is_none(), "etcd ended with {ended:?}:\n{}", log());
            assert!(start.elapsed() < Duration::from_secs(60), "etcd does not answer:\n{}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for index in 0..self.members.len() {
            self.kill(index);
        }
    }
}

/// Ports nobody listens on just now.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
