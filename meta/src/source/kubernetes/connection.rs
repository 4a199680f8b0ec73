//! One connection to an API server, and the few requests made over it, blocking.
//!
//! kube's own client puts tracing, retries without a deadline and a second set of timers around every request. A CNI
//! call lives for milliseconds: what is used of kube is the kubeconfig, TLS and the credentials, and each request has
//! one deadline, after which the runtime is told to try again later. No request is made that nobody asked for.

use super::super::SourceError;
use super::Access;
use http::{Method, Request, Response, StatusCode, header};
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::{Body, ConfigExt};
use serde::Deserialize;
use serde_json::Value;
use std::error::Error;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tower::{BoxError, ServiceBuilder};

const JSON: &str = "application/json";
/// Asks for an object's metadata alone, or for the whole object where the server cannot cut it out.
const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
/// How much of the API server's words an error carries, bytes.
const LONGEST_MESSAGE: usize = 400;

/// An API server's answer to a request it did not refuse.
pub(super) enum Answer {
    /// The object.
    Found(Vec<u8>),
    /// There is no such object.
    NotFound,
}

/// A client, and the runtime it lives in: on this thread, and only while a request is under way.
pub(super) struct Connection {
    runtime: Runtime,
    client: Client,
    server: String,
    access: Access,
    deadline: Duration,
}

impl Connection {
    /// Reads the credentials. Nothing is sent yet.
    pub(super) fn new(access: &Access, deadline: Duration) -> Result<Self, SourceError> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| access.unusable(format!("no event loop: {error}")))?;
        let mut config = runtime.block_on(access.config())?;
        if config.accept_invalid_certs || config.cluster_url.scheme_str() == Some("http") {
            // without a CA of its own the client loads all of the system's, 5 ms, even where nothing is verified
            config.root_cert.get_or_insert_default();
        }
        let server = config.cluster_url.to_string();
        let client = {
            let _inside = runtime.enter();
            client(&config).map_err(|error| access.refuse(&error))?
        };
        Ok(Self { runtime, client, server, access: access.clone(), deadline })
    }

    /// Gets an object.
    pub(super) fn get(&self, what: &str, path: String) -> Result<Answer, SourceError> {
        self.request(what, Request::get(path).header(header::ACCEPT, JSON), Body::empty())
    }

    /// Gets an object's metadata.
    pub(super) fn get_metadata(&self, what: &str, path: String) -> Result<Answer, SourceError> {
        self.request(what, Request::get(path).header(header::ACCEPT, METADATA), Body::empty())
    }

    /// Merges `patch` into an object.
    pub(super) fn patch(&self, what: &str, path: String, patch: &Value) -> Result<Answer, SourceError> {
        let request = Request::builder().method(Method::PATCH).uri(path);
        let request = request.header(header::ACCEPT, METADATA).header(header::CONTENT_TYPE, MERGE_PATCH);
        self.request(what, request, Body::from(patch.to_string().into_bytes()))
    }

    fn request(&self, what: &str, request: http::request::Builder, body: Body) -> Result<Answer, SourceError> {
        let request = request.body(body).map_err(|error| malformed(what, &error))?;
        let exchange = async {
            let (head, body) = self.client.send(request).await?.into_parts();
            Ok(Response::from_parts(head, body.collect_bytes().await?))
        };
        let answered = self.runtime.block_on(async { tokio::time::timeout(self.deadline, exchange).await });
        match answered {
            Ok(Ok(response)) => self.judge(what, response.status(), response.into_body().into()),
            Ok(Err(error)) => Err(self.failed(what, &error)),
            Err(_) => Err(SourceError::Timeout {
                what: what.to_owned(),
                server: self.server.clone(),
                milliseconds: self.deadline.as_millis(),
            }),
        }
    }

    /// Sorts an answer by what the caller can do about it.
    fn judge(&self, what: &str, status: StatusCode, body: Vec<u8>) -> Result<Answer, SourceError> {
        let (what, access) = (what.to_owned(), self.access.to_string());
        Err(match status {
            status if status.is_success() => return Ok(Answer::Found(body)),
            StatusCode::NOT_FOUND => return Ok(Answer::NotFound),
            StatusCode::UNAUTHORIZED => SourceError::Unauthorized { what, access },
            StatusCode::FORBIDDEN => SourceError::Forbidden { what, access, message: message(&body) },
            StatusCode::CONFLICT => SourceError::PodGone { what, message: message(&body) },
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                SourceError::Unavailable { what, status: status.as_u16(), message: message(&body) }
            }
            status => SourceError::Refused { what, status: status.as_u16(), message: message(&body) },
        })
    }

    fn failed(&self, what: &str, error: &kube::Error) -> SourceError {
        match error {
            kube::Error::Auth(_) => self.access.refuse(error),
            error => SourceError::Unreachable {
                what: what.to_owned(),
                server: self.server.clone(),
                problem: innermost(error).to_string(),
            },
        }
    }
}

/// kube's client around a single connection, which sends small packets at once.
fn client(config: &kube::Config) -> Result<Client, kube::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let tls = config.rustls_https_connector_with_connector(tcp)?;
    let http = HttpClient::builder(TokioExecutor::new()).pool_max_idle_per_host(1).pool_idle_timeout(None).build(tls);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

fn malformed(what: &str, error: &http::Error) -> SourceError {
    SourceError::Malformed { what: what.to_owned(), problem: error.to_string() }
}

/// The error at the bottom, which is the one that says what happened.
fn innermost(error: &kube::Error) -> &dyn Error {
    let mut error: &dyn Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

/// The API server's words about a refusal, to be appended to ours.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Status {
        message: String,
    }
    let message = serde_json::from_slice::<Status>(body).map(|status| status.message).unwrap_or_default();
    let end = message.char_indices().map(|(at, _)| at).find(|at| *at >= LONGEST_MESSAGE).unwrap_or(message.len());
    match message.get(..end) {
        Some(words) if !words.is_empty() => format!(": {words}"),
        _ => String::new(),
    }
}
