//! A pod as a container runtime knows it: names, a sandbox, and what ADD has answered.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// A pod of a node.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid, as CNI_ARGS carries it.
    pub uid: String,
    /// The sandbox container's id, 64 hexadecimal digits.
    pub container: String,
    /// The interface the runtime asks for.
    pub ifname: String,
    /// What the runtime offers to plugins that declare the capability, by its name.
    pub runtime_config: Map<String, Value>,
    /// The result of the last ADD, which later calls carry as `prevResult`.
    pub result: Option<Value>,
    netns: PathBuf,
}

impl Pod {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        let random = || RandomState::new().hash_one(name);
        let container = format!("{:016x}{:016x}{:016x}{:016x}", random(), random(), random(), random());
        let uid = format!("{:08x}-0000-4000-8000-{:012x}", random() >> 32, random() >> 16);
        let netns = Path::new("/run/netns").join(format!("cni-{}", container.get(..16).unwrap_or(&container)));
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid,
            container,
            ifname: "eth0".to_owned(),
            runtime_config: Map::new(),
            result: None,
            netns,
        }
    }

    /// Where the node has the pod's network namespace.
    #[must_use]
    pub fn netns(&self) -> &Path {
        &self.netns
    }

    /// The pod as a manifest of the API, for a source of manifests: `annotations` are the only thing a plugin reads beside the names.
    #[must_use]
    pub fn manifest(&self, annotations: &Map<String, Value>) -> Value {
        serde_json::json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": self.namespace, "name": self.name, "uid": self.uid, "annotations": annotations},
        })
    }
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
