//! Pods and NADs from an API server: one GET for the pod, one for each NAD, one PATCH for the status, all over one
//! connection. Only what is needed is decoded: a pod arrives as its metadata, which the API server cuts out itself.

mod access;
mod connection;

pub use access::{Access, in_cluster};

use super::{Nad, Pod, PodKey, Source, SourceError};
use connection::{Answer, Connection};
use netattach_crd::{nad, status::NETWORK_STATUS};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How long one request may take unless told otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// An API server. The connection is made with the first question and kept.
pub struct Kubernetes {
    access: Access,
    deadline: Duration,
    connection: OnceLock<Connection>,
    /// The pod last asked for and its UID at the API server: for a static pod another one than the runtime's.
    last_pod: Mutex<Option<(String, String)>>,
}

impl Kubernetes {
    /// The API server that `access` leads to; each request to it is given up after `deadline`.
    pub fn new(access: Access, deadline: Duration) -> Self {
        Self { access, deadline, connection: OnceLock::new(), last_pod: Mutex::new(None) }
    }

    fn connection(&self) -> Result<&Connection, SourceError> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection);
        }
        let made = Connection::new(&self.access, self.deadline)?;
        Ok(self.connection.get_or_init(|| made))
    }

    /// The UID that a status for `pod` must meet: what the API server called the pod when it was asked for, or else
    /// what the runtime calls it.
    fn uid_of(&self, pod: &PodKey) -> Option<String> {
        let last = self.last_pod.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref().filter(|(name, _)| *name == pod.to_string()).map(|(_, uid)| uid.clone());
        known.or_else(|| pod.uid.clone())
    }
}

impl Source for Kubernetes {
    fn pod(&self, key: &PodKey) -> Result<Option<Pod>, SourceError> {
        let what = format!("pod {key}");
        let path = format!("/api/v1/namespaces/{}/pods/{}", key.namespace, key.name);
        let Answer::Found(body) = self.connection()?.get_metadata(&what, path)? else { return Ok(None) };
        let object: Object<PodSpec> = decode(what, &body)?;
        let spec = object.spec.unwrap_or_default();
        if let Some(uid) = &object.metadata.uid {
            *self.last_pod.lock().unwrap_or_else(PoisonError::into_inner) = Some((key.to_string(), uid.clone()));
        }
        Ok(Some(Pod {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: object.metadata.uid,
            annotations: object.metadata.annotations.unwrap_or_default(),
            node_name: spec.node_name,
            host_network: spec.host_network,
        }))
    }

    fn nad(&self, namespace: &str, name: &str) -> Result<Option<Nad>, SourceError> {
        let what = format!("{} {namespace}/{name}", nad::KIND);
        let path = format!("/apis/{}/namespaces/{namespace}/{}/{name}", nad::API_VERSION, nad::PLURAL);
        let Answer::Found(body) = self.connection()?.get(&what, path)? else { return Ok(None) };
        let object: Object<NadSpec> = decode(what, &body)?;
        Ok(Some(Nad {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            annotations: object.metadata.annotations.unwrap_or_default(),
            config: object.spec.and_then(|spec| spec.config).unwrap_or_default(),
        }))
    }

    /// A merge patch of the one annotation. With the UID in it the API server refuses to patch another pod of the same
    /// name; without a resource version it never has to refuse because somebody else has written something else.
    fn publish(&self, pod: &PodKey, status: &str) -> Result<(), SourceError> {
        let what = format!("status of pod {pod}");
        let path = format!("/api/v1/namespaces/{}/pods/{}/status", pod.namespace, pod.name);
        let mut metadata = json!({ "annotations": { NETWORK_STATUS: status } });
        if let (Some(uid), Some(metadata)) = (self.uid_of(pod), metadata.as_object_mut()) {
            metadata.insert("uid".to_owned(), uid.into());
        }
        match self.connection()?.patch(&what, path, &json!({ "metadata": metadata }))? {
            Answer::Found(_) => Ok(()),
            Answer::NotFound => Err(SourceError::PodGone { what, message: String::new() }),
        }
    }

    fn is_authoritative(&self) -> bool {
        true
    }
}

/// What is read of an object.
#[derive(Deserialize)]
struct Object<S> {
    metadata: Metadata,
    #[serde(default = "Option::default")]
    spec: Option<S>,
}

#[derive(Deserialize)]
struct Metadata {
    uid: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

/// Only there when the API server does not cut out the metadata.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<String>,
    host_network: bool,
}

#[derive(Deserialize)]
struct NadSpec {
    config: Option<String>,
}

fn decode<'a, T: Deserialize<'a>>(what: String, body: &'a [u8]) -> Result<T, SourceError> {
    serde_json::from_slice(body).map_err(|error| SourceError::Malformed { what, problem: error.to_string() })
}
