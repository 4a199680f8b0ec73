//! From a network's name to its plugins: a NAD, a file, a directory, or a configuration on the node's disk.

use super::source_error;
use crate::config::Config;
use crate::invocation::Invocation;
use crate::source::Source;
use cni::conf::directory;
use cni::{Error, NetworkList};
use std::path::Path;

/// Resolves names for the pods of one namespace.
pub(super) struct Resolver<'a> {
    config: &'a Config,
    source: &'a dyn Source,
    namespace: &'a str,
}

impl<'a> Resolver<'a> {
    /// A resolver for pods of `namespace`.
    pub(super) fn new(invocation: &'a Invocation, namespace: &'a str) -> Self {
        Self { config: &invocation.config, source: invocation.source.as_ref(), namespace }
    }

    /// A NAD that an annotation names.
    pub(super) fn nad(&self, namespace: &str, name: &str) -> Result<NetworkList, Error> {
        if !self.config.may_use(self.namespace, namespace) {
            return Err(Error::config(format!(
                "network {namespace}/{name}: namespaceIsolation lets pods of {:?} use NADs of their own namespace and of globalNamespaces only",
                self.namespace
            )));
        }
        self.find_nad(namespace, name)?.ok_or_else(|| {
            Error::config(format!(
                "NetworkAttachmentDefinition {namespace}/{name} does not exist: create it, or correct the annotation"
            ))
        })
    }

    /// What `clusterNetwork` or `defaultNetworks` names: with a slash a path, else a NAD of `multusNamespace`, else a
    /// configuration of that name in `confDir`.
    pub(super) fn by_name(&self, name: &str) -> Result<NetworkList, Error> {
        if name.contains('/') {
            return self.by_path(Path::new(name));
        }
        if let Some(list) = self.find_nad(&self.config.multus_namespace, name)? {
            return Ok(list);
        }
        directory::find(&self.config.conf_dir, name).map_err(|error| {
            error.context(format!("no NetworkAttachmentDefinition {}/{name} either", self.config.multus_namespace))
        })
    }

    fn by_path(&self, path: &Path) -> Result<NetworkList, Error> {
        if path.is_dir() {
            let first = directory::load(path)?.networks.into_iter().next();
            return first
                .map(|(_, list)| list)
                .ok_or_else(|| Error::config(format!("directory {} holds no network configuration", path.display())));
        }
        directory::load_file(path)
    }

    /// A NAD's plugins: its own configuration, or the one of its name on disk when it has none (multi-net-spec 3.4.1).
    fn find_nad(&self, namespace: &str, name: &str) -> Result<Option<NetworkList>, Error> {
        let Some(nad) = self.source.nad(namespace, name).map_err(source_error)? else { return Ok(None) };
        let text = nad.config.trim();
        if text.is_empty() {
            return directory::find(&self.config.conf_dir, name).map(Some).map_err(|error| {
                error.context(format!("NetworkAttachmentDefinition {namespace}/{name} has no config of its own"))
            });
        }
        NetworkList::from_slice(text.as_bytes(), Some(name))
            .map(Some)
            .map_err(|error| error.context(format!("NetworkAttachmentDefinition {namespace}/{name}")))
    }
}
