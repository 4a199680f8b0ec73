//! Lists and single configurations.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::object;
use crate::conf::NetworkList;
use crate::error::code;
use crate::gojson::any_json;
use crate::result::{CniResult, Ip};
use crate::version::Version;

fn list(value: Value) -> NetworkList {
    NetworkList::from_value(value, None).unwrap()
}

#[test]
fn a_list_is_read() {
    let list = list(json!({
        "cniVersion": "0.3.1", "name": "cbr0", "disableCheck": true,
        "plugins": [
            {"type": "flannel", "delegate": {"hairpinMode": true, "isDefaultGateway": true}},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    }));
    assert_eq!((list.name.as_str(), list.cni_version), ("cbr0", Version::V0_3_1));
    assert!(list.disable_check && !list.disable_gc && !list.load_only_inlined_plugins);
    assert_eq!(list.plugins.iter().map(|plugin| plugin.kind()).collect::<Vec<_>>(), ["flannel", "portmap"]);
    assert!(list.declares("portMappings") && !list.declares("bandwidth"));
}

#[test]
fn a_single_configuration_is_a_list_of_one() {
    let list = list(
        json!({"cniVersion": "0.3.0", "name": "flannel.2", "type": "flannel", "subnetFile": "/run/flannel/flannel2.env"}),
    );
    assert_eq!((list.name.as_str(), list.cni_version, list.plugins.len()), ("flannel.2", Version::V0_3_0, 1));
    assert_eq!(list.plugins[0].get("subnetFile"), Some(&json!("/run/flannel/flannel2.env")));
}

#[test]
fn a_default_name_stands_in_for_a_missing_one() {
    for value in [
        json!({"type": "a"}),
        json!({"type": "a", "name": ""}),
        json!({"plugins": [{"type": "a"}]}),
        json!({"name": null, "plugins": [{"type": "a", "name": "the plugin's own, never looked at"}]}),
    ] {
        assert_eq!(NetworkList::from_value(value.clone(), Some("nad")).unwrap().name, "nad", "{value}");
        assert_eq!(NetworkList::from_value(value.clone(), None).unwrap_err().code, code::INVALID_CONFIG, "{value}");
    }
    assert_eq!(NetworkList::from_value(json!({"name": "own", "type": "a"}), Some("nad")).unwrap().name, "own");
}

#[test]
fn the_highest_version_spoken_here_is_taken() {
    for (single, several, expected) in [
        ("0.3.1", json!(null), Some(Version::V0_3_1)),
        ("", json!(null), Some(Version::V0_1_0)),
        ("0.3.1", json!(["0.4.0", "1.0.0"]), Some(Version::V1_0_0)),
        ("1.1.0", json!(["0.4.0"]), Some(Version::V1_1_0)),
        ("", json!(["0.4.0", "0.3.0"]), Some(Version::V0_4_0)),
        ("0.3.1", json!(["2.0.0"]), Some(Version::V0_3_1)),
        ("2.0.0", json!(["1.0.0", "3.0.0"]), Some(Version::V1_0_0)),
        ("0.3.1", json!([]), Some(Version::V0_3_1)),
        ("0.9.0", json!(["0.4.0"]), Some(Version::V0_4_0)),
        ("2.0.0", json!(null), None),
        ("", json!(["2.0.0"]), None),
        ("x", json!(["1.0.0"]), None),
        ("1.0.0", json!(["x"]), None),
    ] {
        let value = json!({"name": "n", "cniVersion": single, "cniVersions": several, "plugins": [{"type": "a"}]});
        let list = NetworkList::from_value(value, None);
        match expected {
            Some(version) => assert_eq!(list.unwrap().cni_version, version, "{single:?} {several}"),
            None => assert_eq!(list.unwrap_err().code, code::INCOMPATIBLE_VERSION, "{single:?} {several}"),
        }
    }
}

#[test]
fn flags_are_booleans_or_their_text() {
    for (value, expected) in [
        (json!(true), Some(true)),
        (json!("true"), Some(true)),
        (json!("True"), Some(true)),
        (json!("FALSE"), Some(false)),
        (json!(false), Some(false)),
        (json!(null), Some(false)),
        (json!("yes"), None),
        (json!(1), None),
    ] {
        let read = |key: &str| {
            let document = json!({"name": "n", key: value, "plugins": [{"type": "a"}]});
            NetworkList::from_value(document, None).ok()
        };
        assert_eq!(read("disableCheck").map(|list| list.disable_check), expected, "{value}");
        assert_eq!(read("disableGC").map(|list| list.disable_gc), expected, "{value}");
        assert_eq!(read("loadOnlyInlinedPlugins").map(|list| list.load_only_inlined_plugins), expected, "{value}");
    }
}

#[test]
fn a_list_that_cannot_work_is_refused_with_its_place() {
    for (value, code, text) in [
        (json!([]), code::DECODE, "object"),
        (json!({"name": "n"}), code::INVALID_CONFIG, "neither"),
        (json!({"name": "n", "plugins": []}), code::INVALID_CONFIG, "no plugins"),
        (json!({"name": "n", "loadOnlyInlinedPlugins": true}), code::INVALID_CONFIG, "no plugins"),
        (json!({"name": "n", "plugins": {}}), code::DECODE, "plugins: "),
        (json!({"name": "n", "plugins": ["a"]}), code::DECODE, "plugins[0]"),
        (
            json!({"name": "n", "plugins": [{"type": "a"}, {}]}),
            code::INVALID_CONFIG,
            "plugins[1]: plugin type is missing",
        ),
        (json!({"name": "n", "plugins": [{"type": "a/b"}]}), code::INVALID_CONFIG, "plugins[0]: "),
        (
            json!({"name": "n", "plugins": [{"type": "a", "capabilities": {"x": 1}}]}),
            code::DECODE,
            "plugins[0]: capabilities.x",
        ),
        (json!({"name": "../n", "plugins": [{"type": "a"}]}), code::INVALID_CONFIG, "network name"),
        (json!({"name": 1, "plugins": [{"type": "a"}]}), code::DECODE, "name: "),
        (json!({"name": "n", "cniVersions": "1.0.0", "plugins": [{"type": "a"}]}), code::DECODE, "cniVersions: "),
    ] {
        let error = NetworkList::from_value(value.clone(), None).unwrap_err();
        assert_eq!(error.code, code, "{value}: {error}");
        assert!(error.msg.contains(text), "{value}: {error}");
    }
    assert_eq!(NetworkList::from_slice(b"{", None).unwrap_err().code, code::DECODE);
}

#[test]
fn a_plugin_is_executed_with_the_lists_name_and_version() {
    let list = list(json!({
        "cniVersion": "0.4.0", "name": "cbr0",
        "plugins": [
            {"type": "bridge", "cniVersion": "9.9.9", "name": "own"},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    }));
    let arguments = object(json!({"portMappings": [{"hostPort": 1}], "mac": "x"}));
    assert_eq!(list.plugins[0].cni_version(), Version::V0_4_0);
    let first = list.conf_for(&list.plugins[0], None, &arguments).unwrap();
    assert_eq!(Value::Object(first.raw().clone()), json!({"type": "bridge", "name": "cbr0", "cniVersion": "0.4.0"}));

    let result = CniResult { ips: vec![Ip::new("10.5.7.2/24".parse().unwrap(), None)], ..CniResult::default() };
    let second = list.conf_for(&list.plugins[1], Some(&result), &arguments).unwrap();
    assert_eq!(second.runtime_config(), Some(&object(json!({"portMappings": [{"hostPort": 1}]}))));
    assert_eq!(second.prev_result().unwrap(), Some(result));
}

#[test]
fn a_list_survives_being_stored() {
    for value in [
        json!({"cniVersion": "0.3.1", "name": "n", "type": "a", "x": {"Y": null}}),
        json!({"cniVersion": "0.3.1", "cniVersions": ["1.0.0", "7.0.0"], "name": "n", "disableCheck": "true",
               "loadOnlyInlinedPlugins": true, "plugins": [{"type": "a"}, {"type": "b", "capabilities": {"mac": true}}]}),
    ] {
        let read = list(value);
        let stored = serde_json::to_string(&read).unwrap();
        let again: NetworkList = serde_json::from_str(&stored).unwrap();
        assert_eq!(
            (&again.name, again.cni_version, again.disable_check),
            (&read.name, read.cni_version, read.disable_check)
        );
        assert_eq!(again.to_json(), read.to_json());
    }
}

/// A document that looks like a configuration, with anything under any key.
fn any_document() -> impl Strategy<Value = Value> {
    let sane = |sane: Value| prop_oneof![3 => Just(sane), 1 => any_json()];
    let plugin = (sane(json!("bridge")), sane(json!({"mac": true})), sane(json!("1.0.0"))).prop_map(
        |(kind, capabilities, version)| json!({"type": kind, "capabilities": capabilities, "cniVersion": version}),
    );
    let plugins = prop_oneof![
        4 => prop::collection::vec(plugin, 0..3).prop_map(Value::from),
        1 => any_json(),
    ];
    (sane(json!("cbr0")), sane(json!("0.4.0")), sane(json!(["1.0.0"])), sane(json!("true")), plugins, sane(json!(null)))
        .prop_map(|(name, version, versions, flag, plugins, kind)| {
            json!({"name": name, "cniVersion": version, "cniVersions": versions, "disableCheck": flag,
                   "plugins": plugins, "type": kind})
        })
}

proptest! {
    #[test]
    fn a_list_that_is_accepted_can_be_executed_and_stored(document in any_document()) {
        if let Ok(list) = NetworkList::from_value(document, Some("nad")) {
            prop_assert!(!list.plugins.is_empty());
            prop_assert!(list.cni_version.is_supported());
            crate::names::network(&list.name).unwrap();
            for plugin in &list.plugins {
                crate::names::plugin_type(plugin.kind()).unwrap();
                let conf = list.conf_for(plugin, None, &object(json!({"mac": "x"}))).unwrap();
                prop_assert!(crate::conf::PluginConf::from_stdin(conf.to_text().as_bytes()).is_ok());
            }
            let stored = NetworkList::from_value(list.to_json(), None).unwrap();
            prop_assert_eq!(stored.to_json(), list.to_json());
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<Vec<u8>>(), document in any_json()) {
        let _ = NetworkList::from_slice(&text, None);
        let _ = NetworkList::from_value(document, None);
    }
}
