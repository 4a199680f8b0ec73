//! One plugin's configuration: what is checked, what is injected, what is left alone.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::super::Attachment;
use super::{PluginConf, conf, object};
use crate::error::code;
use crate::gojson::any_json;
use crate::result::{CniResult, Interface, Ip};
use crate::version::Version;

#[test]
fn common_keys_are_read_in_any_case() {
    let conf = conf(json!({
        "CniVersion": "0.3.1", "Name": "flannel.2", "TYPE": "flannel",
        "Capabilities": {"portMappings": true, "bandwidth": false}, "RuntimeConfig": {"mac": "x"},
    }));
    assert_eq!((conf.kind(), conf.name(), conf.cni_version()), ("flannel", "flannel.2", Version::V0_3_1));
    assert_eq!(conf.capabilities().collect::<Vec<_>>(), ["portMappings"]);
    assert!(conf.declares("portMappings") && !conf.declares("bandwidth") && !conf.declares("PORTMAPPINGS"));
    assert_eq!(conf.runtime_config(), Some(&object(json!({"mac": "x"}))));
    assert_eq!(conf.get("runtimeconfig"), Some(&json!({"mac": "x"})));
}

#[test]
fn a_missing_version_is_0_1_0_and_a_missing_name_is_empty() {
    let conf = conf(json!({"type": "bridge", "name": null}));
    assert_eq!((conf.name(), conf.cni_version()), ("", Version::V0_1_0));
    assert_eq!(conf.capabilities().count(), 0);
}

#[test]
fn a_bad_common_key_is_refused_with_its_code() {
    for (value, code) in [
        (json!([]), code::DECODE),
        (json!("bridge"), code::DECODE),
        (json!({}), code::INVALID_CONFIG),
        (json!({"type": ""}), code::INVALID_CONFIG),
        (json!({"type": "../bridge"}), code::INVALID_CONFIG),
        (json!({"type": 1}), code::DECODE),
        (json!({"type": "a", "name": 1}), code::DECODE),
        (json!({"type": "a", "capabilities": {"mac": "true"}}), code::DECODE),
        (json!({"type": "a", "runtimeConfig": []}), code::DECODE),
        (json!({"type": "a", "cniVersion": "x"}), code::INCOMPATIBLE_VERSION),
        (json!({"type": "a", "cniVersion": "1.2.0"}), code::INCOMPATIBLE_VERSION),
    ] {
        assert_eq!(PluginConf::from_value(value.clone()).unwrap_err().code, code, "{value}");
    }
}

#[test]
fn standard_input_must_hold_a_named_configuration() {
    for (text, code) in [
        ("", code::DECODE),
        (" \n", code::DECODE),
        ("{", code::DECODE),
        ("null", code::DECODE),
        (r#"{"type":"a","name":"b"} {}"#, code::DECODE),
        (r#"{"type":"a"}"#, code::INVALID_CONFIG),
        (r#"{"type":"a","name":""}"#, code::INVALID_CONFIG),
        (r#"{"type":"a","name":"../b"}"#, code::INVALID_CONFIG),
    ] {
        assert_eq!(PluginConf::from_stdin(text.as_bytes()).unwrap_err().code, code, "{text}");
    }
    let conf = PluginConf::from_stdin(br#"{"type":"a","name":"b","password":"secret"}"#).unwrap();
    assert_eq!((conf.kind(), conf.name()), ("a", "b"));
}

#[test]
fn keys_nobody_here_knows_pass_through_in_their_order() {
    let text = r#"{"zeta":[1,2.5,{"B":null}],"type":"bridge","alpha":"ü","isGateway":true}"#;
    let conf = PluginConf::from_value(serde_json::from_str(text).unwrap()).unwrap();
    assert_eq!(conf.to_text(), text);
    let injected = conf.with_name("cbr1").unwrap().with_version(Version::V0_4_0).unwrap();
    let opened = text.strip_suffix('}').unwrap();
    assert_eq!(injected.to_text(), format!(r#"{opened},"name":"cbr1","cniVersion":"0.4.0"}}"#));
}

#[test]
fn injecting_a_key_removes_its_other_spellings() {
    let conf = conf(json!({"Name": "old", "type": "a", "NAME": "older", "CNIVersion": "0.2.0"}));
    let conf = conf.with_name("new").unwrap().with_version(Version::V1_0_0).unwrap();
    assert_eq!(conf.to_text(), r#"{"type":"a","name":"new","cniVersion":"1.0.0"}"#);
    let conf = super::conf(json!({"name": "old", "type": "a", "NAME": "older"})).with_name("new").unwrap();
    assert_eq!(conf.to_text(), r#"{"type":"a","name":"new"}"#);
    let conf = super::conf(json!({"name": "old", "type": "a"})).with_name("new").unwrap();
    assert_eq!(conf.to_text(), r#"{"name":"new","type":"a"}"#);
}

#[test]
fn only_declared_capability_arguments_are_injected() {
    let arguments = object(json!({"mac": "02:00:00:00:00:01", "ips": ["10.5.7.9/24"], "portMappings": []}));
    let declared =
        conf(json!({"type": "a", "capabilities": {"mac": true, "ips": false, "portMappings": true, "x": true}}));
    let conf = declared.with_runtime_config(&arguments);
    assert_eq!(conf.runtime_config(), Some(&object(json!({"mac": "02:00:00:00:00:01", "portMappings": []}))));
}

#[test]
fn nothing_is_injected_when_no_argument_is_declared() {
    let arguments = object(json!({"mac": "02:00:00:00:00:01"}));
    for value in [
        json!({"type": "a"}),
        json!({"type": "a", "capabilities": {"mac": false, "MAC": true}}),
        json!({"type": "a", "capabilities": {"ips": true}, "runtimeConfig": {"ips": ["10.5.7.9"]}}),
    ] {
        assert_eq!(conf(value.clone()).with_runtime_config(&arguments), conf(value));
    }
}

#[test]
fn the_previous_result_is_written_in_the_version_of_the_configuration() {
    let result = CniResult {
        interfaces: vec![Interface { name: "net1".into(), mtu: Some(1450), ..Interface::default() }],
        ips: vec![Ip::new("10.5.7.2/24".parse().unwrap(), None)],
        ..CniResult::default()
    };
    let conf = conf(json!({"type": "portmap", "cniVersion": "0.3.1", "PrevResult": {}}));
    let conf = conf.with_prev_result(&result).unwrap();
    assert_eq!(conf.raw().keys().collect::<Vec<_>>(), ["type", "cniVersion", "prevResult"]);
    assert_eq!(conf.get("prevResult").unwrap()["ips"][0]["version"], "4");
    let read = conf.prev_result().unwrap().unwrap();
    assert_eq!((read.ips, read.interfaces[0].mtu), (result.ips, None));
}

#[test]
fn a_previous_result_without_version_is_in_the_version_of_the_configuration() {
    let previous = json!({"ip4": {"ip": "10.5.7.2/24"}, "ips": [{"address": "10.5.7.3/24"}]});
    let address = |version: &str| {
        let conf = conf(json!({"type": "a", "cniVersion": version, "prevResult": previous}));
        conf.prev_result().unwrap().unwrap().ips[0].address.to_string()
    };
    assert_eq!((address("0.2.0").as_str(), address("1.0.0").as_str()), ("10.5.7.2/24", "10.5.7.3/24"));
    assert_eq!(conf(json!({"type": "a"})).prev_result().unwrap(), None);
    let error = conf(json!({"type": "a", "prevResult": {"cniVersion": "0.4.0", "ips": 1}})).prev_result().unwrap_err();
    assert!(error.msg.starts_with("prevResult: ips: "), "{error}");
}

#[test]
fn arguments_are_merged_over_those_of_the_configuration() {
    let written = conf(json!({"type": "a", "args": {"labels": 1, "CNI": {"ips": ["old"], "mac": "kept"}}}));
    let conf = written.with_args(&object(json!({"ips": ["new"]}))).unwrap();
    assert_eq!(conf.get("args"), Some(&json!({"labels": 1, "cni": {"ips": ["new"], "mac": "kept"}})));
    let bare = super::conf(json!({"type": "a"}));
    assert_eq!(bare.clone().with_args(&object(json!({}))).unwrap(), bare);
    assert_eq!(bare.with_args(&object(json!({"x": 1}))).unwrap().get("args"), Some(&json!({"cni": {"x": 1}})));
    for args in [json!([]), json!({"cni": "x"})] {
        let conf = super::conf(json!({"type": "a", "args": args}));
        assert_eq!(conf.with_args(&object(json!({"x": 1}))).unwrap_err().code, code::INVALID_CONFIG);
    }
}

#[test]
fn any_key_can_be_set_and_common_ones_are_checked_again() {
    let conf = conf(json!({"type": "sriov", "DeviceID": "old"}));
    assert_eq!(
        conf.clone().with("deviceID", json!("0000:00:1f.6")).unwrap().to_text(),
        r#"{"type":"sriov","deviceID":"0000:00:1f.6"}"#
    );
    assert_eq!(conf.clone().with("cniVersion", json!("1.0.0")).unwrap().cni_version(), Version::V1_0_0);
    assert!(conf.with("type", json!("/bin/sh")).is_err());
}

#[test]
fn no_list_of_attachments_is_not_an_empty_list() {
    let list = |value| conf(json!({"type": "a", "cni.dev/valid-attachments": value})).valid_attachments();
    assert_eq!(list(json!(null)).unwrap(), None);
    assert_eq!(list(json!([])).unwrap(), Some(vec![]));
    let attachment = Attachment { container_id: "c0ffee".into(), ifname: "net1".into() };
    assert_eq!(list(json!([{"containerID": "c0ffee", "ifname": "net1"}])).unwrap(), Some(vec![attachment]));
    assert_eq!(
        list(json!([{"containerID": 1}])).unwrap_err().msg,
        "cni.dev/valid-attachments: [0].containerID: invalid type: integer `1`, expected a string"
    );
}

#[test]
fn a_plugins_own_keys_are_read_with_a_helpful_error() {
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Bridge {
        is_gateway: bool,
    }
    assert!(conf(json!({"type": "bridge", "ISGATEWAY": true})).decode::<Bridge>().unwrap().is_gateway);
    let error = conf(json!({"type": "bridge", "isGateway": "yes"})).decode::<Bridge>().unwrap_err();
    assert_eq!(error.code, code::INVALID_CONFIG);
    assert_eq!(error.msg, r#"plugin "bridge": isGateway: invalid type: string "yes", expected a boolean"#);
}

proptest! {
    #[test]
    fn injection_keeps_every_other_key(members in prop::collection::btree_map("[a-z]{1,8}X?", any_json(), 0..8)) {
        let mut raw: serde_json::Map<_, _> = members.clone().into_iter().collect();
        raw.retain(|key, _| !["type", "name", "capabilities"].contains(&key.as_str()));
        raw.insert("type".into(), "a".into());
        let conf = PluginConf::from_object(raw.clone()).unwrap().with_name("n").unwrap();
        for (key, value) in &raw {
            prop_assert_eq!(conf.raw().get(key), Some(value));
        }
        prop_assert_eq!(conf.raw().len(), raw.len() + 1);
    }

    #[test]
    fn no_configuration_makes_the_reader_panic(
        text in any::<Vec<u8>>(), kind in any_json(), args in any_json(), previous in any_json(), capabilities in any_json(),
    ) {
        let _ = PluginConf::from_stdin(&text);
        let value = json!({"type": kind, "args": args, "prevResult": previous, "capabilities": capabilities});
        let plain = json!({"type": "a", "args": value["args"], "prevResult": value["prevResult"]});
        for value in [value, plain] {
            if let Ok(conf) = PluginConf::from_value(value) {
                let _ = conf.prev_result();
                let _ = conf.with_args(&object(json!({"x": 1})));
            }
        }
    }
}
