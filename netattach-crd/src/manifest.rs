//! Manifests: YAML or JSON text with any number of documents, as a user hands them to kubectl. Pods and NADs are taken
//! out of it, also from lists; objects of other kinds are skipped.

use crate::element::kind as json_kind;
use crate::{Nad, Pod};
use crate::{nad, name, yaml};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use thiserror::Error;

/// The namespace of objects whose manifest names none, as kubectl has it until told otherwise.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The pods and NADs of a text, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// Pods.
    pub pods: Vec<Pod>,
    /// NADs.
    pub nads: Vec<Nad>,
}

/// A text that is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// Text that is neither YAML nor JSON.
    #[error("document {document}: {problem}")]
    Syntax {
        /// Position of the document, from 1.
        document: usize,
        /// Line in the whole text, from 1.
        line: u64,
        /// The parser's words, with line and column.
        problem: String,
    },
    /// An object that is not what its kind should be.
    #[error("document {document}: {key}: {problem}")]
    Object {
        /// Position of the document, from 1.
        document: usize,
        /// The key, with its path.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl From<yaml::SyntaxError> for ManifestError {
    fn from(yaml::SyntaxError { document, line, problem }: yaml::SyntaxError) -> Self {
        Self::Syntax { document, line, problem }
    }
}

/// Reads all pods and NADs of a text.
///
/// # Errors
/// The first thing that is wrong, with the number of the document and the key.
pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
    let mut manifest = Manifest::default();
    for (position, document) in (1..).zip(yaml::documents(text)?) {
        let mut reader = Reader { document: position, path: String::new(), manifest: &mut manifest };
        reader.object(document)?;
    }
    Ok(manifest)
}

/// Takes one document apart, knowing where it is.
struct Reader<'a> {
    document: usize,
    path: String,
    manifest: &'a mut Manifest,
}

/// Name, namespace, UID and annotations: what is read of `metadata`.
type Metadata = (String, String, Option<String>, BTreeMap<String, String>);

impl Reader<'_> {
    fn error(&self, key: &str, problem: impl Into<String>) -> ManifestError {
        let key = format!("{}{key}", self.path);
        let key = if key.is_empty() { "the document".to_owned() } else { key };
        ManifestError::Object { document: self.document, key, problem: problem.into() }
    }

    fn mismatch(&self, key: &str, wanted: &str, value: &Value) -> ManifestError {
        self.error(key, format!("must be {wanted}, not {}", json_kind(value)))
    }

    fn object(&mut self, value: Value) -> Result<(), ManifestError> {
        let Value::Object(mut object) = value else { return Err(self.mismatch("", "an object", &value)) };
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        match (text("apiVersion"), text("kind")) {
            ("v1", "Pod") => {
                let pod = self.pod(&mut object)?;
                self.manifest.pods.push(pod);
            }
            (nad::API_VERSION, nad::KIND) => {
                let nad = self.nad(&mut object)?;
                self.manifest.nads.push(nad);
            }
            ("v1", "List" | "PodList") => self.list(&mut object, ("v1", "Pod"))?,
            (nad::API_VERSION, "NetworkAttachmentDefinitionList") => {
                self.list(&mut object, (nad::API_VERSION, nad::KIND))?
            }
            (version, nad::KIND) => {
                return Err(self.error(
                    "apiVersion",
                    format!("must be {:?} for a {}, not {version:?}", nad::API_VERSION, nad::KIND),
                ));
            }
            (_, "") => return Err(self.error("kind", "is missing: this is no Kubernetes object")),
            _ => (),
        }
        Ok(())
    }

    /// A list; its items may leave out what the list's kind says already, as API servers do.
    fn list(&mut self, object: &mut Map<String, Value>, (version, kind): (&str, &str)) -> Result<(), ManifestError> {
        let items = match object.get_mut("items").map(Value::take) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.mismatch("items", "a list", &other)),
        };
        let outer = self.path.clone();
        for (index, mut item) in items.into_iter().enumerate() {
            self.path = format!("{outer}items[{index}].");
            if let Some(object) = item.as_object_mut().filter(|object| !object.contains_key("kind")) {
                object.insert("apiVersion".to_owned(), version.into());
                object.insert("kind".to_owned(), kind.into());
            }
            self.object(item)?;
        }
        self.path = outer;
        Ok(())
    }

    fn pod(&self, object: &mut Map<String, Value>) -> Result<Pod, ManifestError> {
        let (name, namespace, uid, annotations) = self.metadata(object)?;
        let mut spec = self.section(object, "spec")?;
        let node_name = self.string(&mut spec, "spec.", "nodeName")?;
        let host_network = match spec.remove("hostNetwork") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(given)) => given,
            Some(other) => return Err(self.mismatch("spec.hostNetwork", "a boolean", &other)),
        };
        Ok(Pod { namespace, name, uid, annotations, node_name, host_network })
    }

    fn nad(&self, object: &mut Map<String, Value>) -> Result<Nad, ManifestError> {
        let (name, namespace, _, annotations) = self.metadata(object)?;
        let mut spec = self.section(object, "spec")?;
        let config = match spec.remove("config") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(config)) => config,
            Some(other) => {
                let hint =
                    format!("must be a string that holds JSON, not {}: write it as `config: |`", json_kind(&other));
                return Err(self.error("spec.config", hint));
            }
        };
        Ok(Nad { namespace, name, annotations, config })
    }

    fn metadata(&self, object: &mut Map<String, Value>) -> Result<Metadata, ManifestError> {
        let mut metadata = self.section(object, "metadata")?;
        let mut text = |key: &str| self.string(&mut metadata, "metadata.", key);
        let (found, namespace, uid) = (text("name")?, text("namespace")?, text("uid")?);
        let Some(found) = found else { return Err(self.error("metadata.name", "is missing")) };
        name::check(&found).map_err(|error| self.error("metadata.name", error.to_string()))?;
        let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        name::check_namespace(&namespace).map_err(|error| self.error("metadata.namespace", error.to_string()))?;
        Ok((found, namespace, uid, self.annotations(&mut metadata)?))
    }

    fn annotations(&self, metadata: &mut Map<String, Value>) -> Result<BTreeMap<String, String>, ManifestError> {
        let entry = |(key, value): (String, Value)| match value {
            Value::String(text) => Ok((key, text)),
            other => {
                let place = format!("metadata.annotations[{key:?}]");
                Err(self.error(&place, format!("must be a string, not {}: put it in quotes", json_kind(&other))))
            }
        };
        match metadata.remove("annotations") {
            None | Some(Value::Null) => Ok(BTreeMap::new()),
            Some(Value::Object(annotations)) => annotations.into_iter().map(entry).collect(),
            Some(other) => Err(self.mismatch("metadata.annotations", "an object", &other)),
        }
    }

    fn section(&self, object: &mut Map<String, Value>, key: &str) -> Result<Map<String, Value>, ManifestError> {
        match object.remove(key) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(section)) => Ok(section),
            Some(other) => Err(self.mismatch(key, "an object", &other)),
        }
    }

    fn string(&self, section: &mut Map<String, Value>, path: &str, key: &str) -> Result<Option<String>, ManifestError> {
        match section.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(other) => Err(self.mismatch(&format!("{path}{key}"), "a string", &other)),
        }
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
