//! The way to an API server: a kubeconfig, or the service account of the pod we run in.
//!
//! What goes wrong here is told without the words of the parsers: they like to quote what they could not read, and what
//! they read here are tokens and keys.

use super::super::SourceError;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::fmt;
use std::path::PathBuf;

/// Where the address and the credentials come from.
#[derive(Debug, Clone)]
pub enum Access {
    /// A kubeconfig; its current context counts.
    Kubeconfig(PathBuf),
    /// The service account mounted into the pod we run in.
    InCluster,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeconfig(path) => write!(f, "kubeconfig {}", path.display()),
            Self::InCluster => f.write_str("the pod's service account"),
        }
    }
}

/// Whether the environment of a pod says where the API server is.
pub fn in_cluster() -> bool {
    ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"].iter().all(|name| std::env::var_os(name).is_some())
}

impl Access {
    /// Reads address, certificates and credentials.
    pub(super) async fn config(&self) -> Result<Config, SourceError> {
        match self {
            Self::InCluster => Config::incluster_env().map_err(|error| self.unusable(error.to_string())),
            Self::Kubeconfig(path) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(|error| self.unusable(describe(&error)))?;
                let proxied = |cluster: &kube::config::Cluster| cluster.proxy_url.is_some();
                if kubeconfig.clusters.iter().any(|named| named.cluster.as_ref().is_some_and(proxied)) {
                    return Err(self.unusable("proxy-url is not supported".to_owned()));
                }
                let options = KubeConfigOptions::default();
                let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                config.map_err(|error| self.unusable(describe(&error)))
            }
        }
    }

    /// An error about this access.
    pub(super) fn unusable(&self, problem: String) -> SourceError {
        SourceError::Access { access: self.to_string(), problem }
    }

    /// What is wrong with certificates or credentials, from errors that may quote them.
    pub(super) fn refuse(&self, error: &kube::Error) -> SourceError {
        use kube::client::AuthError;
        self.unusable(match error {
            kube::Error::Auth(AuthError::ReadTokenFile(cause, path)) => {
                format!("token file {}: {cause}", path.display())
            }
            kube::Error::Auth(AuthError::AuthExecRun { cmd, out }) => {
                format!("its command {cmd:?} fails with {}", out.status)
            }
            kube::Error::Auth(AuthError::AuthExecStart(cause)) => format!("its command cannot be started: {cause}"),
            kube::Error::Auth(_) => "it yields no credentials".to_owned(),
            kube::Error::RustlsTls(cause) => format!("its certificates or its key: {cause}"),
            kube::Error::InferKubeconfig(cause) => describe(cause),
            _ => "no client can be made from it".to_owned(),
        })
    }
}

/// A kubeconfig's fault without its text.
fn describe(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(cause, _) => cause.to_string(),
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => format!("it is no kubeconfig: line {}, column {}", at.line(), at.column()),
            None => "it is no kubeconfig".to_owned(),
        },
        other => other.to_string(),
    }
}
