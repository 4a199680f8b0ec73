//! The objects of the fake server, by collection, namespace and name.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What a path names: `/api/v1/namespaces/default/pods/a/status` and its like.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) collection: String,
    pub(super) namespace: String,
    /// Empty for the collection as a whole.
    pub(super) name: String,
}

impl Target {
    /// `None` for a path outside `/api/v1` and `/apis/GROUP/VERSION`.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let words: Vec<&str> = path.trim_matches('/').split('/').collect();
        let rest = match words.as_slice() {
            ["api", "v1", rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (collection, name) = match rest {
            [collection] => (*collection, ""),
            [collection, name] | [collection, name, "status"] => (*collection, *name),
            _ => return None,
        };
        Some(Self { collection: collection.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

type Key = (String, String, String);

#[derive(Default)]
pub(super) struct Objects {
    objects: BTreeMap<Key, Value>,
    version: u64,
}

impl Objects {
    pub(super) fn put(&mut self, object: Value) {
        let field = |name: &str| {
            object.pointer(&format!("/metadata/{name}")).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        let key = (collection_of(kind), field("namespace"), field("name"));
        self.store(key, object);
    }

    pub(super) fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<Value> {
        self.objects.get(&key(collection, namespace, name)).cloned()
    }

    pub(super) fn list(&self, target: &Target) -> Value {
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|((collection, namespace, _), _)| {
                *collection == target.collection && (target.namespace.is_empty() || *namespace == target.namespace)
            })
            .map(|(_, object)| object)
            .collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": self.version.to_string()}, "items": items})
    }

    /// POST: an object without a name (an event) gets one.
    pub(super) fn create(&mut self, target: &Target, mut object: Value) -> Value {
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .map_or_else(|| format!("object-{}", self.version), str::to_owned);
        set(&mut object, "name", &name);
        set(&mut object, "namespace", &target.namespace);
        self.store(key(&target.collection, &target.namespace, &name), object)
    }

    /// PUT; `None` if there is no such object.
    pub(super) fn replace(&mut self, target: &Target, object: Value) -> Option<Value> {
        let key = target.key();
        self.objects.contains_key(&key).then(|| self.store(key, object))
    }

    /// PATCH as RFC 7396 merges; `None` if there is no such object.
    ///
    /// # Errors
    /// The object's own UID, when the patch holds another one: then it is meant for another object.
    pub(super) fn merge(&mut self, target: &Target, patch: &Value) -> Result<Option<Value>, String> {
        let key = target.key();
        let Some(mut object) = self.objects.get(&key).cloned() else { return Ok(None) };
        let uid = |value: &Value| value.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
        if let (Some(own), Some(meant)) = (uid(&object), uid(patch))
            && own != meant
        {
            return Err(own);
        }
        merge(&mut object, patch);
        Ok(Some(self.store(key, object)))
    }

    pub(super) fn remove(&mut self, collection: &str, namespace: &str, name: &str) -> bool {
        self.objects.remove(&key(collection, namespace, name)).is_some()
    }

    fn store(&mut self, key: Key, mut object: Value) -> Value {
        self.version += 1;
        set(&mut object, "resourceVersion", &self.version.to_string());
        self.objects.insert(key, object.clone());
        object
    }
}

impl Target {
    fn key(&self) -> Key {
        key(&self.collection, &self.namespace, &self.name)
    }
}

fn key(collection: &str, namespace: &str, name: &str) -> Key {
    (collection.to_owned(), namespace.to_owned(), name.to_owned())
}

fn collection_of(kind: &str) -> String {
    match kind {
        "NetworkAttachmentDefinition" => "network-attachment-definitions".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    }
}

fn set(object: &mut Value, field: &str, value: &str) {
    if let Some(object) = object.as_object_mut()
        && let Some(metadata) = object.entry("metadata").or_insert_with(|| Value::Object(Map::new())).as_object_mut()
    {
        metadata.insert(field.to_owned(), value.into());
    }
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Value::Object(fields) = object else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}
