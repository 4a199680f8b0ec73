//! Pods and networks from an API server: what is asked of it, and what becomes of a pod when it does not answer.

use crate::stage::{Stage, conf, with};
use lab::Pod;
use lab::runtime::Verb;
use net::ns::Namespace;
use plexus_tests::fake_api::{Certificate, FakeApi};
use serde_json::{Value, json};
use std::time::Duration;

const KUBECONFIG: &str = "/etc/cni/net.d/multus.d/multus.kubeconfig";
/// The runtime is to try again (CNI specification, section 5).
const LATER: u64 = 11;
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
const STATUS: &str = "/metadata/annotations/k8s.v1.cni.cncf.io~1network-status";

/// A server on the node's loopback that knows the article's network, and the node's way to it.
fn server(stage: &Stage) -> FakeApi {
    let certificate = Certificate::make(stage.lab.directory()).unwrap();
    let node = Namespace::open(format!("/proc/{}/ns/net", stage.node.space().pid())).unwrap();
    let api = node.run(|| FakeApi::start(Some(&certificate)).unwrap()).unwrap();
    stage.node.write(KUBECONFIG, &api.kubeconfig()).unwrap();
    let config = json!({
        "cniVersion": "0.3.0", "type": "flannel", "subnetFile": "/run/flannel/flannel2.env",
        "dataDir": "/var/lib/cni/flannel2", "delegate": {"bridge": "kbr1"},
    });
    api.put(json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "flannel.2", "namespace": "default"}, "spec": {"config": config.to_string()},
    }));
    api
}

/// The article's configuration as the article has it: with a kubeconfig.
fn with_server() -> Value {
    let mut conf = conf();
    conf.as_object_mut().unwrap().remove("manifestDir");
    with(conf, json!({"kubeconfig": KUBECONFIG}))
}

/// A pod on both networks that the server knows.
fn known(stage: &Stage, api: &FakeApi, name: &str) -> Pod {
    let pod = stage.pod(name);
    api.put(pod.manifest(json!({NETWORKS: "flannel.2"}).as_object().unwrap()));
    pod
}

/// A server that nobody is behind.
fn take_away(stage: &Stage, api: &FakeApi) {
    let port = api.url().rsplit(':').next().unwrap().to_owned();
    stage.node.write(KUBECONFIG, &api.kubeconfig().replace(&format!(":{port}\""), ":1\"")).unwrap();
}

#[test]
fn an_add_asks_for_the_pod_and_its_network_and_tells_the_status_over_one_connection() {
    let stage = Stage::new("api");
    let api = server(&stage);
    let pod = known(&stage, &api, "web");
    let before = stage.snapshot();
    stage.add(&pod, &with_server());
    let seen = api.take_seen();
    assert_eq!(
        seen.requests,
        [
            "GET /api/v1/namespaces/default/pods/web",
            "GET /apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions/flannel.2",
            "PATCH /api/v1/namespaces/default/pods/web/status",
        ]
    );
    assert_eq!(seen.connections, 1);
    assert_eq!(stage.interfaces(&pod), ["eth0", "net1"]);

    let object = api.get("pods", "default", "web").unwrap();
    let status = object.pointer(STATUS).and_then(Value::as_str).unwrap();
    assert!(status.starts_with("[{\n    \"name\": \"flannel.1\",\n    \"interface\": \"eth0\","), "{status}");
    assert_eq!(serde_json::from_str::<Value>(status).unwrap(), stage.shown(&pod)["status"]);
    assert_eq!(object["metadata"]["annotations"][NETWORKS], "flannel.2", "what others wrote stays");

    stage.del(&pod, &with_server());
    assert_eq!(api.take_seen().requests, [""; 0], "a DEL needs nobody");
    stage.nothing_left(&before, &pod, &["10.42.15.2", "10.5.22.2"]);
}

#[test]
fn a_pod_that_the_server_does_not_know_is_tried_again_later() {
    let stage = Stage::new("api-unknown");
    let _api = server(&stage);
    let pod = stage.pod("web");
    let before = stage.snapshot();
    stage.call(Verb::Add, &pod, &with_server()).is_refused(LATER, "default/web");
    stage.is_as(&before);
}

#[test]
fn a_network_that_the_server_does_not_know_is_refused() {
    let stage = Stage::new("api-network");
    let api = server(&stage);
    let pod = known(&stage, &api, "web");
    api.remove("network-attachment-definitions", "default", "flannel.2");
    let before = stage.snapshot();
    stage.call(Verb::Add, &pod, &with_server()).is_refused(7, "default/flannel.2");
    stage.is_as(&before);
}

#[test]
fn without_a_server_an_add_is_tried_again_later_and_a_del_succeeds() {
    let stage = Stage::new("api-down");
    let api = server(&stage);
    let pod = known(&stage, &api, "web");
    let before = stage.snapshot();
    stage.add(&pod, &with_server());
    take_away(&stage, &api);
    stage.del(&pod, &with_server());
    stage.nothing_left(&before, &pod, &["10.42.15.2", "10.5.22.2"]);

    let before = stage.snapshot();
    stage.call(Verb::Add, &pod, &with_server()).is_refused(LATER, "cannot reach the API server");
    stage.is_as(&before);
    stage.node.run(["rm", KUBECONFIG]).unwrap();
    stage.del(&pod, &with_server());
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let stage = Stage::new("api-silent");
    let api = server(&stage);
    let pod = known(&stage, &api, "web");
    api.set_delay(Duration::from_secs(3600));
    let before = stage.snapshot();
    stage.call(Verb::Add, &pod, &with_server()).is_refused(LATER, "did not answer within");
    stage.is_as(&before);
}

#[test]
fn a_pod_of_the_same_name_is_not_taken_for_the_one_the_runtime_means() {
    let stage = Stage::new("api-uid");
    let api = server(&stage);
    let mut pod = known(&stage, &api, "web");
    pod.uid = "another".into();
    let before = stage.snapshot();
    stage.call(Verb::Add, &pod, &with_server()).is_refused(LATER, "another");
    stage.is_as(&before);

    // the runtime knows a static pod by the hash of its file
    let annotations = json!({NETWORKS: "flannel.2", "kubernetes.io/config.source": "file"});
    let mut object = pod.manifest(annotations.as_object().unwrap());
    object["metadata"]["uid"] = json!("the server's");
    api.put(object);
    stage.add(&pod, &with_server());
    assert!(api.get("pods", "default", "web").unwrap().pointer(STATUS).is_some());
}

#[test]
fn a_status_that_cannot_be_told_takes_everything_back() {
    let stage = Stage::new("api-status");
    let api = server(&stage);
    let pod = known(&stage, &api, "web");
    let before = stage.snapshot();
    api.refuse_next_of("PATCH", 500, &json!({"kind": "Status", "code": 500, "message": "etcd is away"}));
    stage.call(Verb::Add, &pod, &with_server()).is_refused(LATER, "status of pod default/web");
    stage.nothing_left(&before, &pod, &["10.42.15.2", "10.5.22.2"]);
    assert_eq!(stage.files("/var/lib/cni/plexus/journal"), [""; 0]);
    stage.add(&pod, &with_server());
    assert_eq!(stage.interfaces(&pod), ["eth0", "net1"]);
}
