//! The article's pod: exactly the addresses, routes, MTU, result and status it must have, and nothing after DEL.

use crate::stage::{REFERENCE, Stage, conf, has_reference, with};
use lab::{Pod, command, inspect};
use serde_json::{Value, json};

const ROUTES: [&str; 5] = [
    "10.42.0.0/16 via 10.42.15.1 dev eth0",
    "10.42.15.0/24 dev eth0 proto kernel scope link src 10.42.15.2",
    "10.5.0.0/16 via 10.5.22.1 dev net1",
    "10.5.22.0/24 dev net1 proto kernel scope link src 10.5.22.2",
    "default via 10.42.15.1 dev eth0",
];
const ADDRESSES: [&str; 2] = ["10.42.15.2", "10.5.22.2"];

#[track_caller]
fn has_what_the_article_shows(stage: &Stage, pod: &Pod) {
    assert_eq!(stage.interface(pod, "eth0"), "10.42.15.2/24 mtu 1450");
    assert_eq!(stage.interface(pod, "net1"), "10.5.22.2/24 mtu 1450");
    assert_eq!(stage.routes(pod), ROUTES);
}

/// The result with what is drawn or derived taken from the kernel: only the shape and the numbers are given.
fn expected(stage: &Stage, pod: &Pod, result: &Value) -> Value {
    let veth = result["interfaces"][1]["name"].as_str().unwrap();
    json!({
        "cniVersion": "0.3.1",
        "interfaces": [
            {"name": "kbr0", "mac": stage.mac(None, "kbr0")},
            {"name": veth, "mac": stage.mac(None, veth)},
            {"name": "eth0", "mac": stage.mac(Some(pod), "eth0"), "sandbox": pod.netns()},
        ],
        "ips": [{"version": "4", "interface": 2, "address": "10.42.15.2/24", "gateway": "10.42.15.1"}],
        "routes": [{"dst": "10.42.0.0/16"}, {"dst": "0.0.0.0/0", "gw": "10.42.15.1"}],
        "dns": {},
    })
}

#[test]
fn the_pod_has_both_networks_and_nothing_is_left_after_it() {
    let stage = Stage::new("article");
    let pod = stage.pod("overlay2pod");
    let before = stage.snapshot();
    let result = stage.add(&pod, &conf());
    has_what_the_article_shows(&stage, &pod);
    assert_eq!(stage.interfaces(&pod), ["eth0", "net1"]);
    assert_eq!(result, expected(&stage, &pod, &result));
    assert!(inspect::ping_from(&stage.node, &pod, "net1", "10.5.22.1".parse().unwrap()));
    stage.del(&pod, &conf());
    stage.nothing_left(&before, &pod, &ADDRESSES);
}

#[test]
fn a_pod_without_the_annotation_has_the_first_network_only() {
    let stage = Stage::new("article-one");
    let pod = stage.pod("overlay1pod");
    stage.add(&pod, &conf());
    assert_eq!(stage.interfaces(&pod), ["eth0"]);
    assert_eq!(stage.routes(&pod), [ROUTES[0], ROUTES[1], ROUTES[4]]);
}

#[test]
fn the_result_is_in_the_version_the_runtime_asks_for() {
    let stage = Stage::new("article-versions");
    let pod = stage.pod("overlay2pod");
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "1.0.0", "1.1.0"] {
        let conf = with(conf(), json!({"cniVersion": version}));
        let result = stage.add(&pod, &conf);
        assert_eq!(result["cniVersion"], version);
        let (mtu, ip_version) = (&result["interfaces"][2]["mtu"], &result["ips"][0]["version"]);
        match version {
            "0.1.0" | "0.2.0" => assert!(result["ip4"]["ip"].as_str().unwrap().starts_with("10.42.15."), "{result}"),
            "0.3.0" | "0.4.0" => assert_eq!((ip_version, mtu), (&json!("4"), &Value::Null)),
            _ => assert_eq!((ip_version, mtu), (&Value::Null, &json!(1450))),
        }
        stage.del(&pod, &conf);
    }
}

#[test]
fn the_node_has_the_bridges_with_their_gateways_and_no_rule_of_the_plugin() {
    let stage = Stage::new("article-node");
    let pod = stage.pod("overlay2pod");
    stage.add(&pod, &conf());
    let links = inspect::links_of(&stage.node).unwrap();
    for (bridge, address) in [("kbr0", "10.42.15.1/24"), ("kbr1", "10.5.22.1/24")] {
        let link = links.iter().find(|link| link.ifname == bridge).unwrap();
        assert_eq!((link.kind().as_deref(), link.is_up(), link.mtu), (Some("bridge"), true, 1450));
        assert_eq!(link.ipv4(), [address.parse().unwrap()]);
        let ports: Vec<_> = links.iter().filter(|link| link.master.as_deref() == Some(bridge)).collect();
        assert_eq!(ports.len(), 1);
        assert!(ports[0].is_up() && ports[0].mtu == 1450);
    }
    assert_eq!(stage.ruleset(), "");
    assert_eq!(stage.node.run(["cat", "/proc/sys/net/ipv4/ip_forward"]).unwrap().trim(), "1");
}

#[test]
fn the_network_status_tells_both_networks_in_their_order() {
    let stage = Stage::new("article-status");
    let pod = stage.pod("overlay2pod");
    stage.add(&pod, &conf());
    let expected = json!([
        {
            "name": "flannel.1", "interface": "eth0", "ips": ["10.42.15.2"], "mac": stage.mac(Some(&pod), "eth0"),
            "mtu": 1450, "default": true, "dns": {}, "gateway": ["10.42.15.1"], "default-route": ["10.42.15.1"],
        },
        {
            "name": "default/flannel.2", "interface": "net1", "ips": ["10.5.22.2"],
            "mac": stage.mac(Some(&pod), "net1"), "mtu": 1450, "default": false, "dns": {},
        },
    ]);
    assert_eq!(stage.shown(&pod)["status"], expected);
    let text = command::run(&mut stage.program(&["show", "overlay2pod"])).unwrap();
    assert!(text.contains("network-status") && text.contains("default/flannel.2"), "{text}");
    let list = command::run(&mut stage.program(&["list"])).unwrap();
    assert_eq!(list.lines().filter(|line| line.contains("default/overlay2pod")).count(), 2, "{list}");
}

#[test]
fn a_second_network_never_takes_the_default_route_by_itself() {
    let stage = Stage::new("article-default");
    stage.network(
        "greedy",
        &json!({
            "cniVersion": "0.3.1", "type": "flannel", "subnetFile": "/run/flannel/flannel2.env",
            "delegate": {"bridge": "kbr1", "isDefaultGateway": true},
        }),
    );
    let pod = stage.pod_with("web", "greedy");
    stage.add(&pod, &conf());
    has_what_the_article_shows(&stage, &pod);
}

#[test]
fn with_the_reference_bridge_and_host_local_executed_it_is_the_same_pod() {
    if !has_reference("bridge") {
        return;
    }
    let stage = Stage::new("article-reference");
    let pod = stage.pod("overlay2pod");
    let before = stage.snapshot();
    for executed in [json!(["bridge"]), json!(["bridge", "host-local"]), json!(["host-local"])] {
        let conf = with(conf(), json!({"binDir": REFERENCE, "executedDelegates": executed}));
        stage.node.run(["rm", "-rf", "/var/lib/cni/networks"]).unwrap();
        let result = stage.add(&pod, &conf);
        has_what_the_article_shows(&stage, &pod);
        assert_eq!(result, self::expected(&stage, &pod, &result));
        stage.del(&pod, &conf);
        stage.nothing_left(&before, &pod, &ADDRESSES);
    }
}

#[test]
fn a_macvlan_network_stands_beside_the_overlays() {
    if !has_reference("macvlan") {
        return;
    }
    let stage = Stage::new("article-macvlan");
    stage.network(
        "lan",
        &json!({
            "cniVersion": "0.3.1", "type": "macvlan", "master": "eth0", "mode": "bridge",
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "198.51.100.0/24", "rangeStart": "198.51.100.40"}]]},
        }),
    );
    let pod = stage.pod_with("web", "flannel.2, lan");
    let before = stage.snapshot();
    let conf = with(conf(), json!({"binDir": REFERENCE}));
    let result = stage.add(&pod, &conf);
    assert_eq!(result, self::expected(&stage, &pod, &result));
    assert_eq!(stage.interface(&pod, "eth0"), "10.42.15.2/24 mtu 1450");
    assert_eq!(stage.interface(&pod, "net1"), "10.5.22.2/24 mtu 1450");
    assert_eq!(stage.interface(&pod, "net2"), "198.51.100.40/24 mtu 1500");
    let mut routes = ROUTES.to_vec();
    routes.insert(2, "198.51.100.0/24 dev net2 proto kernel scope link src 198.51.100.40");
    routes.sort_unstable();
    assert_eq!(stage.routes(&pod), routes);
    assert_eq!(stage.shown(&pod)["status"][2]["name"], "default/lan");
    stage.del(&pod, &conf);
    stage.nothing_left(&before, &pod, &["10.42.15.2", "10.5.22.2", "198.51.100.40"]);
}
