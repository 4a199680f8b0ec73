//! Tests of the annotation parser: a table row for each rule.

use super::*;
use crate::hardware::{Guid, Mac};
use crate::selection::{Bandwidth, Protocol};
use serde_json::json;

fn faults(text: &str) -> Vec<String> {
    parse(text, "default").unwrap_err().0.iter().map(ToString::to_string).collect()
}

#[test]
fn the_short_form_names_namespace_network_and_interface() {
    let selected = parse(" flannel.2 , kube-system/macvlan-1 ,b@Net5, c / d @ e ", "apps").unwrap();
    let plain: Vec<_> =
        selected.iter().map(|s| (s.namespace.as_str(), s.name.as_str(), s.interface.as_deref())).collect();
    assert_eq!(
        plain,
        [
            ("apps", "flannel.2", None),
            ("kube-system", "macvlan-1", None),
            ("apps", "b", Some("Net5")),
            ("c", "d", Some("e")),
        ]
    );
}

#[test]
fn the_json_form_carries_every_key() {
    let text = json!([{
        "name": "flannel.2", "namespace": "nets", "interface": "net5", "ips": ["10.5.1.7/24", "fd00::7"],
        "mac": "0A:58:0a:05:01:07", "infiniband-guid": "c2:11:22:33:44:55:66:77",
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "UDP", "hostIP": "192.0.2.1"}, {"hostPort": 8080, "containerPort": 80, "hostIP": "0.0.0.0"}],
        "bandwidth": {"ingressRate": 1000, "ingressBurst": 2000, "egressRate": 0},
        "cni-args": {"k": [1, {"a": null}]}, "default-route": ["10.5.1.1", "10.5.1.2", "fd00::1"],
        "deviceID": "0000:03:02.3", "example.com/extra": {"x": 1}
    }])
    .to_string();
    let selected = parse(&text, "default").unwrap();
    let only = &selected[0];
    assert_eq!((only.namespace.as_str(), only.interface.as_deref()), ("nets", Some("net5")));
    assert_eq!(only.ips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.5.1.7/24", "fd00::7"]);
    assert_eq!(only.mac, Some(Mac([10, 88, 10, 5, 1, 7])));
    assert_eq!(only.infiniband_guid, Some(Guid([0xc2, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77])));
    assert_eq!((only.port_mappings[0].protocol, only.port_mappings[1].protocol), (Protocol::Udp, Protocol::Tcp));
    assert_eq!(only.port_mappings[1].host_ip, None);
    assert_eq!(only.bandwidth, Some(Bandwidth { ingress_rate: 1000, ingress_burst: 2000, ..Bandwidth::default() }));
    assert_eq!(only.default_route.as_ref().map(Vec::len), Some(3));
    assert_eq!(only.device_id.as_deref(), Some("0000:03:02.3"));
    assert_eq!(only.extensions.get("example.com/extra"), Some(&json!({"x": 1})));
    assert_eq!(parse(&format(&selected), "other").unwrap(), selected);
}

#[test]
fn values_are_carried_in_the_shape_of_the_capabilities() {
    let text = r#"[{"name":"a","portMappings":[{"hostPort":1,"containerPort":2,"protocol":"TCP"}],"bandwidth":{"egressRate":8,"egressBurst":8}}]"#;
    let selected = parse(text, "d").unwrap();
    assert_eq!(
        serde_json::to_value(&selected[0].port_mappings).unwrap(),
        json!([{"hostPort":1,"containerPort":2,"protocol":"tcp"}])
    );
    assert_eq!(
        serde_json::to_value(selected[0].bandwidth).unwrap(),
        json!({"ingressRate":0,"ingressBurst":0,"egressRate":8,"egressBurst":8})
    );
}

#[test]
fn nothing_asked_for_is_nothing_selected() {
    for text in ["", "  \n", "[]", " [ ] "] {
        assert_eq!(parse(text, "default"), Ok(vec![]), "{text:?}");
    }
}

#[test]
fn what_go_takes_as_not_given_is_not_given() {
    let text = r#"[{"Name":"a","NAMESPACE":"","interface":null,"ips":null,"mac":"","cni-args":null,"default-route":null,"bandwidth":{}}]"#;
    assert_eq!(parse(text, "default"), Ok(vec![Selection::of("default", "a")]));
}

#[test]
fn an_empty_default_route_is_not_the_same_as_none() {
    assert_eq!(parse(r#"[{"name":"a","default-route":[]}]"#, "d").unwrap()[0].default_route, Some(vec![]));
}

#[test]
fn the_old_name_of_interface_is_understood() {
    assert_eq!(
        parse(r#"[{"name":"a","interfaceRequest":"net7"}]"#, "d").unwrap()[0].interface.as_deref(),
        Some("net7")
    );
    assert!(parse(r#"[{"name":"a","interfaceRequest":"net7","interface":"net7"}]"#, "d").is_ok());
    assert!(faults(r#"[{"name":"a","interfaceRequest":"net7","interface":"net8"}]"#)[0].contains("interfaceRequest"));
}

#[test]
fn each_rule_names_element_and_key() {
    let element = |rest: &str| format!(r#"[{{"name":"a",{rest}}}]"#);
    for (text, place, problem) in [
        ("a,,b".to_owned(), "element 2: ", "empty"),
        ("a,".to_owned(), "element 2: ", "empty"),
        ("A".to_owned(), "element 1 (\"A\"): name: ", "not a valid object name"),
        ("/a".to_owned(), "element 1 (\"/a\"): namespace: ", "\"\""),
        ("a/".to_owned(), "element 1 (\"a/\"): name: ", "\"\""),
        ("a/b/c".to_owned(), "element 1 (\"a/b/c\"): name: ", "\"b/c\""),
        ("a.b/c".to_owned(), "element 1 (\"a.b/c\"): namespace: ", "not a valid namespace"),
        ("a@".to_owned(), "element 1 (\"a@\"): interface: ", "empty"),
        ("a@b@c/d".to_owned(), "element 1 (\"a@b@c/d\"): interface: ", "must not hold"),
        ("a@x234567890123456".to_owned(), "element 1", "longer than 15"),
        ("a@n,b@n".to_owned(), "element 2 (\"b\"): interface: ", "element 1 already"),
        ("{\"name\":\"a\"}".to_owned(), "must be a list", "put it in [ ]"),
        ("\"a\"".to_owned(), "must be a list", "a string"),
        ("[{]".to_owned(), "is not valid JSON", "column"),
        ("[\"a\"]".to_owned(), "element 1: ", "not a string"),
        ("[{}]".to_owned(), "element 1: name: ", "missing"),
        ("[{\"name\":1}]".to_owned(), "element 1: name: ", "must be a string, not a number"),
        ("[{\"name\":\"../x\"}]".to_owned(), "element 1 (\"../x\"): name: ", "not a valid"),
        (element(r#""namespace":"A""#), "element 1 (\"a\"): namespace: ", "not a valid namespace"),
        (element(r#""interface":"a b""#), "element 1 (\"a\"): interface: ", "white space"),
        (element(r#""interface":"lo""#), "interface: ", "loopback"),
        (element(r#""interface":7"#), "interface: ", "must be a string"),
        (element(r#""ips":"10.0.0.1""#), "ips: ", "must be a list"),
        (element(r#""ips":["10.0.0.1","10.0.0.300"]"#), "ips[1]: ", "\"10.0.0.300\" is neither"),
        (element(r#""ips":["10.0.0.1","10.0.0.1"]"#), "ips[1]: ", "twice"),
        (element(r#""ips":[1]"#), "ips[0]: ", "must be a string"),
        (element(r#""mac":"c2:11:22:33:44:55:66:77""#), "mac: ", "6 bytes"),
        (element(r#""mac":"01:00:5e:00:00:01""#), "mac: ", "multicast"),
        (element(r#""infiniband-guid":"0a:58:0a:05:16:04""#), "infiniband-guid: ", "8 bytes"),
        (element(r#""portMappings":{}"#), "portMappings: ", "must be a list"),
        (element(r#""portMappings":[7]"#), "portMappings[0]: ", "must be an object"),
        (
            element(r#""portMappings":[{"hostPort":99999,"containerPort":1}]"#),
            "portMappings[0].hostPort: ",
            "1 to 65535, not 99999",
        ),
        (element(r#""portMappings":[{"hostPort":1,"containerPort":-1}]"#), "portMappings[0].containerPort: ", "not -1"),
        (element(r#""portMappings":[{"hostPort":0,"containerPort":1}]"#), "portMappings[0].hostPort: ", "not 0"),
        (
            element(r#""portMappings":[{"hostPort":"80","containerPort":1}]"#),
            "portMappings[0].hostPort: ",
            "not \"80\"",
        ),
        (element(r#""portMappings":[{"hostPort":80}]"#), "portMappings[0].containerPort: ", "missing"),
        (
            element(r#""portMappings":[{"hostPort":1,"containerPort":1,"protocol":"icmp"}]"#),
            "portMappings[0].protocol: ",
            "tcp, udp and sctp",
        ),
        (
            element(r#""portMappings":[{"hostPort":1,"containerPort":1,"hostIP":"x"}]"#),
            "portMappings[0].hostIP: ",
            "not an IP address",
        ),
        (
            element(r#""portMappings":[{"hostPort":1,"containerPort":1,"protcol":"tcp"}]"#),
            "portMappings[0].protcol: ",
            "\"protocol\" meant",
        ),
        (
            element(
                r#""portMappings":[{"hostPort":1,"containerPort":1},{"hostPort":1,"containerPort":2,"protocol":"TCP"}]"#,
            ),
            "portMappings[1]: ",
            "port 1/tcp",
        ),
        (element(r#""bandwidth":{"ingressBurst":1}"#), "bandwidth.ingressBurst: ", "needs ingressRate"),
        (element(r#""bandwidth":{"egressRate":1}"#), "bandwidth.egressRate: ", "needs egressBurst"),
        (element(r#""bandwidth":{"egressRate":-1,"egressBurst":1}"#), "bandwidth.egressRate: ", "not -1"),
        (element(r#""bandwidth":{"egressRate":1.5,"egressBurst":1}"#), "bandwidth.egressRate: ", "whole number"),
        (
            element(r#""bandwidth":{"egressRate":1,"egressBurst":34359738360}"#),
            "bandwidth.egressBurst: ",
            "34359738359",
        ),
        (element(r#""bandwidth":[]"#), "bandwidth: ", "must be an object"),
        (element(r#""cni-args":"x""#), "cni-args: ", "must be an object"),
        (element(r#""default-route":"10.0.0.1""#), "default-route: ", "must be a list"),
        (element(r#""default-route":["10.0.0.0/8"]"#), "default-route[0]: ", "gateway"),
        (element(r#""default-route":["0.0.0.0"]"#), "default-route[0]: ", "unspecified"),
        (element(r#""deviceID":"a b""#), "deviceID: ", "device"),
        (element(r#""deviceID":"../x""#), "deviceID: ", "device"),
        (element(r#""ipam-claim-reference":"A""#), "ipam-claim-reference: ", "not a valid"),
        (element(r#""ipam-claim-reference":"c","ips":["10.0.0.1"]"#), "ipam-claim-reference: ", "excludes ips"),
        (element(r#""interfce":"x""#), "interfce: ", "\"interface\" meant"),
        (element(r#""whatever":"x""#), "whatever: ", "reserved"),
        (element(r#""Name":"b""#), "Name: ", "given twice"),
    ] {
        let found = faults(&text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(place) && found[0].contains(problem), "{text}: {found:?}");
    }
}

#[test]
fn only_one_element_owns_the_default_route() {
    let found = faults(r#"[{"name":"a","default-route":["10.0.0.1"]},{"name":"b"},{"name":"c","default-route":[]}]"#);
    assert_eq!(found, ["element 3 (\"c\"): default-route: only one element may have it, and element 1 has it already"]);
}

#[test]
fn a_port_of_the_node_is_mapped_once_in_all_elements() {
    let mapping = |ip: &str| format!(r#""portMappings":[{{"hostPort":80,"containerPort":80,"hostIP":"{ip}"}}]"#);
    let both = |a: &str, b: &str| format!(r#"[{{"name":"a",{}}},{{"name":"b",{}}}]"#, mapping(a), mapping(b));
    assert!(faults(&both("192.0.2.1", "192.0.2.1"))[0].starts_with("element 2 (\"b\"): portMappings[0]: port 80/tcp"));
    assert!(parse(&both("192.0.2.1", "192.0.2.2"), "d").is_ok());
}

#[test]
fn all_faults_are_reported_at_once() {
    let found = faults(r#"[{"name":"A","ips":["x"],"mac":"y"},7,{"interface":"a/b","portMappings":[{"hostPort":0}]}]"#);
    let places = [
        "(\"A\"): name",
        "(\"A\"): ips[0]",
        "(\"A\"): mac",
        "element 2",
        "element 3: name",
        "interface",
        "portMappings[0].hostPort",
        "portMappings[0].containerPort",
    ];
    assert_eq!(found.len(), places.len(), "{found:#?}");
    for (found, place) in found.iter().zip(places) {
        assert!(found.contains(place), "{found} should be about {place}");
    }
}

#[test]
fn the_same_network_may_be_attached_twice() {
    assert_eq!(parse("a,a", "d").unwrap().len(), 2);
}

#[test]
fn the_default_network_is_exactly_one() {
    assert_eq!(parse_default_network("a", "kube-system"), Ok(Selection::of("kube-system", "a")));
    for (text, count) in [("", "0"), ("a,b", "2")] {
        assert!(parse_default_network(text, "d").unwrap_err().to_string().contains(&format!("names {count} networks")));
    }
}
