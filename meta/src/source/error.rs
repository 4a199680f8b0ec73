//! What can go wrong between us and a source of pods and NADs, told apart by what the caller can do about it. No error
//! holds a token, a certificate or the text of a kubeconfig.

use cni::code;
use netattach_crd::manifest::ManifestError;
use std::path::PathBuf;
use thiserror::Error;

/// A question to a source that has no answer.
#[derive(Debug, Error)]
pub enum SourceError {
    /// Settings that contradict each other or are malformed.
    #[error("{0}")]
    Settings(String),
    /// A kubeconfig, or the credentials it names, cannot be used.
    #[error("{access} cannot be used: {problem}")]
    Access {
        /// The kubeconfig, or the service account.
        access: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The API server was not reached, or the connection broke.
    #[error("{what}: cannot reach the API server {server}: {problem}")]
    Unreachable {
        /// The request.
        what: String,
        /// Its address.
        server: String,
        /// What the connection said.
        problem: String,
    },
    /// The API server did not answer in time.
    #[error("{what}: the API server {server} did not answer within {milliseconds} ms")]
    Timeout {
        /// The request.
        what: String,
        /// Its address.
        server: String,
        /// The deadline.
        milliseconds: u128,
    },
    /// The API server is overloaded or broken for the moment (429 and 5xx).
    #[error("{what}: the API server answers {status}{message}")]
    Unavailable {
        /// The request.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The API server's words, after ": ", or nothing.
        message: String,
    },
    /// The API server does not know who is asking (401).
    #[error("{what}: the API server does not accept the credentials of {access}: they may have expired")]
    Unauthorized {
        /// The request.
        what: String,
        /// The kubeconfig, or the service account.
        access: String,
    },
    /// Who is asking may not (403).
    #[error("{what}: not allowed with the credentials of {access}{message}")]
    Forbidden {
        /// The request.
        what: String,
        /// The kubeconfig, or the service account.
        access: String,
        /// The API server's words, after ": ", or nothing.
        message: String,
    },
    /// The pod has gone, or another one has taken its name, since its networks were made.
    #[error("{what}: the pod is gone or has been replaced{message}")]
    PodGone {
        /// The request.
        what: String,
        /// The API server's words, after ": ", or nothing.
        message: String,
    },
    /// Any other refusal.
    #[error("{what}: the API server refuses with {status}{message}")]
    Refused {
        /// The request.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The API server's words, after ": ", or nothing.
        message: String,
    },
    /// An answer that is not what was asked for.
    #[error("{what}: the answer makes no sense: {problem}")]
    Malformed {
        /// The request.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A directory of manifests that cannot be read.
    #[error("manifest directory {}: {cause}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Nothing was found, and manifests that mention the name cannot be read.
    #[error("{what} was not found, but {}", list(broken))]
    Broken {
        /// What was looked for.
        what: String,
        /// The files, each with what is wrong.
        broken: Vec<(PathBuf, FileError)>,
    },
}

/// A manifest file that cannot be read.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file itself.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Its content.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl SourceError {
    /// Whether the same question may have an answer a little later.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::Unavailable { .. })
    }
}

impl From<SourceError> for cni::Error {
    fn from(error: SourceError) -> Self {
        let code = match &error {
            error if error.is_retriable() => code::TRY_AGAIN_LATER,
            SourceError::Settings(_) | SourceError::Broken { .. } => code::INVALID_CONFIG,
            SourceError::Directory { .. } => code::IO,
            SourceError::Malformed { .. } => code::DECODE,
            _ => code::INTERNAL,
        };
        Self::new(code, error.to_string())
    }
}

fn list(broken: &[(PathBuf, FileError)]) -> String {
    let one = |(path, error): &(PathBuf, FileError)| format!("{} cannot be read: {error}", path.display());
    broken.iter().map(one).collect::<Vec<_>>().join("; ")
}
