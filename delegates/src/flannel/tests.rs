//! The second network of the article, planned without a kernel.

use crate::DefaultRoute;
use crate::made_up::{Inputs, MadeUp};
use cni::Version;
use serde_json::json;

fn node() -> MadeUp {
    let mut node = MadeUp::default();
    let env = "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.7.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
    node.files.insert("/run/flannel/flannel2.env".into(), env.into());
    node.sysctls.insert("net/ipv4/ip_forward".into(), "1".into());
    node
}

fn second_network() -> Inputs {
    let mut inputs = Inputs::new(json!({
        "cniVersion": "0.3.0", "name": "flannel.2", "type": "flannel",
        "subnetFile": "/run/flannel/flannel2.env", "dataDir": "/var/lib/cni/flannel2", "delegate": { "bridge": "kbr1" }
    }));
    inputs.ifname = "net1".into();
    inputs.default_route = DefaultRoute::Strip;
    inputs
}

#[test]
fn the_second_network_of_the_article_is_planned_operation_by_operation() {
    let (result, lines, _) = second_network().add(&mut node()).unwrap();
    let veth = &result.interfaces[1].name;
    assert_eq!(
        lines,
        [
            "create /var/lib/cni/flannel2/c0ffee:net1:flannel.2".to_owned(),
            "create /var/lib/cni/networks/flannel.2/10.5.7.2".to_owned(),
            "write /var/lib/cni/networks/flannel.2/last_reserved_ip.0".to_owned(),
            "ensure bridge kbr1".to_owned(),
            "ensure address 10.5.7.1/24 on kbr1".to_owned(),
            format!("create veth {veth} with peer net1 on bridge kbr1"),
            "set net1 up".to_owned(),
            "add address 10.5.7.2/24 to net1".to_owned(),
            "add route 10.5.0.0/16 via 10.5.7.1 dev net1".to_owned(),
        ]
    );
}

#[test]
fn the_result_is_the_reference_chains() {
    let (result, _, _) = second_network().add(&mut node()).unwrap();
    let json = result.to_json(Version::V0_3_0).unwrap();
    assert_eq!(
        json["ips"],
        json!([{ "version": "4", "interface": 2, "address": "10.5.7.2/24", "gateway": "10.5.7.1" }])
    );
    assert_eq!(json["routes"], json!([{ "dst": "10.5.0.0/16" }]));
    assert_eq!(json["dns"], json!({}));
    let names: Vec<_> =
        json["interfaces"].as_array().unwrap().iter().map(|interface| interface["name"].as_str().unwrap()).collect();
    assert_eq!((names[0], names[2]), ("kbr1", "net1"));
    assert_eq!(json["interfaces"][2]["sandbox"], "/run/netns/c0ffee");
}

#[test]
fn every_operation_is_undone_or_goes_with_one_that_is() {
    let (_, _, plan) = second_network().add(&mut node()).unwrap();
    let undone: Vec<_> = plan
        .records
        .iter()
        .chain(&plan.steps)
        .filter(|step| step.undo.is_some())
        .map(|step| step.op.to_string())
        .collect();
    assert_eq!(undone.len(), 3, "{undone:?}");
}

#[test]
fn the_default_network_brings_its_default_route_unless_another_one_was_asked_for() {
    let conf = json!({
        "cniVersion": "0.3.1", "name": "flannel.1", "type": "flannel",
        "subnetFile": "/run/flannel/flannel2.env", "delegate": { "bridge": "kbr0", "isDefaultGateway": true }
    });
    let mut inputs = Inputs::new(conf);
    let (result, _, _) = inputs.add(&mut node()).unwrap();
    let json = result.to_json(Version::V0_3_1).unwrap();
    assert_eq!(json["routes"], json!([{ "dst": "10.5.0.0/16" }, { "dst": "0.0.0.0/0", "gw": "10.5.7.1" }]));
    inputs.default_route = DefaultRoute::Strip;
    let (result, _, _) = inputs.add(&mut node()).unwrap();
    assert_eq!(result.routes.len(), 1);
    inputs.default_route = DefaultRoute::Via(vec!["10.5.7.9".parse().unwrap()]);
    let (result, _, _) = inputs.add(&mut node()).unwrap();
    assert_eq!(result.routes[1].gw, Some("10.5.7.9".parse().unwrap()));
    inputs.default_route = DefaultRoute::Via(vec!["192.0.2.1".parse().unwrap()]);
    assert!(inputs.add(&mut node()).unwrap_err().msg.contains("is in no network of eth0"));
}

#[test]
fn without_a_lease_the_pod_is_to_be_tried_again() {
    let mut node = node();
    node.files.clear();
    let error = second_network().add(&mut node).unwrap_err();
    assert_eq!(error.code, 11);
    assert!(error.msg.contains("/run/flannel/flannel2.env does not exist"), "{error}");
}

#[test]
fn what_the_lease_decides_may_not_be_given() {
    for key in ["name", "ipam"] {
        let mut conf = json!({ "cniVersion": "0.3.1", "name": "n", "type": "flannel", "subnetFile": "/run/flannel/flannel2.env", "delegate": {} });
        conf["delegate"][key] = json!({});
        if key == "name" {
            conf["delegate"][key] = json!("x");
        }
        let error = Inputs::new(conf).add(&mut node()).unwrap_err();
        assert!(error.msg.contains(&format!("must not have '{key}' field")), "{error}");
    }
}

#[test]
fn the_files_of_flannel_itself_lead_a_del_to_what_it_made() {
    let mut node = node();
    let saved = r#"{"cniVersion":"0.3.0","name":"flannel.2","type":"bridge","bridge":"kbr1","ipam":{"type":"host-local","ranges":[[{"subnet":"10.5.7.0/24"}]]}}"#;
    node.files.insert("/var/lib/cni/flannel2/c0ffee".into(), saved.into());
    node.files.insert("/var/lib/cni/networks/flannel.2/10.5.7.9".into(), "c0ffee\r\nnet1".into());
    node.files.insert("/var/lib/cni/networks/flannel.2/10.5.7.10".into(), "0ther\r\nnet1".into());
    let inputs = second_network();
    let mut plan = crate::Plan::new();
    crate::del(&inputs.call(), &mut node, &mut plan).unwrap();
    let lines: Vec<_> = plan.records.iter().chain(&plan.steps).map(|step| step.op.to_string()).collect();
    assert!(lines.contains(&"remove /var/lib/cni/networks/flannel.2/10.5.7.9".to_owned()), "{lines:?}");
    assert!(lines.contains(&"remove /var/lib/cni/flannel2/c0ffee".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("10.5.7.10")), "{lines:?}");
}
