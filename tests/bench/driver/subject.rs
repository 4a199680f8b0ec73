//! Who is measured: how each attaches the pod of two networks, eth0 through kbr0 and net1 through kbr1.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where a node keeps what the subjects read.
pub(crate) const DIRECTORY: &str = "/run/bench";
/// The annotation that asks for the second network.
pub(crate) const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// The second network's name.
pub(crate) const SECOND: &str = "flannel.2";

/// One way to attach a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The netlink messages alone.
    Floor,
    /// Plexus; annotation from the runtime, definitions from a directory.
    Standalone,
    /// Plexus with an API server over plain HTTP.
    ApiHttp,
    /// Plexus with an API server over TLS.
    ApiTls,
    /// The reference bridge and host-local, called once for each network.
    Reference,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Floor, Self::Standalone, Self::ApiHttp, Self::ApiTls, Self::Reference];

    pub(crate) fn named(name: &str) -> Result<Self> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .with_context(|| format!("no subject {name}; there are: {}", known()))
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Standalone => "standalone",
            Self::ApiHttp => "api-http",
            Self::ApiTls => "api-tls",
            Self::Reference => "reference",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Floor => "floor (netlink only)",
            Self::Standalone => "Plexus, standalone",
            Self::ApiHttp => "Plexus, API server (http)",
            Self::ApiTls => "Plexus, API server (TLS)",
            Self::Reference => "bridge + host-local, twice",
        }
    }

    pub(crate) const fn asks_api(self) -> bool {
        matches!(self, Self::ApiHttp | Self::ApiTls)
    }
}

/// The programs of this run, and whether pods are masqueraded one by one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) kind: Kind,
    pub(crate) masquerade: bool,
    pub(crate) plexus: PathBuf,
    pub(crate) floor: PathBuf,
    pub(crate) reference: PathBuf,
}

/// One execution of a plugin; an ADD makes them in order, a DEL in reverse.
pub(crate) struct Step {
    pub(crate) program: PathBuf,
    pub(crate) interface: &'static str,
    pub(crate) conf: Value,
}

impl Setup {
    /// The executions that make up one ADD.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let step = |program: &Path, interface, conf| Step { program: program.to_owned(), interface, conf };
        match self.kind {
            Kind::Floor => {
                vec![step(&self.floor, "eth0", json!({"cniVersion": "0.3.1", "name": "floor", "type": "floor"}))]
            }
            Kind::Standalone => vec![step(&self.plexus, "eth0", self.standalone())],
            Kind::ApiHttp | Kind::ApiTls => {
                let mut conf = Self::meta();
                merge(&mut conf, json!({"kubeconfig": format!("{DIRECTORY}/kubeconfig")}));
                vec![step(&self.plexus, "eth0", conf)]
            }
            Kind::Reference => {
                let bridge = self.reference.join("bridge");
                vec![step(&bridge, "eth0", self.reference_conf(0)), step(&bridge, "net1", self.reference_conf(1))]
            }
        }
    }

    /// The second network's definition, as it is in a manifest or on the API server.
    pub(crate) fn definition() -> Value {
        let config = json!({
            "cniVersion": "0.3.1", "name": SECOND, "type": "flannel", "subnetFile": "/run/flannel/flannel2.env",
            "dataDir": "/var/lib/cni/flannel2", "delegate": {"bridge": "kbr1"}
        });
        json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": SECOND, "namespace": "default"}, "spec": {"config": config.to_string()}
        })
    }

    /// The pod, as it is on the API server.
    pub(crate) fn pod(name: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "uid": name, "annotations": {NETWORKS: SECOND}},
            "spec": {"nodeName": "bench", "containers": [{"name": "main", "image": "none"}]}
        })
    }

    fn meta() -> Value {
        json!({
            "cniVersion": "0.3.1", "name": "bench", "type": "plexus",
            "delegates": [{"cniVersion": "0.3.1", "name": "flannel.1", "type": "flannel",
                           "delegate": {"bridge": "kbr0", "isDefaultGateway": true, "forceAddress": true}}]
        })
    }

    fn standalone(&self) -> Value {
        const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";
        let mut conf = Self::meta();
        merge(
            &mut conf,
            json!({
                "manifestDir": format!("{DIRECTORY}/manifests"),
                "capabilities": {ANNOTATIONS: true},
                "runtimeConfig": {ANNOTATIONS: {NETWORKS: SECOND}}
            }),
        );
        conf
    }

    fn reference_conf(&self, network: u8) -> Value {
        let (bridge, subnet, target) = if network == 0 {
            ("kbr0", "10.42.0.0/20", "10.42.0.0/16")
        } else {
            ("kbr1", "10.5.0.0/20", "10.5.0.0/16")
        };
        json!({
            "cniVersion": "0.3.1", "name": format!("flannel.{}", network + 1), "type": "bridge", "bridge": bridge, "mtu": 1450,
            "isGateway": true, "isDefaultGateway": network == 0, "ipMasq": self.masquerade,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]], "routes": [{"dst": target}]}
        })
    }
}

fn merge(conf: &mut Value, more: Value) {
    if let (Some(conf), Value::Object(more)) = (conf.as_object_mut(), more) {
        conf.extend(more);
    }
}
