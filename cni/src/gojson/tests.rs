//! What Go's reader accepts, and how mistakes are named.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Conf {
    bridge: String,
    is_gateway: bool,
    mtu: u32,
    hairpin: Option<bool>,
    ipam: Ipam,
    capabilities: BTreeMap<String, bool>,
    mode: Mode,
    rest: Option<Value>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Ipam {
    ranges: Vec<Vec<Range>>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Range {
    subnet: ipnet::IpNet,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Bridge,
    Vepa,
    Port {
        number: u8,
    },
}

fn read(value: Value) -> Conf {
    from_value(value).unwrap()
}

fn refusal(value: Value) -> String {
    let error = from_value::<Conf>(value).unwrap_err();
    assert_eq!(error.code, crate::error::code::DECODE);
    error.msg
}

#[test]
fn keys_of_structs_match_in_any_case() {
    let conf = read(json!({
        "BRIDGE": "kbr1", "isgateway": true, "MTU": 1450, "HairPin": true,
        "IPAM": {"Ranges": [[{"Subnet": "10.5.7.2/24"}]]},
    }));
    assert_eq!((conf.bridge.as_str(), conf.is_gateway, conf.mtu, conf.hairpin), ("kbr1", true, 1450, Some(true)));
    assert_eq!(conf.ipam.ranges[0][0].subnet.to_string(), "10.5.7.2/24");
}

#[test]
fn the_exact_key_wins_and_otherwise_the_later_one() {
    assert_eq!(read(json!({"bridge": "exact", "BRIDGE": "folded"})).bridge, "exact");
    assert_eq!(read(json!({"BRIDGE": "folded", "bridge": "exact"})).bridge, "exact");
    assert_eq!(read(json!({"BRIDGE": "first", "Bridge": "second"})).bridge, "second");
    assert_eq!(read(json!({"Bridge": "kept", "bridge": null})).bridge, "kept");
}

#[test]
fn keys_of_maps_keep_their_case() {
    let conf = read(json!({"Capabilities": {"portMappings": true, "PORTMAPPINGS": false}}));
    let expected = [("portMappings", true), ("PORTMAPPINGS", false)];
    assert_eq!(conf.capabilities, expected.map(|(key, value)| (key.to_owned(), value)).into());
    assert_eq!(read(json!({"rest": {"A": 1, "a": null}})).rest, Some(json!({"A": 1, "a": null})));
}

#[test]
fn null_is_as_good_as_absent() {
    let conf = read(json!({
        "bridge": null, "isGateway": null, "mtu": null, "hairpin": null, "ipam": null, "capabilities": null,
        "mode": null, "rest": null,
    }));
    assert_eq!(conf, Conf::default());
    assert_eq!(read(json!({"ipam": {"ranges": [null, []]}})).ipam.ranges, vec![vec![], vec![]]);
    assert_eq!(from_value::<Vec<String>>(json!([null, "a"])).unwrap(), ["", "a"]);
    assert_eq!(from_value::<(u32, bool)>(json!([null, null])).unwrap(), (0, false));
    assert_eq!(from_value::<Conf>(Value::Null).unwrap(), Conf::default());
}

#[test]
fn enums_are_read_by_name() {
    assert_eq!(read(json!({"mode": "vepa"})).mode, Mode::Vepa);
    assert_eq!(read(json!({"mode": {"port": {"number": 3}}})).mode, Mode::Port { number: 3 });
}

#[test]
fn a_mistake_is_named_by_its_path_as_written_in_the_document() {
    for (value, message) in [
        (
            json!({"IPAM": {"ranges": [[{"subnet": "10.0.0.0/8"}, {"subnet": "10.0.0.0/33"}]]}}),
            "IPAM.ranges[0][1].subnet: ",
        ),
        (json!({"mtu": "1450"}), "mtu: invalid type: string \"1450\", expected u32"),
        (json!({"mtu": -1}), "mtu: invalid value: integer `-1`, expected u32"),
        (json!({"mtu": 1.5}), "mtu: invalid type: floating point `1.5`, expected u32"),
        (json!({"bridge": {}}), "bridge: invalid type: object, expected a string"),
        (json!({"ipam": {"ranges": [[{}]]}}), "ipam.ranges[0][0]: missing field `subnet`"),
        (json!({"capabilities": {"mac": "yes"}}), "capabilities.mac: invalid type: string \"yes\", expected a boolean"),
        (json!({"mode": "l2"}), "mode: unknown variant `l2`"),
        (json!([]), "invalid type: array, expected struct Conf"),
    ] {
        let refusal = refusal(value);
        assert!(refusal.starts_with(message), "{refusal:?} does not start with {message:?}");
    }
}

#[test]
fn a_text_that_cannot_be_parsed_is_quoted_but_not_at_any_length() {
    let subnet = |text: &str| json!({"ipam": {"ranges": [[{"subnet": text}]]}});
    assert!(refusal(subnet("10.0.0.0/33")).ends_with(": \"10.0.0.0/33\""));
    assert!(refusal(subnet(&"x".repeat(100_000))).len() < 500);
    assert!(refusal(json!({"mtu": "ä".repeat(100_000)})).len() < 500);
}

#[test]
fn readers_that_refuse_unknown_keys_still_can() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[allow(dead_code, reason = "only its name matters")]
        known: Option<u8>,
    }
    assert!(from_value::<Strict>(json!({"KNOWN": 1})).is_ok());
    let error = from_value::<Strict>(json!({"known": 1, "other": 2})).unwrap_err();
    assert!(error.msg.contains("unknown field `other`"), "{error}");
}

#[test]
fn lookup_and_remove_know_every_spelling() {
    let Value::Object(mut object) = json!({"Name": "a", "NAME": "b", "type": "c", "null": null, "Null": 1}) else {
        unreachable!()
    };
    assert_eq!(lookup(&object, "name"), Some(&json!("b")));
    assert_eq!(lookup(&object, "Name"), Some(&json!("a")));
    assert_eq!(lookup(&object, "null"), Some(&json!(1)));
    assert_eq!(lookup(&object, "absent"), None);
    remove(&mut object, "name");
    assert_eq!(object.keys().collect::<Vec<_>>(), ["type", "null", "Null"]);
}

/// Any JSON value, small enough to be read often.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9./:]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-zA-Z]{1,10}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reading_a_value_as_a_value_changes_nothing(value in any_json()) {
        prop_assert_eq!(from_ref::<Value>(&value).unwrap(), value);
    }

    #[test]
    fn no_value_makes_the_reader_panic(value in any_json()) {
        let _ = from_ref::<Conf>(&value);
        let _ = from_ref::<(u8, Option<Conf>)>(&value);
    }
}
