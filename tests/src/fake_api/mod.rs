//! A small stand-in for the Kubernetes API server: pods, network attachment definitions and events in memory.
//!
//! It lets tests and benchmarks run the whole path of a request without a cluster, and it counts: how many requests an ADD
//! makes, and over how many connections, is part of what is tested. It understands GET of one object or a collection, POST,
//! PUT, DELETE, and PATCH as a merge, each also on the `status` subresource; over HTTP/1.1, plain or with TLS.
//! There is no watch, no authorization, and no validation.

mod certificate;
mod http;
mod objects;

pub use certificate::Certificate;

use http::{Request, Response};
use objects::Objects;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A running server; it lives as long as the process.
pub struct FakeApi {
    address: SocketAddr,
    authority: Option<String>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    objects: Mutex<Objects>,
    seen: Mutex<Seen>,
    delay: Mutex<Duration>,
    prepared: Mutex<Option<Prepared>>,
}

/// An answer to the next request, or to the next one of a method.
struct Prepared {
    method: Option<&'static str>,
    response: Response,
}

/// What the server was asked since the last look.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `METHOD path` of each request, in order.
    pub requests: Vec<String>,
    /// Connections accepted.
    pub connections: usize,
}

impl FakeApi {
    /// Start on a free port of the loopback of the calling thread's network namespace, with TLS if there is a certificate.
    ///
    /// # Errors
    /// No loopback to listen on, or a certificate that cannot be used.
    pub fn start(certificate: Option<&Certificate>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let tls = certificate.map(Certificate::server).transpose()?.map(Arc::new);
        let serving = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &serving, tls.as_ref()));
        Ok(Self { address, authority: certificate.map(|certificate| certificate.pem().to_owned()), shared })
    }

    /// Base URL.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.authority.is_some() { "https" } else { "http" }, self.address)
    }

    /// A kubeconfig that leads here.
    pub fn kubeconfig(&self) -> String {
        let authority = self
            .authority
            .as_deref()
            .map(certificate::base64)
            .map_or_else(String::new, |data| format!(", certificate-authority-data: {data}"));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: fake\n\
             clusters:\n- name: fake\n  cluster: {{server: \"{}\"{authority}}}\n\
             users:\n- name: fake\n  user: {{token: fake}}\n\
             contexts:\n- name: fake\n  context: {{cluster: fake, user: fake}}\n",
            self.url()
        )
    }

    /// Put an object there, by its own `kind`, namespace and name.
    pub fn put(&self, object: Value) {
        lock(&self.shared.objects).put(object);
    }

    /// The object as it is now; `collection` is the plural, such as `pods`.
    pub fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<Value> {
        lock(&self.shared.objects).get(collection, namespace, name)
    }

    /// Take an object away; true if it was there.
    pub fn remove(&self, collection: &str, namespace: &str, name: &str) -> bool {
        lock(&self.shared.objects).remove(collection, namespace, name)
    }

    /// What was asked since the last call of this function.
    pub fn take_seen(&self) -> Seen {
        std::mem::take(&mut *lock(&self.shared.seen))
    }

    /// Answer the next request with this, whatever it is.
    pub fn refuse_next(&self, status: u16, body: &Value) {
        *lock(&self.shared.prepared) = Some(Prepared { method: None, response: Response::json(status, body) });
    }

    /// Answer the next request of this method with this.
    pub fn refuse_next_of(&self, method: &'static str, status: u16, body: &Value) {
        *lock(&self.shared.prepared) = Some(Prepared { method: Some(method), response: Response::json(status, body) });
    }

    /// Answer everything this much later, as a server does that is not on the same machine.
    pub fn set_delay(&self, delay: Duration) {
        *lock(&self.shared.delay) = delay;
    }
}

/// A panic elsewhere does not make the data wrong: go on with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, tls: Option<&Arc<ServerConfig>>) {
    for stream in listener.incoming().flatten() {
        lock(&shared.seen).connections += 1;
        let (shared, tls) = (Arc::clone(shared), tls.cloned());
        // a connection that breaks is the client's business
        thread::spawn(move || drop(serve(stream, &shared, tls)));
    }
}

fn serve(stream: TcpStream, shared: &Shared, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => answer_all(stream, shared),
        Some(config) => {
            answer_all(StreamOwned::new(ServerConnection::new(config).map_err(io::Error::other)?, stream), shared)
        }
    }
}

fn answer_all(stream: impl Read + Write, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = Request::read(&mut stream)? {
        lock(&shared.seen).requests.push(format!("{} {}", request.method, request.path));
        thread::sleep(*lock(&shared.delay));
        let is_meant = |prepared: &mut Prepared| prepared.method.is_none_or(|method| method == request.method);
        let prepared = lock(&shared.prepared).take_if(is_meant).map(|prepared| prepared.response);
        let response = prepared.unwrap_or_else(|| answer(&request, &mut lock(&shared.objects)));
        stream.get_mut().write_all(&response.bytes())?;
        stream.get_mut().flush()?;
    }
    Ok(())
}

fn answer(request: &Request, objects: &mut Objects) -> Response {
    let Some(target) = objects::Target::of_path(&request.path) else {
        return Response::not_found(&request.path);
    };
    let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let found = match (request.method.as_str(), target.name.as_str()) {
        ("GET", "") => Some(objects.list(&target)),
        ("GET", name) => objects.get(&target.collection, &target.namespace, name),
        ("POST", _) => return Response::json(201, &objects.create(&target, body)),
        ("PUT", _) => objects.replace(&target, body),
        ("PATCH", _) => match objects.merge(&target, &body) {
            Ok(object) => object,
            Err(uid) => return Response::conflict(&uid),
        },
        ("DELETE", name) => objects
            .remove(&target.collection, &target.namespace, name)
            .then(|| serde_json::json!({"kind": "Status", "status": "Success"})),
        _ => None,
    };
    found.map_or_else(|| Response::not_found(&request.path), |object| Response::json(200, &object))
}

#[cfg(test)]
mod tests;
