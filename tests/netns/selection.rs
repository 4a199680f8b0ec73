//! What a pod may ask for in its annotation: it is done, or refused by name before anything is touched.

use crate::stage::{MANIFESTS, Stage, bridge, conf, with};
use lab::Pod;
use lab::runtime::Verb;
use serde_json::{Value, json};

/// A configuration that is wrong, or asks for what nobody can do (CNI specification, section 5).
const INVALID: u64 = 7;

/// A bridge network that takes addresses and hardware addresses from outside.
fn obliging() -> Value {
    with(bridge("0.3.1", "obliging"), json!({"capabilities": {"ips": true, "mac": true}}))
}

/// An ADD that is refused has touched neither the node nor the sandbox.
#[track_caller]
fn refused(stage: &Stage, pod: &Pod, conf: &Value, words: &str) {
    let before = stage.snapshot();
    stage.call(Verb::Add, pod, conf).is_refused(INVALID, words);
    stage.is_as(&before);
    assert_eq!(stage.interfaces(pod), [""; 0]);
}

#[test]
fn the_short_form_takes_names_with_dots_namespaces_and_interface_names() {
    let stage = Stage::new("short");
    stage.network_in("others", "lan.7", &bridge("0.3.1", "lan"));
    let pod = stage.pod_with("web", "flannel.2@blue, others/lan.7");
    stage.add(&pod, &conf());
    assert_eq!(stage.interfaces(&pod), ["eth0", "blue", "net2"]);
    assert_eq!(stage.interface(&pod, "blue"), "10.5.22.2/24 mtu 1450");
    assert_eq!(stage.interface(&pod, "net2"), "10.77.0.2/24 mtu 1500");
    assert_eq!(stage.shown(&pod)["status"][2]["name"], "others/lan.7");
}

#[test]
fn the_json_form_takes_the_same() {
    let stage = Stage::new("json");
    stage.network_in("others", "lan.7", &bridge("0.3.1", "lan"));
    let networks = r#"[{"name": "flannel.2"}, {"name": "lan.7", "namespace": "others", "interface": "green"}]"#;
    let pod = stage.pod_with("web", networks);
    stage.add(&pod, &conf());
    assert_eq!(stage.interfaces(&pod), ["eth0", "net1", "green"]);
}

#[test]
fn one_network_may_be_attached_twice() {
    let stage = Stage::new("twice");
    let pod = stage.pod_with("web", "flannel.2, flannel.2");
    let before = stage.snapshot();
    stage.add(&pod, &conf());
    assert_eq!(stage.interface(&pod, "net1"), "10.5.22.2/24 mtu 1450");
    assert_eq!(stage.interface(&pod, "net2"), "10.5.22.3/24 mtu 1450");
    stage.del(&pod, &conf());
    stage.nothing_left(&before, &pod, &["10.5.22.2", "10.5.22.3"]);
}

#[test]
fn an_address_and_a_hardware_address_are_given_by_the_capability() {
    let stage = Stage::new("wishes");
    stage.network("lan", &obliging());
    let networks = r#"[{"name": "lan", "ips": ["10.77.0.50/24"], "mac": "02:11:22:33:44:55"}]"#;
    let pod = stage.pod_with("web", networks);
    let before = stage.snapshot();
    stage.add(&pod, &conf());
    assert_eq!(stage.interface(&pod, "net1"), "10.77.0.50/24 mtu 1500");
    assert_eq!(stage.mac(Some(&pod), "net1"), "02:11:22:33:44:55");
    assert!(stage.files("/var/lib/cni/networks/obliging").contains(&"10.77.0.50".to_owned()));

    let rival = stage.pod_with("rival", networks);
    stage.call(Verb::Add, &rival, &conf()).is_refused(INVALID, "10.77.0.50 is taken");
    assert_eq!(stage.interfaces(&rival), [""; 0]);
    stage.node.remove_sandbox(&rival).unwrap();

    stage.del(&pod, &conf());
    stage.nothing_left(&before, &pod, &["10.77.0.50"]);
}

#[test]
fn what_no_plugin_of_the_network_can_do_is_refused_by_its_key() {
    let stage = Stage::new("incapable");
    for (wish, key) in [
        (r#""ips": ["10.5.22.9/24"]"#, "`ips`"),
        (r#""mac": "02:11:22:33:44:55""#, "`mac`"),
        (r#""portMappings": [{"hostPort": 8080, "containerPort": 80}]"#, "`portMappings`"),
        (r#""bandwidth": {"ingressRate": 1000000, "ingressBurst": 100000}"#, "`bandwidth`"),
    ] {
        let pod = stage.pod_with("web", &format!(r#"[{{"name": "flannel.2", {wish}}}]"#));
        refused(&stage, &pod, &conf(), key);
        stage.node.remove_sandbox(&pod).unwrap();
    }
}

#[test]
fn port_mappings_of_an_element_lead_to_its_own_interface() {
    let stage = Stage::new("ports");
    stage.network("web", &crate::stage::bridge_with_ports("1.0.0", "web"));
    let networks = r#"[{"name": "web", "portMappings": [{"hostPort": 8080, "containerPort": 80}]}]"#;
    let pod = stage.pod_with("web", networks);
    let before = stage.snapshot();
    stage.add(&pod, &conf());
    let ruleset = stage.ruleset();
    assert!(ruleset.contains("tcp . 8080") && ruleset.contains("10.77.0.2 . 80"), "{ruleset}");
    stage.del(&pod, &conf());
    stage.nothing_left(&before, &pod, &["10.77.0.2", "8080"]);
}

#[test]
fn the_runtimes_own_wishes_reach_the_default_network_only() {
    let stage = Stage::new("runtime-config");
    stage.network("web", &crate::stage::bridge_with_ports("1.0.0", "web"));
    let pod = stage.pod_with("web", "web");
    let ports = json!({"portMappings": [{"hostPort": 8081, "containerPort": 80, "protocol": "tcp"}]});
    let conf = with(conf(), json!({"capabilities": {"portMappings": true}, "runtimeConfig": ports}));
    stage.add(&pod, &conf);
    assert!(!stage.ruleset().contains("8081"));
}

#[test]
fn arguments_of_an_element_reach_an_executed_plugin() {
    let stage = Stage::new("arguments");
    stage.script(
        "stand-in",
        "#!/bin/sh\ncat >/run/$CNI_COMMAND.json\n[ $CNI_COMMAND != ADD ] || echo '{\"cniVersion\": \"1.0.0\"}'\n",
    );
    stage.network(
        "other",
        &json!({"cniVersion": "1.0.0", "name": "other", "type": "stand-in", "args": {"cni": {"a": 1, "b": 1}, "x": 2}}),
    );
    let pod = stage.pod_with("web", r#"[{"name": "other", "cni-args": {"b": 2, "c": {"d": 3}}}]"#);
    stage.add(&pod, &conf());
    let seen: Value = serde_json::from_str(&stage.node.read("/run/ADD.json").unwrap()).unwrap();
    assert_eq!(seen["args"], json!({"cni": {"a": 1, "b": 2, "c": {"d": 3}}, "x": 2}));
    assert_eq!((seen["name"].as_str(), seen["type"].as_str()), (Some("other"), Some("stand-in")));
    stage.del(&pod, &conf());
    let seen: Value = serde_json::from_str(&stage.node.read("/run/DEL.json").unwrap()).unwrap();
    assert_eq!(seen["args"]["cni"]["b"], 2, "DEL is called with what ADD was called with");
}

#[test]
fn the_default_route_moves_to_the_network_that_asks_for_it() {
    let stage = Stage::new("default-route");
    let pod = stage.pod_with("web", r#"[{"name": "flannel.2", "default-route": ["10.5.22.1"]}]"#);
    let result = stage.add(&pod, &conf());
    let routes = stage.routes(&pod);
    let defaults: Vec<_> = routes.iter().filter(|route| route.starts_with("default")).collect();
    assert_eq!(defaults, ["default via 10.5.22.1 dev net1"]);
    assert_eq!(result["routes"], json!([{"dst": "10.42.0.0/16"}]), "eth0 has lost it");
    assert_eq!(stage.shown(&pod)["status"][1]["default-route"], json!(["10.5.22.1"]));

    let lost = stage.pod_with("lost", r#"[{"name": "flannel.2", "default-route": ["192.0.2.99"]}]"#);
    refused(&stage, &lost, &conf(), "192.0.2.99");
}

#[test]
fn an_interface_is_given_once() {
    let stage = Stage::new("interfaces");
    for (networks, name) in
        [("flannel.2@x, flannel.2@x", "x"), ("flannel.2@eth0", "eth0"), ("flannel.2@net2, flannel.2", "net2")]
    {
        let pod = stage.pod_with("web", networks);
        refused(&stage, &pod, &conf(), &format!("{name:?}"));
        stage.node.remove_sandbox(&pod).unwrap();
    }
}

#[test]
fn a_network_that_does_not_exist_is_named() {
    let stage = Stage::new("unknown");
    let pod = stage.pod_with("web", "flannel.2, nowhere/none");
    refused(&stage, &pod, &conf(), "nowhere/none does not exist");
}

#[test]
fn every_fault_of_an_annotation_is_told_at_once() {
    let stage = Stage::new("faults");
    let pod = stage
        .pod_with("web", r#"[{"name": "Bad", "interface": "a-name-that-is-too-long"}, {"name": "b", "mac": "02:11"}]"#);
    let before = stage.snapshot();
    let (code, message) = stage.call(Verb::Add, &pod, &conf()).refusal();
    assert_eq!(code, INVALID);
    for fault in ["Bad", "a-name-that-is-too-long", "02:11"] {
        assert!(message.contains(fault), "{message}");
    }
    stage.is_as(&before);
}

#[test]
fn isolation_keeps_a_pod_to_its_own_and_the_global_namespaces() {
    let stage = Stage::new("isolation");
    for namespace in ["default", "shared", "others"] {
        stage.network_in(namespace, "lan", &bridge("0.3.1", namespace));
    }
    let conf = with(conf(), json!({"namespaceIsolation": true, "globalNamespaces": "default,shared"}));
    let pod = stage.pod_with("web", "lan, others/lan");
    refused(&stage, &pod, &conf, "namespaceIsolation");
    stage.node.remove_sandbox(&pod).unwrap();
    let pod = stage.pod_with("web", "lan, shared/lan");
    // the same bridge and store under two names would meet: each network has its own range of addresses
    stage.network_in("shared", "lan", &with(bridge("0.3.1", "shared"), json!({"bridge": "br-b"})));
    stage.add(&pod, &conf);
    assert_eq!(stage.interfaces(&pod), ["eth0", "net1", "net2"]);
}

#[test]
fn a_network_without_configuration_is_the_one_of_its_name_on_disk() {
    let stage = Stage::new("on-disk");
    stage.network("disk", &Value::Null);
    let pod = stage.pod_with("web", "disk");
    refused(&stage, &pod, &conf(), "default/disk");
    let list = json!({"cniVersion": "0.4.0", "name": "disk", "plugins": [bridge("0.4.0", "disk")]});
    stage.node.write("/etc/cni/multus/net.d/10-disk.conflist", &list.to_string()).unwrap();
    stage.add(&pod, &conf());
    assert_eq!(stage.interface(&pod, "net1"), "10.77.0.2/24 mtu 1500");
}

#[test]
fn a_network_may_be_a_list_of_plugins() {
    let stage = Stage::new("list");
    let plugins = json!([with(bridge("1.0.0", ""), json!({"isGateway": true})), {"type": "portmap"}]);
    stage.network("list", &json!({"cniVersion": "1.0.0", "name": "list", "plugins": plugins}));
    let pod = stage.pod_with("web", "list");
    let before = stage.snapshot();
    stage.add(&pod, &conf());
    assert_eq!(stage.interface(&pod, "net1"), "10.77.0.2/24 mtu 1500");
    stage.del(&pod, &conf());
    stage.nothing_left(&before, &pod, &["10.77.0.2"]);
}

#[test]
fn a_network_without_a_name_has_its_definitions() {
    let stage = Stage::new("nameless");
    let pod = stage.pod("overlay2pod");
    stage.add(&pod, &conf());
    assert!(stage.files("/var/lib/cni/networks/flannel.2").contains(&"10.5.22.2".to_owned()));
    assert_eq!(stage.files("/var/lib/cni/flannel2"), [format!("{}:net1:flannel.2", pod.container)]);
}

#[test]
fn annotations_sent_by_the_runtime_need_no_other_source_of_pods() {
    let stage = Stage::new("annotations");
    stage.node.run(["rm", &format!("{MANIFESTS}/overlay2pod.yaml")]).unwrap();
    let pod = stage.pod("overlay2pod");
    let key = "io.kubernetes.cri.pod-annotations";
    let annotations = json!({key: {"k8s.v1.cni.cncf.io/networks": "flannel.2"}});
    let conf = with(conf(), json!({"capabilities": {key: true}, "runtimeConfig": annotations}));
    stage.add(&pod, &conf);
    assert_eq!(stage.interfaces(&pod), ["eth0", "net1"]);
}
