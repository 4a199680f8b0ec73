//! Where pods and NADs come from, behind one trait: an API server, the runtime, or a directory of manifests.
//!
//! The callers plan and wait for nothing else meanwhile, so the trait is blocking; whoever needs a connection hides it.

pub mod error;
pub mod kubernetes;
pub mod runtime;
pub mod standalone;

pub use error::SourceError;
pub use netattach_crd::{Nad, Pod};

use serde_json::{Map, Value};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Which pod: as the runtime names it in `CNI_ARGS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID, from runtimes that send it.
    pub uid: Option<String>,
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Where pods and NADs come from, and where their status goes.
pub trait Source: Send + Sync {
    /// The pod, if the source knows it.
    ///
    /// # Errors
    /// A source that cannot be asked, or whose answer makes no sense.
    fn pod(&self, key: &PodKey) -> Result<Option<Pod>, SourceError>;

    /// The NAD, if there is one.
    ///
    /// # Errors
    /// As for [`Source::pod`].
    fn nad(&self, namespace: &str, name: &str) -> Result<Option<Nad>, SourceError>;

    /// Makes the network-status of a pod known.
    ///
    /// # Errors
    /// A source that cannot be told, or that knows another pod by that name.
    fn publish(&self, pod: &PodKey, status: &str) -> Result<(), SourceError>;

    /// Whether a pod the source does not know does not exist; otherwise it is a pod nobody has written anything about.
    fn is_authoritative(&self) -> bool {
        false
    }
}

/// What decides about the source.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// A directory of manifests.
    pub manifest_dir: Option<PathBuf>,
    /// A kubeconfig.
    pub kubeconfig: Option<PathBuf>,
    /// How long one request to the API server may take; 5 s when absent.
    pub deadline: Option<Duration>,
    /// What the runtime sent as `runtimeConfig`.
    pub runtime_config: Map<String, Value>,
}

/// Opens the source the settings ask for. Nothing is read and nobody is connected to before the first question.
///
/// # Errors
/// Settings that contradict each other, or pod annotations that are no annotations.
pub fn open(settings: Settings) -> Result<Box<dyn Source>, SourceError> {
    let Settings { manifest_dir, kubeconfig, deadline, runtime_config } = settings;
    let deadline = deadline.unwrap_or(kubernetes::DEFAULT_DEADLINE);
    let objects: Box<dyn Source> = match (manifest_dir, kubeconfig) {
        (Some(_), Some(_)) => {
            let problem = "`manifestDir` and `kubeconfig` exclude each other: remove one of them";
            return Err(SourceError::Settings(problem.to_owned()));
        }
        (Some(directory), None) => Box::new(standalone::Standalone::new(directory)),
        (None, Some(path)) => Box::new(kubernetes::Kubernetes::new(kubernetes::Access::Kubeconfig(path), deadline)),
        (None, None) if kubernetes::in_cluster() => {
            Box::new(kubernetes::Kubernetes::new(kubernetes::Access::InCluster, deadline))
        }
        (None, None) => none(),
    };
    match runtime_config.get(runtime::CAPABILITY) {
        Some(annotations) => Ok(Box::new(runtime::Runtime::new(annotations, objects)?)),
        None => Ok(objects),
    }
}

/// A source that knows nothing: for a plugin that makes one network only.
pub fn none() -> Box<dyn Source> {
    Box::new(Nothing)
}

struct Nothing;

impl Source for Nothing {
    fn pod(&self, _key: &PodKey) -> Result<Option<Pod>, SourceError> {
        Ok(None)
    }

    fn nad(&self, _namespace: &str, _name: &str) -> Result<Option<Nad>, SourceError> {
        Ok(None)
    }

    fn publish(&self, _pod: &PodKey, _status: &str) -> Result<(), SourceError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn two_sources_of_objects_are_one_too_many() {
        let settings =
            Settings { manifest_dir: Some("/a".into()), kubeconfig: Some("/b".into()), ..Settings::default() };
        let error = open(settings).err().unwrap();
        assert!(!error.is_retriable());
        assert!(error.to_string().contains("exclude each other"));
    }

    #[test]
    fn annotations_from_the_runtime_need_no_source_of_objects() {
        let config = json!({"io.kubernetes.cri.pod-annotations": {"a": "b"}});
        let settings = Settings { runtime_config: config.as_object().unwrap().clone(), ..Settings::default() };
        let source = open(settings).unwrap();
        let key = PodKey { namespace: "n".to_owned(), name: "p".to_owned(), uid: None };
        assert_eq!(source.pod(&key).unwrap().unwrap().annotations["a"], "b");
        assert_eq!(source.nad("n", "x").unwrap(), None);
    }

    #[test]
    fn nothing_knows_nobody() {
        let key = PodKey { namespace: "n".to_owned(), name: "p".to_owned(), uid: None };
        assert_eq!(none().pod(&key).unwrap(), None);
        assert!(!none().is_authoritative());
    }
}
