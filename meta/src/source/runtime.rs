//! Pods as the runtime knows them. containerd sends a pod's annotations along with every call when the configuration
//! declares the capability `io.kubernetes.cri.pod-annotations`; then nobody has to be asked about the pod.

use super::{Nad, Pod, PodKey, Source, SourceError};
use serde_json::Value;
use std::collections::BTreeMap;

/// The capability, and so the key in `runtimeConfig`, by which the runtime sends a pod's annotations.
pub const CAPABILITY: &str = "io.kubernetes.cri.pod-annotations";

/// Annotations from the runtime; NADs, and the place for the status, from another source.
pub struct Runtime {
    annotations: BTreeMap<String, String>,
    objects: Box<dyn Source>,
}

impl Runtime {
    /// A source with what the runtime sent, and `objects` for everything else.
    ///
    /// # Errors
    /// A value that is not an object of strings.
    pub fn new(annotations: &Value, objects: Box<dyn Source>) -> Result<Self, SourceError> {
        let problem = |problem: &str| SourceError::Settings(format!("runtimeConfig.{CAPABILITY:?} {problem}"));
        let annotations = annotations.as_object().ok_or_else(|| problem("is not an object"))?;
        let entry = |(key, value): (&String, &Value)| {
            let text = value.as_str().ok_or_else(|| problem(&format!("holds {key:?}, which is not a string")))?;
            Ok((key.clone(), text.to_owned()))
        };
        Ok(Self { annotations: annotations.iter().map(entry).collect::<Result<_, _>>()?, objects })
    }
}

impl Source for Runtime {
    fn pod(&self, key: &PodKey) -> Result<Option<Pod>, SourceError> {
        Ok(Some(Pod {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: key.uid.clone(),
            annotations: self.annotations.clone(),
            ..Pod::default()
        }))
    }

    fn nad(&self, namespace: &str, name: &str) -> Result<Option<Nad>, SourceError> {
        self.objects.nad(namespace, name)
    }

    fn publish(&self, pod: &PodKey, status: &str) -> Result<(), SourceError> {
        let is_static = Pod { annotations: self.annotations.clone(), ..Pod::default() }.is_static();
        if !is_static {
            return self.objects.publish(pod, status);
        }
        // the runtime knows a static pod by the hash of its file, and the API server's copy of it has a UID of its own
        self.objects.publish(&PodKey { uid: None, ..pod.clone() }, status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::{Arc, Mutex};

    #[derive(Default, Clone)]
    struct Remembers(Arc<Mutex<Vec<PodKey>>>);

    impl Source for Remembers {
        fn pod(&self, _key: &PodKey) -> Result<Option<Pod>, SourceError> {
            panic!("the runtime has said everything about the pod")
        }

        fn nad(&self, namespace: &str, name: &str) -> Result<Option<Nad>, SourceError> {
            Ok(Some(Nad { namespace: namespace.to_owned(), name: name.to_owned(), ..Nad::default() }))
        }

        fn publish(&self, pod: &PodKey, _status: &str) -> Result<(), SourceError> {
            self.0.lock().unwrap().push(pod.clone());
            Ok(())
        }
    }

    fn key() -> PodKey {
        PodKey { namespace: "n".to_owned(), name: "p".to_owned(), uid: Some("u".to_owned()) }
    }

    #[test]
    fn the_pod_is_what_the_runtime_says_and_nobody_is_asked() {
        let source = Runtime::new(&json!({"k": "v"}), Box::new(Remembers::default())).unwrap();
        let pod = source.pod(&key()).unwrap().unwrap();
        assert_eq!((pod.name.as_str(), pod.uid.as_deref(), pod.annotations["k"].as_str()), ("p", Some("u"), "v"));
        assert_eq!(source.nad("n", "x").unwrap().unwrap().name, "x");
    }

    #[test]
    fn the_status_of_a_static_pod_is_published_under_its_name_alone() {
        let seen = Remembers::default();
        for (annotations, uid) in [(json!({}), Some("u")), (json!({"kubernetes.io/config.source": "file"}), None)] {
            Runtime::new(&annotations, Box::new(seen.clone())).unwrap().publish(&key(), "[]").unwrap();
            assert_eq!(seen.0.lock().unwrap().pop().unwrap().uid.as_deref(), uid);
        }
    }

    #[test]
    fn what_is_no_map_of_strings_is_refused() {
        for bad in [json!([]), json!("x"), json!({"k": 1})] {
            let error = Runtime::new(&bad, super::super::none()).err().unwrap();
            assert!(error.to_string().contains(CAPABILITY), "{error}");
        }
    }
}
