//! What has to be known of a pod before its networks are made. A pod object holds a hundred times as much; none of the
//! rest is decoded.

use std::collections::BTreeMap;

/// Where a pod comes from when not from the API server: then it is a static pod (kubelet, pkg/kubelet/types).
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// The UID under which the kubelet runs a static pod; the API server's copy of it has another one.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// The facts about a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// Namespace; `default` when the manifest names none.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID; manifests have none before the API server has seen them.
    pub uid: Option<String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The node it is bound to.
    pub node_name: Option<String>,
    /// Whether it uses the node's own network, and so gets none.
    pub host_network: bool,
}

impl Pod {
    /// Whether the kubelet runs it from a file rather than from the API server.
    pub fn is_static(&self) -> bool {
        self.annotations.get(CONFIG_SOURCE).is_some_and(|source| source != "api")
    }

    /// Whether the sandbox the runtime knows by `uid` is this pod. A pod without UID is what its name says; a static
    /// pod's sandbox goes by the hash of its file.
    pub fn has_uid(&self, uid: &str) -> bool {
        match &self.uid {
            Some(own) => own == uid || self.annotations.get(CONFIG_HASH).is_some_and(|hash| hash == uid),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: Option<&str>, annotations: &[(&str, &str)]) -> Pod {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Pod { uid: uid.map(str::to_owned), annotations, ..Pod::default() }
    }

    #[test]
    fn a_pod_from_a_file_on_the_node_is_static() {
        assert!(pod(None, &[(CONFIG_SOURCE, "file")]).is_static());
        assert!(!pod(None, &[(CONFIG_SOURCE, "api")]).is_static());
        assert!(!pod(None, &[]).is_static());
    }

    #[test]
    fn a_pod_is_known_by_its_uid_or_the_hash_of_its_file() {
        assert!(pod(Some("u1"), &[]).has_uid("u1"));
        assert!(!pod(Some("u1"), &[]).has_uid("u2"));
        assert!(pod(None, &[]).has_uid("u2"));
        assert!(pod(Some("u1"), &[(CONFIG_HASH, "h")]).has_uid("h"));
    }
}
