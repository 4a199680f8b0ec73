//! That the stand-in answers as an API server does, over TLS and to unwelcome clients.

use super::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::json;

fn pod() -> Value {
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "default", "annotations": {"x": "1"}}})
}

fn ask(stream: impl Read + Write, requests: &[(&str, &str, &str)]) -> Vec<Value> {
    let mut stream = BufReader::new(stream);
    let mut answers = Vec::new();
    for (method, path, body) in requests {
        let text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.get_mut().write_all(text.as_bytes()).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut stream, &mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        answers.push(serde_json::from_slice(&body).unwrap());
    }
    answers
}

#[test]
fn objects_are_read_patched_and_listed_over_one_counted_connection() {
    let api = FakeApi::start(None).unwrap();
    api.put(pod());
    let stream = TcpStream::connect(api.address).unwrap();
    let answers = ask(
        stream,
        &[
            ("GET", "/api/v1/namespaces/default/pods/a", ""),
            (
                "PATCH",
                "/api/v1/namespaces/default/pods/a/status?fieldManager=t",
                r#"{"metadata":{"annotations":{"y":"2"}}}"#,
            ),
            ("GET", "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions/none", ""),
            ("POST", "/api/v1/namespaces/default/events", r#"{"kind":"Event","metadata":{}}"#),
            ("GET", "/api/v1/pods", ""),
        ],
    );
    assert_eq!(answers[0]["metadata"]["annotations"], json!({"x": "1"}));
    assert_eq!(answers[1]["metadata"]["annotations"], json!({"x": "1", "y": "2"}));
    assert_eq!(answers[2]["code"], 404);
    assert_eq!(answers[3]["metadata"]["namespace"], "default");
    assert_eq!(answers[4]["items"].as_array().unwrap().len(), 1);
    let seen = api.take_seen();
    assert_eq!(seen.connections, 1);
    assert_eq!(seen.requests[1], "PATCH /api/v1/namespaces/default/pods/a/status");
    assert_eq!(api.take_seen(), Seen::default());
}

#[test]
fn a_client_that_trusts_the_certificate_is_served_over_tls() {
    let directory = std::env::temp_dir().join(format!("fake-api-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let certificate = Certificate::make(&directory).unwrap();
    let api = FakeApi::start(Some(&certificate)).unwrap();
    api.put(pod());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1").unwrap()).unwrap();
    let stream = StreamOwned::new(client, TcpStream::connect(api.address).unwrap());
    let answers = ask(stream, &[("GET", "/api/v1/namespaces/default/pods/a", "")]);
    assert_eq!(answers[0]["metadata"]["name"], "a");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn base64_pads_as_rfc_4648_says() {
    assert_eq!(["", "f", "fo", "foo", "foob"].map(certificate::base64), ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
}
