//! A certificate for the loopback, made with the `openssl` program, that is its own authority.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// A certificate and its key, in files.
pub struct Certificate {
    pem: String,
    key: PathBuf,
}

impl Certificate {
    /// Make one for 127.0.0.1 and localhost in `directory`.
    ///
    /// # Errors
    /// `openssl` is missing or fails; what it said is in the message.
    pub fn make(directory: &Path) -> io::Result<Self> {
        let (certificate, key) = (directory.join("api.crt"), directory.join("api.key"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/CN=fake-api",
            ])
            .args([
                "-addext",
                "subjectAltName=IP:127.0.0.1,DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(format!("openssl: {}", String::from_utf8_lossy(&made.stderr))));
        }
        Ok(Self { pem: std::fs::read_to_string(&certificate)?, key })
    }

    /// The certificate as PEM, which is also what clients are to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn server(&self) -> io::Result<ServerConfig> {
        let chain = CertificateDer::pem_slice_iter(self.pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(io::Error::other)?;
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(io::Error::other)
    }
}

/// RFC 4648 with padding: kubeconfigs carry certificates this way.
pub(super) fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let group = chunk.iter().chain(&[0, 0]).take(3).fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        for position in 0..4 {
            let letter = ALPHABET.get(group >> (18 - 6 * position) & 63).copied().unwrap_or(b'=');
            out.push(if position > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    out
}
