//! The agent's configuration file. The structures below are its documentation: every key, its meaning and its default.
//!
//! Keys that are not known are refused with the one that was probably meant, because a setting that is silently ignored is the
//! hardest kind of mistake to find.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::nearest;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentConfig {
    /// Directory for what must survive a restart or reboot, such as the MAC address of each overlay's device.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// The overlays this node belongs to. They share nothing but the process.
    #[serde(default)]
    pub overlays: Vec<OverlayConfig>,
}

/// One overlay.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverlayConfig {
    /// A name for logs and for the overlay's nftables table. It must be unique in the file.
    pub name: String,
    /// Where the overlay's configuration and leases are kept.
    pub store: StoreConfig,
    /// Interfaces (names or addresses) for traffic between nodes; the first that exists wins. Default: that of the default route.
    #[serde(default)]
    pub iface: Vec<String>,
    /// Patterns for addresses or names, tried when none of `iface` exists.
    #[serde(default)]
    pub iface_regex: Vec<String>,
    /// Take the interface and address of the route to this address; tried last.
    pub iface_can_reach: Option<Ipv4Addr>,
    /// The address peers are told to send to, for nodes behind address translation. Without any `iface…` key it also selects the
    /// interface, which must then hold it.
    #[serde(rename = "publicIP", alias = "publicIp")]
    pub public_ip: Option<Ipv4Addr>,
    /// MTU of the network between the nodes, in bytes, if it is not the interface's own. The overlay carries 50 bytes less. An `MTU`
    /// in the network's configuration counts less than this.
    pub mtu: Option<u32>,
    /// The file that tells the flannel CNI plugin this node's subnet.
    #[serde(default = "default_subnet_file")]
    pub subnet_file: PathBuf,
    /// Whether traffic from the overlay to anywhere else leaves with the node's address.
    #[serde(default = "yes")]
    pub ip_masq: bool,
    /// Whether forwarded traffic of the overlay is accepted.
    #[serde(default = "yes")]
    pub forward_rules: bool,
    /// Minutes before expiry at which the lease is renewed, 1 to 1439.
    #[serde(default = "default_margin")]
    pub lease_renew_margin: u32,
}

/// Where an overlay's configuration and leases are kept: exactly one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreConfig {
    /// A directory that all nodes of the overlay see.
    pub file: Option<PathBuf>,
    /// An etcd cluster, with the layout flannel uses.
    pub etcd: Option<EtcdConfig>,
}

/// How to reach etcd.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EtcdConfig {
    /// URLs of the members.
    pub endpoints: Vec<String>,
    /// Prefix of the overlay's keys.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// File with the certificate authority, PEM. By itself it is enough for TLS.
    pub ca: Option<PathBuf>,
    /// File with the client certificate, PEM; needs `key`.
    pub cert: Option<PathBuf>,
    /// File with the client key, PEM; needs `cert`.
    pub key: Option<PathBuf>,
    /// User, if etcd asks for one; needs `passwordFile`.
    pub username: Option<String>,
    /// File with the password of the user. A trailing line feed does not count.
    #[serde(alias = "password_file")]
    pub password_file: Option<PathBuf>,
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/plexus/overlay")
}

fn default_subnet_file() -> PathBuf {
    PathBuf::from("/run/flannel/subnet.env")
}

fn default_prefix() -> String {
    "/coreos.com/network".to_owned()
}

const fn default_margin() -> u32 {
    60
}

const fn yes() -> bool {
    true
}

const TOP_KEYS: &[&str] = &["stateDir", "overlays"];
const OVERLAY_KEYS: &[&str] = &[
    "name",
    "store",
    "iface",
    "ifaceRegex",
    "ifaceCanReach",
    "publicIP",
    "publicIp",
    "mtu",
    "subnetFile",
    "ipMasq",
    "forwardRules",
    "leaseRenewMargin",
];
const STORE_KEYS: &[&str] = &["file", "etcd"];
const ETCD_KEYS: &[&str] = &["endpoints", "prefix", "ca", "cert", "key", "username", "passwordFile", "password_file"];

impl AgentConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// A file that cannot be read, is no YAML, or says something that cannot be meant; the message names file and key.
    pub fn load(path: &Path) -> Result<AgentConfig> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        AgentConfig::parse(&text).with_context(|| format!("{}", path.display()))
    }

    /// Reads and checks a text.
    ///
    /// # Errors
    /// As [`AgentConfig::load`].
    pub fn parse(text: &str) -> Result<AgentConfig> {
        let value: Value = serde_saphyr::from_str(text).context("this is no YAML")?;
        refuse_unknown_keys(&value)?;
        let config: AgentConfig = serde_json::from_value(value).context("the configuration cannot be used")?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let mut names = HashSet::new();
        let mut files = HashSet::new();
        for overlay in &self.overlays {
            let name = &overlay.name;
            ensure!(!name.is_empty(), "an overlay has an empty name");
            ensure!(names.insert(name), "overlay {name}: the name is used twice");
            let file = &overlay.subnet_file;
            ensure!(files.insert(file), "overlay {name}: subnetFile {} is used by another overlay too", file.display());
            overlay.check().with_context(|| format!("overlay {name}"))?;
        }
        Ok(())
    }
}

impl OverlayConfig {
    fn check(&self) -> Result<()> {
        ensure!(
            (1..=1439).contains(&self.lease_renew_margin),
            "leaseRenewMargin is {}, but must be 1 to 1439 minutes",
            self.lease_renew_margin
        );
        if let Some(mtu) = self.mtu {
            ensure!((118..=65_535).contains(&mtu), "mtu is {mtu}, but must be 118 to 65535");
        }
        self.store.check()
    }
}

impl StoreConfig {
    /// Checks what belongs together.
    ///
    /// # Errors
    /// Names the keys that do not.
    pub fn check(&self) -> Result<()> {
        match (&self.file, &self.etcd) {
            (Some(_), None) => Ok(()),
            (None, Some(etcd)) => etcd.check(),
            _ => bail!("store must have exactly one of `file` and `etcd`"),
        }
    }
}

impl EtcdConfig {
    fn check(&self) -> Result<()> {
        ensure!(!self.endpoints.is_empty(), "etcd has no endpoints");
        ensure!(self.cert.is_some() == self.key.is_some(), "etcd: `cert` and `key` go together");
        ensure!(
            self.username.is_some() == self.password_file.is_some(),
            "etcd: `username` and `passwordFile` go together"
        );
        Ok(())
    }
}

fn refuse_unknown_keys(value: &Value) -> Result<()> {
    known(value, "the configuration", TOP_KEYS)?;
    let overlays = value.get("overlays").and_then(Value::as_array);
    for (number, overlay) in overlays.into_iter().flatten().enumerate() {
        let name = overlay.get("name").and_then(Value::as_str);
        let place = name.map_or_else(|| format!("overlay number {}", number + 1), |name| format!("overlay {name}"));
        known(overlay, &place, OVERLAY_KEYS)?;
        let Some(store) = overlay.get("store") else { continue };
        known(store, &format!("{place}: store"), STORE_KEYS)?;
        if let Some(etcd) = store.get("etcd") {
            known(etcd, &format!("{place}: store.etcd"), ETCD_KEYS)?;
        }
    }
    Ok(())
}

fn known(value: &Value, place: &str, keys: &'static [&'static str]) -> Result<()> {
    for key in value.as_object().into_iter().flat_map(|object| object.keys()) {
        if !keys.contains(&key.as_str()) {
            let hint = nearest(key, keys.iter().copied()).map(|near| format!(" (did you mean `{near}`?)"));
            bail!("{place} has an unknown key `{key}`{}", hint.unwrap_or_default());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "
overlays:
- name: net1
  store: {file: /var/lib/plexus/leases/net1}
- name: net2
  store:
    etcd:
      endpoints: ['https://10.0.0.1:2379', 'https://10.0.0.2:2379']
      prefix: /flannel2
      ca: /etc/ssl/ca.pem
      cert: /etc/ssl/node.pem
      key: /etc/ssl/node-key.pem
  iface: [eth1]
  publicIP: 203.0.113.7
  subnetFile: /run/flannel/flannel2.env
  ipMasq: false
";

    fn error(text: &str) -> String {
        format!("{:#}", AgentConfig::parse(text).unwrap_err())
    }

    #[test]
    fn two_overlays_are_read_with_their_defaults() {
        let config = AgentConfig::parse(TWO).unwrap();
        let [first, second] = config.overlays.as_slice() else { panic!("{config:?}") };
        assert_eq!(config.state_dir, Path::new("/var/lib/plexus/overlay"));
        assert_eq!(first.subnet_file, Path::new("/run/flannel/subnet.env"));
        assert!(first.ip_masq && first.forward_rules && first.iface.is_empty());
        assert_eq!(first.lease_renew_margin, 60);
        assert_eq!(first.store.file.as_deref(), Some(Path::new("/var/lib/plexus/leases/net1")));
        let etcd = second.store.etcd.as_ref().unwrap();
        assert_eq!((etcd.endpoints.len(), etcd.prefix.as_str()), (2, "/flannel2"));
        assert_eq!(second.public_ip, Some(Ipv4Addr::new(203, 0, 113, 7)));
        assert!(!second.ip_masq);
    }

    #[test]
    fn the_sample_says_the_defaults_it_shows() {
        const SAMPLE: &str = include_str!("../../../samples/agent.yaml");
        let short = AgentConfig::parse(SAMPLE).unwrap();
        let shown = ["# stateDir:", "# subnetFile:", "# ipMasq:", "# forwardRules:", "# leaseRenewMargin:"];
        let full = shown.iter().fold(SAMPLE.to_owned(), |text, key| text.replace(key, key.trim_start_matches("# ")));
        assert_ne!(full, SAMPLE);
        assert_eq!(AgentConfig::parse(&full).unwrap(), short);
    }

    #[test]
    fn the_article_is_read_with_both_stores() {
        let file = AgentConfig::parse(include_str!("../../../samples/article/agent.yaml")).unwrap();
        let etcd = AgentConfig::parse(include_str!("../../../samples/article/agent-etcd.yaml")).unwrap();
        assert_eq!((file.overlays.len(), etcd.overlays.len()), (2, 2));
        assert!(file.overlays.iter().all(|overlay| overlay.store.file.is_some()));
        assert!(etcd.overlays.iter().all(|overlay| overlay.store.etcd.is_some()));
    }

    #[test]
    fn unknown_keys_are_refused_with_the_one_that_was_meant() {
        let place = |edit: (&str, &str)| error(&TWO.replace(edit.0, edit.1));
        assert_eq!(
            place(("overlays:", "overlay:")),
            "the configuration has an unknown key `overlay` (did you mean `overlays`?)"
        );
        assert_eq!(place(("iface:", "ifcae:")), "overlay net2 has an unknown key `ifcae` (did you mean `iface`?)");
        assert_eq!(place(("ca:", "cafile:")), "overlay net2: store.etcd has an unknown key `cafile`");
        assert_eq!(place(("{file:", "{flie:")), "overlay net1: store has an unknown key `flie` (did you mean `file`?)");
    }

    #[test]
    fn contradictions_are_named() {
        let edit = |from: &str, to: &str| error(&TWO.replace(from, to));
        assert!(edit("name: net2", "name: net1").contains("the name is used twice"));
        assert!(edit("subnetFile: /run/flannel/flannel2.env", "").contains("used by another overlay too"));
        assert!(edit("      key: /etc/ssl/node-key.pem\n", "").contains("`cert` and `key` go together"));
        assert!(edit("ipMasq: false", "leaseRenewMargin: 1440").contains("1 to 1439"));
        assert!(edit("{file: /var/lib/plexus/leases/net1}", "{}").contains("exactly one of `file` and `etcd`"));
        assert!(edit("ipMasq: false", "mtu: 60").contains("118 to 65535"));
    }
}
