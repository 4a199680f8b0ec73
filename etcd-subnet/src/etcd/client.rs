//! The connection: several endpoints, one in use, and a plain sentence when none answers.

use super::settings::EtcdSettings;
use crate::manager::Error;
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use std::error::Error as _;
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::sync::Mutex;

/// A server that has not answered after this long is taken for dead and the next one is asked.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection must be there after this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a silent connection is probed, and how long the answer may take: a watch on a dead server ends after both together.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// How long a listing may take: half a minute is a hundred thousand leases over a slow line.
pub(super) const LISTING_TIMEOUT: Duration = Duration::from_secs(30);

/// How etcd says that the user name or password is wrong, or that it wants one.
const REFUSALS: [&str; 2] = ["authentication failed", "user name is empty"];

/// Lists of certificate authorities on the usual systems, for https without a CA file.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// One of several etcd servers, changed when it fails.
#[derive(Debug)]
pub(super) struct Connection {
    endpoints: Vec<String>,
    settings: EtcdSettings,
    current: Mutex<Current>,
}

/// The server in use.
#[derive(Default)]
struct Current {
    index: usize,
    /// Counts the changes, so that of several callers that saw one failure only the first changes the server.
    generation: u64,
    client: Option<Client>,
    /// It has answered a request.
    answered: bool,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("index", &self.index).finish_non_exhaustive()
    }
}

/// A client and the server it talks to.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) endpoint: String,
    generation: u64,
    answered: bool,
}

/// A request that failed.
struct Failure {
    error: Error,
    /// Another server, or the same later, may answer.
    retry: bool,
}

impl Connection {
    pub(super) fn new(settings: EtcdSettings) -> Result<Self, Error> {
        let tls = settings.ca_file.is_some() || settings.cert_file.is_some() || settings.key_file.is_some();
        let endpoints: Vec<String> =
            settings.endpoints.iter().filter_map(|endpoint| with_scheme(endpoint.trim(), tls)).collect();
        let refuse = |reason: String| Error::Settings { store: format!("etcd {}", endpoints.join(",")), reason };
        if endpoints.is_empty() {
            return Err(refuse("no endpoint given".into()));
        }
        if endpoints.iter().any(|endpoint| endpoint.contains('@')) {
            let reason = "an endpoint holds a user name, which belongs into its own setting".into();
            return Err(Error::Settings { store: "etcd".into(), reason });
        }
        if let Some(plain) = endpoints.iter().find(|endpoint| tls && !endpoint.starts_with("https://")) {
            return Err(refuse(format!("TLS files are given but endpoint {plain} is not https")));
        }
        if settings.cert_file.is_some() != settings.key_file.is_some() {
            return Err(refuse("a client certificate needs both the certificate file and the key file".into()));
        }
        if settings.password.is_some() && settings.username.is_none() {
            return Err(refuse("a password is given without a user name".into()));
        }
        let connection = Self { endpoints, settings, current: Mutex::default() };
        // the files are read again for each connection, so that they can be renewed; here only to tell at once what is wrong with them
        for endpoint in &connection.endpoints {
            connection.options(endpoint)?;
        }
        Ok(connection)
    }

    /// Sends a request, to the next server if one does not answer. The request may thus have been carried out although its answer was lost:
    /// `request` must be one that can be repeated.
    pub(super) async fn call<T, F, Fut>(&self, request: F) -> Result<T, Error>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.call_within(REQUEST_TIMEOUT, request).await
    }

    /// [`Self::call`] for a request whose answer may be long.
    pub(super) async fn call_within<T, F, Fut>(&self, limit: Duration, request: F) -> Result<T, Error>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut left = self.endpoints.len();
        loop {
            let failure = match self.attempt(limit, &request).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if left == 0 || !failure.retry {
                return Err(failure.error);
            }
            left = left.saturating_sub(1);
        }
    }

    async fn attempt<T, F, Fut>(&self, limit: Duration, request: &F) -> Result<T, Failure>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let connected = self.connected().await?;
        let answer = tokio::time::timeout(limit, request(connected.client.clone())).await;
        let failure = match answer {
            Ok(Ok(answer)) => {
                if !connected.answered {
                    self.answered(&connected).await;
                }
                return Ok(answer);
            }
            Ok(Err(error)) if connected.answered => failure(&connected.endpoint, &error),
            Ok(Err(error)) => first_failure(&connected.endpoint, &error),
            Err(_) => silent(&connected.endpoint, limit),
        };
        if failure.retry {
            self.failed(&connected).await;
        }
        Err(failure)
    }

    /// The client in use, made if there is none. For requests that are answered for long, such as a watch; others use [`Self::call`].
    pub(super) async fn client(&self) -> Result<Connected, Error> {
        self.connected().await.map_err(|failure| failure.error)
    }

    async fn connected(&self) -> Result<Connected, Failure> {
        let mut current = self.current.lock().await;
        let endpoint = self.endpoints.get(current.index).cloned().unwrap_or_default();
        if let Some(client) = &current.client {
            let (generation, answered) = (current.generation, current.answered);
            return Ok(Connected { client: client.clone(), endpoint, generation, answered });
        }
        match self.connect(&endpoint).await {
            Ok(client) => {
                current.client = Some(client.clone());
                Ok(Connected { client, endpoint, generation: current.generation, answered: false })
            }
            Err(failure) => {
                self.advance(&mut current);
                Err(failure)
            }
        }
    }

    /// Gives up the server a request failed on and takes the next.
    pub(super) async fn failed(&self, connected: &Connected) {
        let mut current = self.current.lock().await;
        if current.generation == connected.generation {
            self.advance(&mut current);
        }
    }

    async fn answered(&self, connected: &Connected) {
        let mut current = self.current.lock().await;
        if current.generation == connected.generation {
            current.answered = true;
        }
    }

    fn advance(&self, current: &mut Current) {
        current.client = None;
        current.answered = false;
        current.generation = current.generation.wrapping_add(1);
        current.index = current.index.wrapping_add(1).checked_rem(self.endpoints.len()).unwrap_or(0);
    }

    async fn connect(&self, endpoint: &str) -> Result<Client, Failure> {
        let options = self.options(endpoint).map_err(|error| Failure { error, retry: false })?;
        let with_user = match (&self.settings.username, &self.settings.password) {
            (Some(name), password) => options.clone().with_user(name, password.clone().unwrap_or_default()),
            (None, _) => options.clone(),
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, Client::connect([endpoint], Some(with_user))).await {
            Ok(Ok(client)) => Ok(client),
            // a user name for a server that asks for none is no fault
            Ok(Err(error)) if error.to_string().contains("authentication is not enabled") => {
                Client::connect([endpoint], Some(options)).await.map_err(|error| failure(endpoint, &error))
            }
            Ok(Err(error)) => Err(failure(endpoint, &error)),
            Err(_) => Err(silent(endpoint, REQUEST_TIMEOUT)),
        }
    }

    fn options(&self, endpoint: &str) -> Result<ConnectOptions, Error> {
        let options = ConnectOptions::new()
            .with_require_leader(true)
            .with_auto_token_refresh(true)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1);
        if !endpoint.starts_with("https://") {
            return Ok(options);
        }
        let settings = &self.settings;
        let authorities = match &settings.ca_file {
            Some(path) => read_pem(path, "CERTIFICATE")?,
            None => system_roots(endpoint)?,
        };
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(authorities));
        if let (Some(certificate), Some(key)) = (&settings.cert_file, &settings.key_file) {
            tls =
                tls.identity(Identity::from_pem(read_pem(certificate, "CERTIFICATE")?, read_pem(key, "PRIVATE KEY")?));
        }
        Ok(options.with_tls(tls))
    }
}

/// An endpoint as a URL; none for an empty text.
fn with_scheme(endpoint: &str, tls: bool) -> Option<String> {
    match endpoint {
        "" => None,
        url if url.contains("://") => Some(url.trim_end_matches('/').to_owned()),
        host => Some(format!("{}://{host}", if tls { "https" } else { "http" })),
    }
}

fn system_roots(endpoint: &str) -> Result<Vec<u8>, Error> {
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let usual = SYSTEM_ROOTS.iter().map(|path| Path::new(path).to_path_buf());
    named.into_iter().chain(usual).find_map(|path| std::fs::read(path).ok()).ok_or_else(|| Error::Settings {
        store: format!("etcd {endpoint}"),
        reason: "https needs a CA file: none is given and the system has no list of authorities".into(),
    })
}

fn read_pem(path: &Path, section: &str) -> Result<Vec<u8>, Error> {
    let refuse = |reason: String| Error::Settings { store: format!("TLS file {}", path.display()), reason };
    let text = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
    let found = String::from_utf8_lossy(&text)
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{section}-----")));
    if found { Ok(text) } else { Err(refuse(format!("holds no PEM {section}"))) }
}

fn silent(endpoint: &str, limit: Duration) -> Failure {
    let reason = format!("no answer within {} s", limit.as_secs());
    Failure { error: Error::Store { store: format!("etcd {endpoint}"), reason }, retry: true }
}

/// What an error means and whether another attempt may do better.
fn failure(endpoint: &str, error: &etcd_client::Error) -> Failure {
    let store = format!("etcd {endpoint}");
    let reason = describe(error);
    let (settings, retry) = match error {
        etcd_client::Error::GRpcStatus(status) => match i32::from(status.code()) {
            // invalid argument, not found, …: the server understood and declined; asking another one is no use
            3 | 5 | 6 | 9 | 11 | 12 => (REFUSALS.iter().any(|text| reason.contains(text)), false),
            // permission denied
            7 => (true, false),
            _ => (false, true),
        },
        etcd_client::Error::InvalidArgs(_)
        | etcd_client::Error::InvalidUri(_)
        | etcd_client::Error::TransportError(_) => (true, false),
        _ => (false, true),
    };
    let error = if settings { Error::Settings { store, reason } } else { Error::Store { store, reason } };
    Failure { error, retry }
}

/// [`failure`] of a server that has not answered yet. A server that does not like our certificate lets the handshake of TLS 1.3 pass and then
/// hangs up, which reaches us as a closed connection more often than as its reason.
fn first_failure(endpoint: &str, error: &etcd_client::Error) -> Failure {
    let mut failure = failure(endpoint, error);
    if let Error::Store { reason, .. } = &mut failure.error
        && endpoint.starts_with("https://")
        && ["connection closed", "broken pipe", "reset by peer"].iter().any(|text| reason.contains(text))
    {
        reason.push_str(" (it hung up after the TLS handshake: does it want a client certificate it trusts?)");
    }
    failure
}

/// An error for [`Connection::client`]'s users.
pub(super) fn store_error(endpoint: &str, error: &etcd_client::Error) -> Error {
    failure(endpoint, error).error
}

/// An error with its causes, each said once, and what to do about the usual TLS ones.
fn describe(error: &etcd_client::Error) -> String {
    let (mut text, mut cause) = match error {
        etcd_client::Error::GRpcStatus(status) => (status.message().to_owned(), status.source()),
        etcd_client::Error::TransportError(transport) => (transport.to_string(), transport.source()),
        other => (other.to_string(), None),
    };
    while let Some(error) = cause {
        let more = error.to_string();
        if !more.is_empty() && !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    let hint = if ["UnknownIssuer", "BadSignature"].iter().any(|fault| text.contains(fault)) {
        " (the CA file does not vouch for this server)"
    } else if text.contains("NotValidForName") {
        " (its certificate is for another name or address)"
    } else if ["CertificateRequired", "BadCertificate", "UnknownCA", "AccessDenied"]
        .iter()
        .any(|alert| text.contains(alert))
    {
        " (the server wants a client certificate it trusts)"
    } else {
        ""
    };
    text + hint
}
