//! The NetworkAttachmentDefinition: a network a pod can ask for by name. This crate knows its configuration as text
//! only; what is in it is read by whoever runs the plugins.

use crate::annotation::RESOURCE_NAME;
use std::collections::BTreeMap;

/// Group and version of the objects.
pub const API_VERSION: &str = "k8s.cni.cncf.io/v1";
/// Kind of the objects.
pub const KIND: &str = "NetworkAttachmentDefinition";
/// Name of the resource in paths of the API.
pub const PLURAL: &str = "network-attachment-definitions";

/// A NetworkAttachmentDefinition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nad {
    /// Namespace; `default` when the manifest names none.
    pub namespace: String,
    /// Name: a DNS-1123 subdomain.
    pub name: String,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// A CNI configuration or list as JSON text. Empty when the object has none: then a configuration of the same name
    /// on the node's disk is meant (multi-net-spec 3.4.1).
    pub config: String,
}

impl Nad {
    /// The resource whose devices the network is made with, when it needs one.
    pub fn resource_name(&self) -> Option<&str> {
        self.annotations.get(RESOURCE_NAME).map(|name| name.trim()).filter(|name| !name.is_empty())
    }
}
