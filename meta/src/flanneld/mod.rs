//! `plexus flanneld`, or the program under the name `flanneld`: flanneld's flags and environment in front of one overlay.
//!
//! A DaemonSet that runs flanneld with etcd and the vxlan backend works with only its image changed.

pub mod flags;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use etcd_subnet::etcd::{EtcdManager, EtcdSettings};
use overlay::network::Settings;
use overlay::underlay::Choice;

use crate::agent::{Member, Persistence, serve};
use flags::{FlagError, Given};

/// Runs with the arguments after the program's name (or after `flanneld`).
///
/// # Errors
/// A flag or value that cannot be used, or an overlay that cannot run.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let given = Given::read(arguments, |name| std::env::var(name).ok())?;
    if given.is_on("help") {
        print!("{}", flags::help());
        return Ok(ExitCode::SUCCESS);
    }
    if given.is_on("version") {
        println!("plexus {} (flanneld)", env!("CARGO_PKG_VERSION"));
        return Ok(ExitCode::SUCCESS);
    }
    let settings = settings(&given)?;
    let manager = EtcdManager::new(etcd(&given)?)?;
    serve(vec![Member { settings, manager: Arc::new(manager) }], Persistence::GiveUp)
}

/// Name of the overlay in logs and in the name of its nftables table: two flanneld on one node have different subnet files.
fn name(subnet_file: &std::path::Path) -> String {
    let stem = subnet_file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    match stem.as_deref() {
        None | Some("subnet") => "flannel".to_owned(),
        Some(stem) => stem.to_owned(),
    }
}

fn settings(given: &Given) -> Result<Settings, FlagError> {
    let margin: u64 = given.parse("subnet-lease-renew-margin")?;
    if !(1..=1439).contains(&margin) {
        return Err(given.invalid("subnet-lease-renew-margin", "it must be 1 to 1439 minutes"));
    }
    let resync: u64 = given.parse("iptables-resync")?;
    if resync == 0 {
        return Err(given.invalid("iptables-resync", "it must be at least 1 second"));
    }
    let address = |name: &'static str| given.optional(name).map(|_| given.parse(name)).transpose();
    let subnet_file = PathBuf::from(given.text("subnet-file"));
    Ok(Settings {
        name: name(&subnet_file),
        choice: Choice {
            interfaces: given.all("iface"),
            patterns: given.all("iface-regex"),
            can_reach: address("iface-can-reach")?,
            public: address("public-ip")?,
        },
        mtu: None,
        subnet_file,
        masquerade: given.is_on("ip-masq"),
        forward: given.is_on("iptables-forward-rules"),
        state_dir: PathBuf::from("/var/lib/plexus/overlay"),
        renew_margin: Duration::from_secs(60 * margin),
        check_every: Duration::from_secs(resync),
    })
}

fn etcd(given: &Given) -> Result<EtcdSettings> {
    let endpoints: Vec<String> = given
        .text("etcd-endpoints")
        .split(',')
        .map(str::trim)
        .filter(|url| !url.is_empty())
        .map(str::to_owned)
        .collect();
    if endpoints.is_empty() {
        bail!(given.invalid("etcd-endpoints", "it names no endpoint"));
    }
    let file = |name| given.optional(name).map(PathBuf::from);
    let (cert_file, key_file) = (file("etcd-certfile"), file("etcd-keyfile"));
    if cert_file.is_some() != key_file.is_some() {
        bail!("-etcd-certfile and -etcd-keyfile go together");
    }
    Ok(EtcdSettings {
        endpoints,
        prefix: given.text("etcd-prefix").to_owned(),
        ca_file: file("etcd-cafile"),
        cert_file,
        key_file,
        username: given.optional("etcd-username").map(str::to_owned),
        password: given.optional("etcd-password").map(str::to_owned),
        ..EtcdSettings::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &[&str]) -> Given {
        Given::read(arguments.iter().map(OsString::from), |_| None).unwrap()
    }

    #[test]
    fn the_second_daemonset_of_two_is_understood() {
        let given = given(&[
            "--ip-masq",
            "--etcd-endpoints=https://10.0.0.1:2379,https://10.0.0.2:2379",
            "--etcd-prefix=/flannel2/network",
            "--etcd-cafile=/etc/kubernetes/ssl/kube-ca.pem",
            "--etcd-certfile=/etc/kubernetes/ssl/kube-node.pem",
            "--etcd-keyfile=/etc/kubernetes/ssl/kube-node-key.pem",
            "--subnet-file=/run/flannel/flannel2.env",
            "--iface=eth0",
        ]);
        let settings = settings(&given).unwrap();
        assert_eq!(settings.name, "flannel2");
        assert_eq!(settings.subnet_file, PathBuf::from("/run/flannel/flannel2.env"));
        assert!(settings.masquerade && settings.forward);
        assert_eq!(settings.choice.interfaces, ["eth0"]);
        assert_eq!(settings.renew_margin, Duration::from_secs(3600));
        let etcd = etcd(&given).unwrap();
        assert_eq!(etcd.endpoints.len(), 2);
        assert_eq!(etcd.prefix, "/flannel2/network");
        assert!(etcd.cert_file.is_some() && etcd.username.is_none());
    }

    #[test]
    fn without_flags_everything_is_flanneld_s() {
        let settings = settings(&given(&[])).unwrap();
        assert_eq!((settings.name.as_str(), settings.masquerade, settings.forward), ("flannel", false, true));
        assert_eq!(settings.check_every, Duration::from_secs(5));
        assert_eq!(etcd(&given(&[])).unwrap().endpoints, EtcdSettings::default().endpoints);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let text = |arguments: &[&str]| settings(&given(arguments)).unwrap_err().to_string();
        for margin in ["0", "1440", "x", "-5"] {
            let error = text(&["-subnet-lease-renew-margin", margin]);
            assert!(
                error.starts_with(&format!("invalid value \"{margin}\" for -subnet-lease-renew-margin")),
                "{error}"
            );
        }
        assert!(text(&["-public-ip=nowhere"]).contains("-public-ip"));
        assert!(etcd(&given(&["-etcd-certfile=a"])).unwrap_err().to_string().contains("go together"));
    }
}
