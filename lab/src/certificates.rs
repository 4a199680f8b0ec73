//! A certificate authority with one server and one client certificate, made by `openssl`.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;

/// PEM files.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The servers' certificate, for all their addresses.
    pub server: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// The clients' certificate.
    pub client: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes them in `directory`, valid for one day.
    ///
    /// # Errors
    /// When `openssl` (3.0 or later) is missing or fails.
    pub fn make(directory: &Path, servers: &[Ipv4Addr]) -> Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        let file = |name: &str| directory.join(name);
        let all = Self {
            ca: file("ca.pem"),
            server: file("server.pem"),
            server_key: file("server-key.pem"),
            client: file("client.pem"),
            client_key: file("client-key.pem"),
        };
        let ca_key = file("ca-key.pem");
        command::run(request("lab-ca", &all.ca, &ca_key).args(["-addext", "basicConstraints=critical,CA:TRUE"]))?;
        let names: Vec<_> = servers.iter().map(|address| format!("IP:{address}")).collect();
        let names = format!("subjectAltName=IP:127.0.0.1,DNS:localhost,{}", names.join(","));
        // a member is a client of the other members
        let usage = "extendedKeyUsage=serverAuth,clientAuth";
        let signed = |name: &str, certificate: &Path, key: &Path, extensions: &[&str]| {
            let mut command = request(name, certificate, key);
            command
                .arg("-CA")
                .arg(&all.ca)
                .arg("-CAkey")
                .arg(&ca_key)
                .args(["-addext", "basicConstraints=critical,CA:FALSE"]);
            for extension in extensions {
                command.args(["-addext", extension]);
            }
            command::run(&mut command)
        };
        signed("lab-server", &all.server, &all.server_key, &[&names, usage])?;
        signed("lab-client", &all.client, &all.client_key, &["extendedKeyUsage=clientAuth"])?;
        Ok(all)
    }
}

fn request(name: &str, certificate: &Path, key: &Path) -> Command {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]);
    // a configuration of our own: the machine's may add extensions that contradict ours
    command
        .args(["-config", "/dev/null", "-subj", &format!("/CN={name}")])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(certificate);
    command
}
