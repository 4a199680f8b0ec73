//! A certificate authority with certificates for servers on loopback and for a client, made by `openssl` (3.0 or later).

use std::path::{Path, PathBuf};
use std::process::Command;

/// PEM files.
#[derive(Debug, Clone)]
pub struct Certificates {
    pub ca: PathBuf,
    pub server: PathBuf,
    pub server_key: PathBuf,
    pub client: PathBuf,
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes all of them in `directory`.
    pub fn make(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let file = |name: &str| directory.join(name);
        let (ca, ca_key) = (file("ca.pem"), file("ca-key.pem"));
        run(request("test-ca", &ca, &ca_key).args(["-addext", "basicConstraints=critical,CA:TRUE"]));
        let signed = |name: &str, extensions: &[&str]| {
            let (certificate, key) = (file(&format!("{name}.pem")), file(&format!("{name}-key.pem")));
            let mut command = request(name, &certificate, &key);
            command.arg("-CA").arg(&ca).arg("-CAkey").arg(&ca_key);
            for extension in ["basicConstraints=critical,CA:FALSE"].iter().chain(extensions) {
                command.args(["-addext", extension]);
            }
            run(&mut command);
            (certificate, key)
        };
        let names = "subjectAltName=IP:127.0.0.1,DNS:localhost";
        // etcd is a client of itself too
        let (server, server_key) = signed("server", &[names, "extendedKeyUsage=serverAuth,clientAuth"]);
        let (client, client_key) = signed("client", &["extendedKeyUsage=clientAuth"]);
        Self { ca, server, server_key, client, client_key }
    }
}

fn request(name: &str, certificate: &Path, key: &Path) -> Command {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]);
    // a configuration of our own: the machine's may add extensions that contradict ours
    command.args(["-config", "/dev/null", "-subj", &format!("/CN={name}")]);
    command.arg("-keyout").arg(key).arg("-out").arg(certificate);
    command
}

fn run(command: &mut Command) {
    let output = command.output().expect("openssl runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
