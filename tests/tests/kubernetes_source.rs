//! Pods and NADs from an API server, against one that stands in: what is asked, over how many connections, and what
//! becomes of every answer it can give.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that cannot go on is a failed test"
)]

use plexus::source::kubernetes::{Access, Kubernetes};
use plexus::source::{PodKey, Source, SourceError};
use plexus_tests::fake_api::{Certificate, FakeApi};
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// A stand-in with the article's pod and NAD, a kubeconfig for it, and the directory of both.
struct Cluster {
    api: FakeApi,
    directory: TempDir,
}

impl Cluster {
    fn new(tls: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certificate = tls.then(|| Certificate::make(directory.path()).unwrap());
        let api = FakeApi::start(certificate.as_ref()).unwrap();
        api.put(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "overlay2pod", "namespace": "default", "uid": "u1",
                "annotations": {"k8s.v1.cni.cncf.io/networks": "flannel.2"}},
            "spec": {"nodeName": "node1", "hostNetwork": false, "containers": [{"name": "c", "image": "i"}]}}));
        api.put(json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": "flannel.2", "namespace": "default",
                "annotations": {"k8s.v1.cni.cncf.io/resourceName": "example.com/nic"}},
            "spec": {"config": "{\"type\":\"flannel\"}"}}));
        let cluster = Self { api, directory };
        cluster.write_kubeconfig(&cluster.api.kubeconfig());
        cluster
    }

    fn write_kubeconfig(&self, text: &str) {
        std::fs::write(self.directory.path().join("kubeconfig"), text).unwrap();
    }

    fn source(&self) -> Kubernetes {
        self.source_within(PATIENCE)
    }

    fn source_within(&self, deadline: Duration) -> Kubernetes {
        Kubernetes::new(Access::Kubeconfig(self.directory.path().join("kubeconfig")), deadline)
    }

    fn status(&self) -> Option<Value> {
        let pod = self.api.get("pods", "default", "overlay2pod").unwrap();
        pod["metadata"]["annotations"].get(STATUS).cloned()
    }
}

fn key(uid: Option<&str>) -> PodKey {
    PodKey { namespace: "default".to_owned(), name: "overlay2pod".to_owned(), uid: uid.map(str::to_owned) }
}

fn refusal(message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message})
}

#[test]
fn an_add_makes_three_requests_over_one_connection() {
    for tls in [false, true] {
        let cluster = Cluster::new(tls);
        let source = cluster.source();
        assert_eq!(cluster.api.take_seen().connections, 0, "nobody is connected to before the first question");
        let pod = source.pod(&key(Some("u1"))).unwrap().unwrap();
        assert_eq!(
            (pod.uid.as_deref(), pod.annotations["k8s.v1.cni.cncf.io/networks"].as_str()),
            (Some("u1"), "flannel.2")
        );
        let nad = source.nad("default", "flannel.2").unwrap().unwrap();
        assert_eq!((nad.config.as_str(), nad.resource_name()), ("{\"type\":\"flannel\"}", Some("example.com/nic")));
        source.publish(&key(Some("u1")), "[{}]").unwrap();
        let seen = cluster.api.take_seen();
        assert_eq!(
            seen.requests,
            [
                "GET /api/v1/namespaces/default/pods/overlay2pod",
                "GET /apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions/flannel.2",
                "PATCH /api/v1/namespaces/default/pods/overlay2pod/status",
            ]
        );
        assert_eq!(seen.connections, 1, "tls: {tls}");
        assert_eq!(cluster.status(), Some("[{}]".into()));
        let pod = cluster.api.get("pods", "default", "overlay2pod").unwrap();
        assert_eq!(
            pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"], "flannel.2",
            "the rest is left alone"
        );
    }
}

#[test]
fn what_is_not_there_is_no_error() {
    let cluster = Cluster::new(false);
    let source = cluster.source();
    let nobody = PodKey { name: "nobody".to_owned(), ..key(None) };
    assert_eq!(source.pod(&nobody).unwrap(), None);
    assert_eq!(source.nad("default", "none").unwrap(), None);
    assert!(source.is_authoritative());
    assert!(matches!(source.publish(&nobody, "[]"), Err(SourceError::PodGone { .. })));
}

#[test]
fn a_pod_that_was_replaced_keeps_its_own_status() {
    let cluster = Cluster::new(false);
    let error = cluster.source().publish(&key(Some("u0")), "[]").unwrap_err();
    assert!(matches!(&error, SourceError::PodGone { message, .. } if message.contains("u1")), "{error}");
    assert!(!error.is_retriable());
    assert_eq!(cluster.status(), None);
}

#[test]
fn the_uid_that_counts_is_the_one_the_api_server_knows() {
    let cluster = Cluster::new(false);
    let source = cluster.source();
    let runtime_knows_a_static_pod_by_its_hash = key(Some("hash"));
    assert!(source.pod(&runtime_knows_a_static_pod_by_its_hash).unwrap().is_some());
    source.publish(&runtime_knows_a_static_pod_by_its_hash, "[]").unwrap();
    assert_eq!(cluster.status(), Some("[]".into()));
}

#[test]
fn every_refusal_says_what_can_be_done_about_it() {
    let cluster = Cluster::new(false);
    for (status, retriable, words) in [
        (401, false, "kubeconfig"),
        (403, false, "pods is forbidden"),
        (422, false, "refuses with 422: pods is forbidden"),
        (429, true, "answers 429"),
        (500, true, "answers 500"),
        (503, true, "answers 503: pods is forbidden"),
    ] {
        cluster.api.refuse_next(status, &refusal("pods is forbidden"));
        let error = cluster.source().pod(&key(None)).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.is_retriable(), retriable, "{text}");
        assert!(text.contains(words) && text.contains("pod default/overlay2pod"), "{text}");
        assert!(!text.contains("token"), "{text}");
        assert_eq!(cni::Error::from(error).code == 11, retriable);
    }
}

#[test]
fn a_server_that_answers_too_late_is_asked_again_later() {
    let cluster = Cluster::new(false);
    cluster.api.set_delay(PATIENCE);
    let error = cluster.source_within(Duration::from_millis(50)).pod(&key(None)).unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("within 50 ms"), "{error}");
}

#[test]
fn a_server_nobody_listens_for_is_asked_again_later() {
    let cluster = Cluster::new(false);
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    cluster.write_kubeconfig(&cluster.api.kubeconfig().replace(&cluster.api.url(), &format!("http://{port}")));
    let error = cluster.source().pod(&key(None)).unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("refused"), "{error}");
}

#[test]
fn a_certificate_nobody_vouches_for_is_refused() {
    let (cluster, stranger) = (Cluster::new(true), Cluster::new(true));
    cluster.write_kubeconfig(&cluster.api.kubeconfig().replace(&cluster.api.url(), &stranger.api.url()));
    let error = cluster.source().pod(&key(None)).unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    assert!(stranger.api.take_seen().requests.is_empty());
}

#[test]
fn an_answer_that_is_no_pod_is_an_error() {
    let cluster = Cluster::new(false);
    cluster.api.refuse_next(200, &json!([1, 2]));
    let error = cluster.source().pod(&key(None)).unwrap_err();
    assert!(matches!(error, SourceError::Malformed { .. }), "{error}");
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_named_and_not_quoted() {
    let cluster = Cluster::new(false);
    for (text, words) in [
        ("a: [", "no kubeconfig: line 1"),
        ("users: {token: top-secret}", "no kubeconfig"),
        ("{}", "current context"),
        (&cluster.api.kubeconfig().replace("cluster: {", "cluster: {proxy-url: \"http://p\", "), "proxy-url"),
        (
            &cluster.api.kubeconfig().replace("token: fake", "tokenFile: /nonexistent/top-secret"),
            "token file /nonexistent",
        ),
        (
            &cluster
                .api
                .kubeconfig()
                .replace("token: fake", "client-certificate-data: dG9wLXNlY3JldA==, client-key-data: dG9wLXNlY3JldA=="),
            "certificates",
        ),
    ] {
        cluster.write_kubeconfig(text);
        let error = cluster.source().pod(&key(None)).unwrap_err();
        assert!(!error.is_retriable());
        let error = error.to_string();
        assert!(error.contains(words) && error.contains("kubeconfig /"), "{words}: {error}");
        assert!(
            !error.contains("dG9w") && !error.replace("/nonexistent/top-secret", "").contains("top-secret"),
            "{error}"
        );
    }
    let error = Kubernetes::new(Access::Kubeconfig("/nonexistent/kubeconfig".into()), PATIENCE).pod(&key(None));
    assert!(error.unwrap_err().to_string().contains("/nonexistent/kubeconfig cannot be used: No such file"));
}
