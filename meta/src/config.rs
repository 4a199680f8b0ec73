//! The plugin's configuration: Multus' keys, which arrive on stdin with every call, and a few of our own.
//!
//! Keys fold as Go's encoding/json does, so that configurations that work today go on working. A key that is known
//! but not served here is refused by name: nothing that is accepted is ignored.

use crate::log::{Level, LogOptions};
use cni::error::code;
use cni::{Error, NetworkList, Version};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// The configuration of the meta-plugin.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Config {
    /// The version in which the runtime wants to be answered.
    pub cni_version: String,
    /// The network's name, as the runtime knows it.
    pub name: String,
    /// The name under which the binary was called; `plexus`, `multus` or another link to it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Configurations and lists: the first is the cluster's default network, the others follow it on every pod.
    pub delegates: Vec<Map<String, Value>>,
    /// The cluster's default network by NAD name, conf name, file or directory, instead of `delegates`.
    pub cluster_network: String,
    /// Networks for every pod outside `systemNamespaces`, by the same kinds of name.
    pub default_networks: Vec<String>,
    /// Namespaces whose pods get no `defaultNetworks`.
    pub system_namespaces: Vec<String>,
    /// Where the NADs named by `clusterNetwork` and `defaultNetworks` live.
    pub multus_namespace: String,
    /// Path of a kubeconfig; without it there is no API server, unless the environment of a pod says where it is.
    pub kubeconfig: Option<PathBuf>,
    /// A directory of pod and NAD manifests: the standalone mode.
    pub manifest_dir: Option<PathBuf>,
    /// A pod may name NADs of its own namespace only, and of `globalNamespaces`.
    pub namespace_isolation: bool,
    /// Comma-separated; `default` while the key is absent.
    pub global_namespaces: Option<String>,
    /// Directory of configurations for NADs without one.
    pub conf_dir: PathBuf,
    /// State: the journal and the lock.
    pub cni_dir: PathBuf,
    /// Where foreign plugins are looked for first, before `CNI_PATH`.
    pub bin_dir: PathBuf,
    /// Types that are bundled but are to be executed from `binDir` all the same.
    pub executed_delegates: Vec<String>,
    /// Seconds after which an executed plugin is killed.
    pub delegate_timeout: u64,
    /// Seconds a request waits for another one of the same pod.
    pub lock_timeout: u64,
    /// Which `runtimeConfig` the runtime should send.
    pub capabilities: Map<String, Value>,
    /// What the runtime sent.
    pub runtime_config: Map<String, Value>,
    /// A file without which the default network is not ready.
    #[serde(rename = "readinessindicatorfile")]
    pub readiness_indicator_file: Option<PathBuf>,
    /// Log file; none is written without it.
    pub log_file: Option<PathBuf>,
    /// `panic`, `error`, `verbose` or `debug`.
    pub log_level: String,
    /// Whether messages also go to stderr.
    pub log_to_stderr: bool,
    /// Always so: kept for configurations that carry the key.
    pub retry_delete_on_error: bool,
    /// When the log file is moved aside, and what becomes of it.
    pub log_options: LogOptions,
    #[serde(rename = "auxiliaryCNIChainName")]
    auxiliary_cni_chain_name: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cni_version: String::new(),
            name: String::new(),
            kind: String::new(),
            delegates: Vec::new(),
            cluster_network: String::new(),
            default_networks: Vec::new(),
            system_namespaces: vec!["kube-system".to_owned()],
            multus_namespace: "kube-system".to_owned(),
            kubeconfig: None,
            manifest_dir: None,
            namespace_isolation: false,
            global_namespaces: None,
            conf_dir: "/etc/cni/multus/net.d".into(),
            cni_dir: "/var/lib/cni/plexus".into(),
            bin_dir: "/opt/cni/bin".into(),
            executed_delegates: Vec::new(),
            delegate_timeout: 30,
            lock_timeout: 30,
            capabilities: Map::new(),
            runtime_config: Map::new(),
            readiness_indicator_file: None,
            log_file: None,
            log_level: "panic".to_owned(),
            log_to_stderr: true,
            retry_delete_on_error: false,
            log_options: LogOptions::default(),
            auxiliary_cni_chain_name: String::new(),
        }
    }
}

impl Config {
    /// Reads the configuration on stdin.
    ///
    /// # Errors
    /// Code 6 for text that is no JSON object or a key of the wrong type, 7 for a bad name.
    pub fn parse(stdin: &[u8]) -> Result<Self, Error> {
        let value: Value =
            serde_json::from_slice(stdin).map_err(|error| Error::decode(format!("network configuration: {error}")))?;
        let config: Self = cni::gojson::from_value(value)?;
        cni::names::network(&config.name)?;
        Ok(config)
    }

    /// Whether pods can be attached with it. A DEL does not ask: it works from the journal, whatever has become of the
    /// configuration since.
    ///
    /// # Errors
    /// Code 7 for a configuration that cannot work, 2 for a key that is not served here.
    pub fn check(&self) -> Result<(), Error> {
        if self.delegates.is_empty() && self.cluster_network.is_empty() {
            return Err(Error::config(
                "neither `delegates` nor `clusterNetwork` is given: the pod would have no default network",
            ));
        }
        if !self.delegates.is_empty() && !self.cluster_network.is_empty() {
            return Err(Error::config("`delegates` and `clusterNetwork` exclude each other: remove one of them"));
        }
        for (key, given) in [
            ("auxiliaryCNIChainName", !self.auxiliary_cni_chain_name.is_empty()),
            ("logOptions.compress", self.log_options.compress),
        ] {
            if given {
                return Err(Error::new(
                    code::UNSUPPORTED_FIELD,
                    format!("`{key}` is not supported yet: remove it from the configuration"),
                ));
            }
        }
        if Level::parse(&self.log_level).is_none() {
            return Err(Error::config(format!(
                "logLevel {:?} is unknown: panic, error, verbose or debug",
                self.log_level
            )));
        }
        if let Some(nested) = self.delegates.iter().find(|delegate| self.is_ourselves(delegate)) {
            let name = cni::gojson::lookup(nested, "name").and_then(Value::as_str).unwrap_or_default();
            return Err(Error::config(format!(
                "delegate {name:?} is of type {:?}, which is this plugin itself",
                self.kind
            )));
        }
        Ok(())
    }

    fn is_ourselves(&self, delegate: &Map<String, Value>) -> bool {
        !self.kind.is_empty()
            && cni::gojson::lookup(delegate, "type").and_then(Value::as_str) == Some(self.kind.as_str())
    }

    /// The version in which the runtime wants to be answered.
    ///
    /// # Errors
    /// Code 1 for a version nobody knows.
    pub fn version(&self) -> Result<Version, Error> {
        if self.cni_version.is_empty() { Ok(Version::V0_1_0) } else { Version::parse(&self.cni_version)?.supported() }
    }

    /// The inline delegates as lists. What they leave out comes from the configuration around them: a delegate
    /// without `cniVersion` would otherwise be answered in the form of 2015, without interfaces.
    ///
    /// # Errors
    /// A delegate that is no valid configuration, by its position.
    pub fn inline_delegates(&self) -> Result<Vec<NetworkList>, Error> {
        let inherit = |delegate: &Map<String, Value>| {
            let mut delegate = delegate.clone();
            for (key, value) in [("name", &self.name), ("cniVersion", &self.cni_version)] {
                let given =
                    cni::gojson::lookup(&delegate, key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
                if !given && !value.is_empty() {
                    cni::gojson::remove(&mut delegate, key);
                    delegate.insert(key.to_owned(), Value::String(value.clone()));
                }
            }
            delegate
        };
        self.delegates
            .iter()
            .enumerate()
            .map(|(i, delegate)| {
                NetworkList::from_value(Value::Object(inherit(delegate)), None)
                    .map_err(|error| error.context(format!("delegates[{i}]")))
            })
            .collect()
    }

    /// Whether a pod of `namespace` may use a NAD of `target`.
    pub fn may_use(&self, namespace: &str, target: &str) -> bool {
        let globals = self.global_namespaces.as_deref().unwrap_or("default");
        !self.namespace_isolation || namespace == target || globals.split(',').any(|global| global.trim() == target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Error> {
        Config::parse(text.as_bytes())
    }

    #[test]
    fn defaults_are_those_of_multus_where_it_has_the_key() {
        let config = parse(r#"{"name":"n","type":"plexus","delegates":[{"type":"flannel"}]}"#).unwrap();
        assert_eq!(config.multus_namespace, "kube-system");
        assert_eq!(config.system_namespaces, ["kube-system"]);
        assert_eq!(config.conf_dir, PathBuf::from("/etc/cni/multus/net.d"));
        assert_eq!(config.bin_dir, PathBuf::from("/opt/cni/bin"));
        assert!(config.log_to_stderr);
    }

    #[test]
    fn a_delegate_inherits_name_and_version_it_leaves_out() {
        let config = parse(r#"{"cniVersion":"0.3.1","name":"n","type":"plexus","delegates":[{"type":"flannel"},{"type":"a","name":"own","cniVersion":"1.0.0"}]}"#).unwrap();
        let lists = config.inline_delegates().unwrap();
        assert_eq!((lists[0].name.as_str(), lists[0].cni_version), ("n", Version::V0_3_1));
        assert_eq!((lists[1].name.as_str(), lists[1].cni_version), ("own", Version::V1_0_0));
    }

    #[test]
    fn what_cannot_work_is_refused_by_key() {
        for (text, code, message) in [
            ("{", 6, "network configuration"),
            (r#"{"name":"n"}"#, 7, "neither `delegates` nor `clusterNetwork`"),
            (r#"{"name":"n","delegates":[{"type":"a"}],"clusterNetwork":"b"}"#, 7, "exclude each other"),
            (r#"{"name":"n","type":"plexus","delegates":[{"type":"plexus","name":"x"}]}"#, 7, "this plugin itself"),
            (r#"{"name":"n","delegates":[{"type":"a"}],"auxiliaryCNIChainName":"x"}"#, 2, "auxiliaryCNIChainName"),
            (r#"{"name":"a/b","delegates":[{"type":"a"}]}"#, 7, "a/b"),
        ] {
            let error = parse(text).and_then(|config| config.check()).unwrap_err();
            assert_eq!(error.code, code, "{text}: {error}");
            assert!(error.to_string().contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn keys_fold_as_in_go() {
        let config =
            parse(r#"{"NAME":"n","Delegates":[{"type":"a"}],"BINDIR":"/x","readinessIndicatorFile":"/y"}"#).unwrap();
        assert_eq!(config.bin_dir, PathBuf::from("/x"));
        assert_eq!(config.readiness_indicator_file, Some("/y".into()));
    }

    #[test]
    fn isolation_allows_the_own_and_the_global_namespaces() {
        let isolated = |globals: &str| {
            parse(&format!(r#"{{"name":"n","delegates":[{{"type":"a"}}],"namespaceIsolation":true{globals}}}"#))
                .unwrap()
        };
        assert!(isolated("").may_use("a", "a"));
        assert!(isolated("").may_use("a", "default"));
        assert!(!isolated("").may_use("a", "b"));
        let listed = isolated(r#","globalNamespaces":" b ,c""#);
        assert!(listed.may_use("a", "b") && listed.may_use("a", "c") && !listed.may_use("a", "default"));
    }
}
