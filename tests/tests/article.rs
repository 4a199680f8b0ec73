//! The article's pod, byte for byte: what flannel's plugin and the reference plugins made of it, measured, is what Plexus makes of it,
//! with its own delegates and with the reference ones executed. Needs root.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that cannot go on is a failed test")]

use std::path::Path;
use std::process::Command;

use lab::check::{self, Interface};
use lab::{Lab, Node, Pod, inspect, program};
use serde_json::{Value, json};

const CONF: &str = include_str!("../../samples/article/plexus.conf");
const DEFINITION: &str = include_str!("../../samples/article/nad-flannel.2.yaml");
const POD: &str = include_str!("../../samples/article/overlay2pod.yaml");
const REFERENCE: &str = "/usr/lib/cni";

#[test]
fn the_pod_has_exactly_the_interfaces_routes_and_result_of_the_peers() {
    let mut lab = new("bundled");
    let node = node(&mut lab);
    attach_and_detach(&lab, &node, &conf(&lab, &[DEFINITION, POD]));
}

#[test]
fn the_same_holds_when_the_reference_plugins_are_executed_instead_of_the_bundled_ones() {
    if !Path::new(REFERENCE).join("bridge").exists() {
        println!("SKIPPED: containernetworking-plugins is not installed");
        return;
    }
    let mut lab = new("reference");
    let node = node(&mut lab);
    let mut conf = conf(&lab, &[DEFINITION, POD]);
    conf["executedDelegates"] = json!(["bridge", "host-local"]);
    conf["binDir"] = json!(REFERENCE);
    attach_and_detach(&lab, &node, &conf);
}

/// Every byte that is not drawn at random: the result of the second network alone, as flannel's plugin prints it.
#[test]
fn called_by_its_own_name_the_flannel_plugin_answers_as_flannels_does() {
    let mut lab = new("flannel");
    let node = node(&mut lab);
    lab.install("flannel").unwrap();
    let conf = json!({
        "cniVersion": "0.3.0", "name": "flannel.2", "type": "flannel", "subnetFile": "/run/flannel/flannel2.env",
        "dataDir": "/var/lib/cni/flannel2", "delegate": {"bridge": "kbr1"},
    });
    let runtime = lab.runtime(&node, &conf).unwrap();
    let mut pod = node.pod("default", "overlay2pod").unwrap();
    pod.ifname = "net1".to_owned();
    let result = without_chance(runtime.add(&mut pod).unwrap().result);
    assert_eq!(
        result,
        json!({
            "cniVersion": "0.3.0",
            "interfaces": [{"name": "kbr1", "mac": "-"}, {"name": "veth-", "mac": "-"}, {"name": "net1", "mac": "-", "sandbox": "-"}],
            "ips": [{"version": "4", "interface": 2, "address": "10.5.7.2/24", "gateway": "10.5.7.1"}],
            "routes": [{"dst": "10.5.0.0/16"}],
            "dns": {},
        })
    );
    runtime.del(&mut pod).unwrap();
}

#[test]
fn a_macvlan_of_the_distribution_stands_beside_the_overlays() {
    let mut lab = new("macvlan");
    let node = node(&mut lab);
    if !Path::new(REFERENCE).join("macvlan").exists() {
        println!("SKIPPED: containernetworking-plugins is not installed");
        return;
    }
    if node.run(["ip", "link", "add", "probe", "link", "eth0", "type", "macvlan", "mode", "bridge"]).is_err() {
        println!("SKIPPED: this kernel has no macvlan");
        return;
    }
    node.run(["ip", "link", "del", "probe"]).unwrap();
    let definition = r#"{"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "lan"},
        "spec": {"config": "{\"cniVersion\": \"1.0.0\", \"type\": \"macvlan\", \"master\": \"eth0\",
            \"ipam\": {\"type\": \"host-local\", \"ranges\": [[{\"subnet\": \"10.77.0.0/24\"}]]}}"}}"#;
    let pod = POD.replace(r#"{ "name": "flannel.2" }"#, r#"{ "name": "flannel.2" }, { "name": "lan" }"#);
    let mut conf = conf(&lab, &[DEFINITION, &definition.replace('\n', ""), &pod]);
    conf["binDir"] = json!(REFERENCE);
    let runtime = lab.runtime(&node, &conf).unwrap();
    let mut pod = node.pod("default", "overlay2pod").unwrap();
    runtime.add(&mut pod).unwrap();
    assert_eq!(inspect::address_in(&node, &pod, "net1").unwrap().to_string(), "10.5.7.2/24");
    assert_eq!(inspect::address_in(&node, &pod, "net2").unwrap().to_string(), "10.77.0.2/24");
    runtime.del(&mut pod).unwrap();
    assert_eq!(inspect::links_in(&node, &pod).unwrap().len(), 1, "only lo is left");
}

#[test]
fn the_demonstration_succeeds_with_either_store() {
    let etcd = Command::new("etcd").arg("--version").output().is_ok();
    for store in ["file", "etcd"] {
        if store == "etcd" && !etcd {
            println!("SKIPPED: etcd is not installed");
            return;
        }
        let demo = Command::new(program::built().unwrap()).args(["lab", "demo", "--store", store]).output().unwrap();
        let shown = String::from_utf8_lossy(&demo.stdout);
        assert!(demo.status.success(), "{store}:\n{shown}{}", String::from_utf8_lossy(&demo.stderr));
        assert!(shown.contains("checks hold") && !shown.contains('\x1b'), "{shown}");
    }
}

fn new(name: &str) -> Lab {
    Lab::new(name, &program::built().unwrap()).unwrap()
}

/// A node whose agent has told the plugins its subnets.
fn node(lab: &mut Lab) -> Node {
    let node = lab.node("node").unwrap();
    for (file, network, subnet) in [("subnet.env", "10.42", "10.42.3.1/24"), ("flannel2.env", "10.5", "10.5.7.1/24")] {
        let text = format!(
            "FLANNEL_NETWORK={network}.0.0/16\nFLANNEL_SUBNET={subnet}\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
        );
        node.write(format!("/run/flannel/{file}"), &text).unwrap();
    }
    node
}

fn conf(lab: &Lab, manifests: &[&str]) -> Value {
    let directory = lab.directory().join("manifests");
    std::fs::create_dir_all(&directory).unwrap();
    for (number, text) in manifests.iter().enumerate() {
        std::fs::write(directory.join(format!("{number}.yaml")), text).unwrap();
    }
    lab::demo::standalone(serde_json::from_str(CONF).unwrap(), &directory.to_string_lossy())
}

fn attach_and_detach(lab: &Lab, node: &Node, conf: &Value) {
    let runtime = lab.runtime(node, conf).unwrap();
    let before = node.snapshot().unwrap();
    let mut pod = node.pod("default", "overlay2pod").unwrap();
    let result = without_chance(runtime.add(&mut pod).unwrap().result);
    assert_eq!(
        result,
        json!({
            "cniVersion": "0.3.1",
            "interfaces": [{"name": "kbr0", "mac": "-"}, {"name": "veth-", "mac": "-"}, {"name": "eth0", "mac": "-", "sandbox": "-"}],
            "ips": [{"version": "4", "interface": 2, "address": "10.42.3.2/24", "gateway": "10.42.3.1"}],
            "routes": [{"dst": "10.42.0.0/16"}, {"dst": "0.0.0.0/0", "gw": "10.42.3.1"}],
            "dns": {},
        })
    );
    assert_eq!(check::differences(node, &pod, &interfaces(node)).unwrap(), Vec::<String>::new());
    assert_eq!(inspect::address_in(node, &pod, "net1").unwrap().to_string(), "10.5.7.2/24");
    bridges(node);
    runtime.del(&mut pod).unwrap();
    node.remove_sandbox(&pod).unwrap();
    assert_nothing_left(node, &before, &pod);
}

fn interfaces(node: &Node) -> Vec<Interface> {
    let of = |file: &str, name, default| {
        Interface::from_subnet_file(node, &format!("/run/flannel/{file}"), name, default).unwrap()
    };
    vec![of("subnet.env", "eth0", true), of("flannel2.env", "net1", false)]
}

/// Each bridge has its network's first address, and the plugins have made no rule of the firewall.
fn bridges(node: &Node) {
    let links = inspect::links_of(node).unwrap();
    for (bridge, address) in [("kbr0", "10.42.3.1/24"), ("kbr1", "10.5.7.1/24")] {
        let link = links.iter().find(|link| link.ifname == bridge).unwrap();
        assert_eq!(link.ipv4().iter().map(ToString::to_string).collect::<Vec<_>>(), [address]);
    }
    assert_eq!(node.run(["nft", "list", "ruleset"]).unwrap(), "", "masquerading is the agent's business");
}

fn assert_nothing_left(node: &Node, before: &lab::Snapshot, pod: &Pod) {
    let after = node.snapshot().unwrap();
    let left = after.leftovers_since(before, &["kbr0", "kbr1"], &[&pod.container, "10.42.3.2", "10.5.7.2"]);
    assert!(left.is_empty(), "left behind:\n{}", lab::snapshot::text(&left));
}

/// The result with a dash for what differs from call to call.
fn without_chance(mut result: Value) -> Value {
    for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
        for key in ["mac", "sandbox"] {
            if interface.get(key).is_some_and(|value| !value.as_str().unwrap().is_empty()) {
                interface[key] = json!("-");
            }
        }
        if interface["name"].as_str().unwrap().starts_with("veth") {
            interface["name"] = json!("veth-");
        }
    }
    result
}
