//! Every version read and written. The expected texts are what the reference library prints for the same result.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::error::{Error, code};
use crate::gojson::any_json;
use crate::version::SUPPORTED;

/// A result with everything in it, in the form of each group of versions (`$V` stands for the version).
const LEGACY: &str = r#"{"cniVersion":"$V","ip4":{"ip":"10.5.7.2/24","gateway":"10.5.7.1","routes":[{"dst":"10.5.0.0/16"},{"dst":"0.0.0.0/0","gw":"10.5.7.1"}]},"ip6":{"ip":"fd00:5:7::2/64","gateway":"fd00:5:7::1","routes":[{"dst":"::/0","gw":"fd00:5:7::1"}]},"dns":{"nameservers":["10.96.0.10"],"domain":"cluster.local","search":["a","b"],"options":["ndots:5"]}}"#;
const MIDDLE: &str = r#"{"cniVersion":"$V","interfaces":[{"name":"kbr1","mac":"aa:bb:cc:dd:ee:ff"},{"name":"veth0"},{"name":"net1","mac":"0a:58:0a:05:07:02","sandbox":"/run/netns/a"}],"ips":[{"version":"4","interface":2,"address":"10.5.7.2/24","gateway":"10.5.7.1"},{"version":"6","interface":2,"address":"fd00:5:7::2/64","gateway":"fd00:5:7::1"},{"version":"4","address":"10.5.7.3/24"}],"routes":[{"dst":"10.5.0.0/16"},{"dst":"0.0.0.0/0","gw":"10.5.7.1","mtu":1400,"advmss":1360,"priority":100,"table":0,"scope":253},{"dst":"::/0","gw":"fd00:5:7::1"}],"dns":{"nameservers":["10.96.0.10"],"domain":"cluster.local","search":["a","b"],"options":["ndots:5"]}}"#;
const NEWEST: &str = r#"{"cniVersion":"$V","dns":{"domain":"cluster.local","nameservers":["10.96.0.10"],"options":["ndots:5"],"search":["a","b"]},"interfaces":[{"mac":"aa:bb:cc:dd:ee:ff","name":"kbr1"},{"mtu":1450,"name":"veth0"},{"mac":"0a:58:0a:05:07:02","mtu":1450,"name":"net1","pciID":"0000:00:1f.6","sandbox":"/run/netns/a","socketPath":"/s"}],"ips":[{"address":"10.5.7.2/24","gateway":"10.5.7.1","interface":2},{"address":"fd00:5:7::2/64","gateway":"fd00:5:7::1","interface":2},{"address":"10.5.7.3/24"}],"routes":[{"dst":"10.5.0.0/16"},{"advmss":1360,"dst":"0.0.0.0/0","gw":"10.5.7.1","mtu":1400,"priority":100,"scope":253,"table":0},{"dst":"::/0","gw":"fd00:5:7::1"}]}"#;

/// What is left of it after a detour through an older form.
const LEGACY_AS_MIDDLE: &str = r#"{"cniVersion":"$V","ips":[{"version":"4","address":"10.5.7.2/24","gateway":"10.5.7.1"},{"version":"6","address":"fd00:5:7::2/64","gateway":"fd00:5:7::1"}],"routes":[{"dst":"10.5.0.0/16"},{"dst":"0.0.0.0/0","gw":"10.5.7.1"},{"dst":"::/0","gw":"fd00:5:7::1"}],"dns":{"nameservers":["10.96.0.10"],"domain":"cluster.local","search":["a","b"],"options":["ndots:5"]}}"#;
const LEGACY_AS_NEWEST: &str = r#"{"cniVersion":"$V","dns":{"domain":"cluster.local","nameservers":["10.96.0.10"],"options":["ndots:5"],"search":["a","b"]},"ips":[{"address":"10.5.7.2/24","gateway":"10.5.7.1"},{"address":"fd00:5:7::2/64","gateway":"fd00:5:7::1"}],"routes":[{"dst":"10.5.0.0/16"},{"dst":"0.0.0.0/0","gw":"10.5.7.1"},{"dst":"::/0","gw":"fd00:5:7::1"}]}"#;
const MIDDLE_AS_NEWEST: &str = r#"{"cniVersion":"$V","dns":{"domain":"cluster.local","nameservers":["10.96.0.10"],"options":["ndots:5"],"search":["a","b"]},"interfaces":[{"mac":"aa:bb:cc:dd:ee:ff","name":"kbr1"},{"name":"veth0"},{"mac":"0a:58:0a:05:07:02","name":"net1","sandbox":"/run/netns/a"}],"ips":[{"address":"10.5.7.2/24","gateway":"10.5.7.1","interface":2},{"address":"fd00:5:7::2/64","gateway":"fd00:5:7::1","interface":2},{"address":"10.5.7.3/24"}],"routes":[{"dst":"10.5.0.0/16"},{"advmss":1360,"dst":"0.0.0.0/0","gw":"10.5.7.1","mtu":1400,"priority":100,"scope":253,"table":0},{"dst":"::/0","gw":"fd00:5:7::1"}]}"#;

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Form {
    Legacy,
    Middle,
    Newest,
}

fn form(version: Version) -> Form {
    if version < Version::V0_3_0 {
        Form::Legacy
    } else if version < Version::V1_0_0 {
        Form::Middle
    } else {
        Form::Newest
    }
}

fn in_version(text: &str, version: Version) -> String {
    text.replace("$V", &version.to_string())
}

fn written(version: Version) -> String {
    let text = match form(version) {
        Form::Legacy => LEGACY,
        Form::Middle => MIDDLE,
        Form::Newest => NEWEST,
    };
    in_version(text, version)
}

fn converted(from: Version, to: Version) -> String {
    let text = match (form(from), form(to)) {
        (Form::Legacy, Form::Middle) => LEGACY_AS_MIDDLE,
        (Form::Legacy, Form::Newest) => LEGACY_AS_NEWEST,
        (Form::Middle, Form::Newest) => MIDDLE_AS_NEWEST,
        _ => return written(to),
    };
    in_version(text, to)
}

fn read(document: Value) -> CniResult {
    CniResult::from_json(&document, Version::CURRENT).unwrap()
}

fn refusal(document: Value) -> Error {
    CniResult::from_json(&document, Version::CURRENT).unwrap_err()
}

#[test]
fn every_pair_of_versions_converts_as_the_reference_does() {
    for from in SUPPORTED {
        let result = CniResult::from_slice(written(from).as_bytes(), Version::V0_1_0).unwrap();
        for to in SUPPORTED {
            assert_eq!(result.to_json(to).unwrap().to_string(), converted(from, to), "{from} to {to}");
        }
    }
}

#[test]
fn nothing_is_lost_between_reading_and_writing_one_version() {
    for version in SUPPORTED {
        let result = CniResult::from_slice(written(version).as_bytes(), version).unwrap();
        let again = CniResult::from_json(&result.to_json(version).unwrap(), version).unwrap();
        assert_eq!(result, again, "{version}");
    }
    let result = CniResult::from_slice(written(Version::CURRENT).as_bytes(), Version::CURRENT).unwrap();
    let stored = serde_json::to_string(&result).unwrap();
    assert_eq!(serde_json::from_str::<CniResult>(&stored).unwrap(), result);
}

#[test]
fn the_address_keeps_its_host_bits_and_the_index_its_zero() {
    let result = read(json!({
        "interfaces": [{"name": "net1", "sandbox": "/run/netns/a"}], "ips": [{"interface": 0, "address": "10.5.7.2/24"}],
    }));
    assert_eq!(result.ips[0].address.to_string(), "10.5.7.2/24");
    assert_eq!(
        result.to_json(Version::V0_3_1).unwrap().to_string(),
        r#"{"cniVersion":"0.3.1","interfaces":[{"name":"net1","sandbox":"/run/netns/a"}],"ips":[{"version":"4","interface":0,"address":"10.5.7.2/24"}],"dns":{}}"#
    );
    assert_eq!(
        result.to_json(Version::V1_0_0).unwrap().to_string(),
        r#"{"cniVersion":"1.0.0","interfaces":[{"name":"net1","sandbox":"/run/netns/a"}],"ips":[{"address":"10.5.7.2/24","interface":0}]}"#
    );
    assert_eq!(
        result.to_json(Version::V0_1_0).unwrap().to_string(),
        r#"{"cniVersion":"0.1.0","ip4":{"ip":"10.5.7.2/24"},"dns":{}}"#
    );
}

#[test]
fn an_empty_result_can_be_written_from_0_3_0_on() {
    let empty = CniResult::default();
    for version in SUPPORTED {
        let expected = match form(version) {
            Form::Legacy => None,
            Form::Middle => Some(in_version(r#"{"cniVersion":"$V","dns":{}}"#, version)),
            Form::Newest => Some(in_version(r#"{"cniVersion":"$V"}"#, version)),
        };
        assert_eq!(empty.to_json(version).ok().map(|document| document.to_string()), expected, "{version}");
    }
    assert_eq!(empty.to_json(Version::V0_2_0).unwrap_err().code, code::INTERNAL);
}

#[test]
fn no_output_and_null_are_empty_results() {
    for text in ["", " \n", "null", "{}", r#"{"cniVersion":"1.0.0"}"#, r#"{"ips":null,"dns":null}"#] {
        assert!(CniResult::from_slice(text.as_bytes(), Version::V1_0_0).unwrap().is_empty(), "{text}");
    }
}

#[test]
fn a_result_without_version_is_in_the_version_of_the_configuration() {
    let document =
        json!({"ip4": {"ip": "10.5.7.2/24"}, "ips": [{"address": "10.5.8.2/24"}, {"address": "10.5.8.3/24"}]});
    let count = |version| CniResult::from_json(&document, version).unwrap().ips.len();
    assert_eq!((count(Version::V0_2_0), count(Version::V0_3_0), count(Version::V1_1_0)), (1, 2, 2));
    let named = json!({"CNIVersion": "0.2.0", "ip4": {"ip": "10.5.7.2/24"}});
    assert_eq!(read(named).ips.len(), 1);
}

#[test]
fn a_version_from_the_future_is_refused_with_code_1() {
    assert_eq!(refusal(json!({"cniVersion": "2.0.0"})).code, code::INCOMPATIBLE_VERSION);
    let unknown = Version { major: 9, minor: 0, patch: 0 };
    assert_eq!(CniResult::default().to_json(unknown).unwrap_err().code, code::INCOMPATIBLE_VERSION);
}

#[test]
fn the_newer_keys_of_interfaces_do_not_exist_before_1_0_0() {
    let interface = json!([{"name": "net1", "mtu": 1450, "socketPath": "/s", "pciID": "x"}]);
    let old = read(json!({"cniVersion": "0.4.0", "interfaces": interface}));
    assert_eq!(old.interfaces, [Interface { name: "net1".into(), ..Interface::default() }]);
    let new = read(json!({"cniVersion": "1.0.0", "interfaces": interface}));
    assert_eq!((new.interfaces[0].mtu, new.interfaces[0].pci_id.as_str()), (Some(1450), "x"));
}

#[test]
fn what_go_takes_for_nothing_is_nothing() {
    let result = read(json!({
        "interfaces": [{"name": "net1", "mtu": 0, "mac": null}],
        "ips": [{"interface": -1, "address": "10.5.7.2/24", "gateway": ""}],
        "routes": [{"dst": "0.0.0.0/0", "gw": null, "mtu": 0, "priority": 0, "table": null, "scope": 0}],
    }));
    assert_eq!(result.interfaces[0].mtu, None);
    assert_eq!((result.ips[0].interface, result.ips[0].gateway), (None, None));
    let route = Route { scope: Some(0), ..Route::new("0.0.0.0/0".parse().unwrap(), None) };
    assert_eq!(result.routes, [route]);
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_an_ipv4_address() {
    let result = read(json!({"ips": [{"address": "::ffff:10.5.7.2/120", "gateway": "::ffff:10.5.7.1"}]}));
    assert_eq!(result.ips, [Ip::new("10.5.7.2/24".parse().unwrap(), Some("10.5.7.1".parse().unwrap()))]);
}

#[test]
fn a_mistake_is_named_by_its_place() {
    for (document, message) in [
        (
            json!({"ips": [{"address": "10.5.7.2"}]}),
            "ips[0].address: not an address with a prefix length: \"10.5.7.2\"",
        ),
        (json!({"ips": [{"address": "10.5.7.2/33"}]}), "ips[0].address: not an address"),
        (json!({"ips": [{"address": "10.5.7.2/24", "gateway": "x"}]}), "ips[0].gateway: not an IP address: \"x\""),
        (json!({"ips": [{}]}), "ips[0]: missing field `address`"),
        (json!({"routes": [{"dst": "0.0.0.0/0"}, {"gw": "10.0.0.1"}]}), "routes[1]: missing field `dst`"),
        (json!({"routes": [{"dst": "0.0.0.0/0", "scope": 256}]}), "routes[0].scope: invalid value"),
        (json!({"interfaces": {}}), "interfaces: invalid type: object"),
        (json!({"cniVersion": 1}), "cniVersion: invalid type: integer `1`"),
        (json!([]), "invalid type: array"),
    ] {
        let error = refusal(document);
        assert_eq!(error.code, code::DECODE);
        assert!(error.msg.starts_with(message), "{:?} does not start with {message:?}", error.msg);
    }
}

/// Results with every field in play.
fn any_result() -> impl Strategy<Value = CniResult> {
    let address = || {
        any::<(IpAddr, u8)>().prop_filter_map("mapped", |(address, length)| {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            (address.to_canonical() == address).then(|| IpNet::new(address, length % (longest + 1)).ok())?
        })
    };
    let gateway = || prop::option::of(any::<IpAddr>().prop_map(|address| address.to_canonical()));
    let number = || prop::option::of(1u32..);
    let interface =
        ("[a-z0-9]{1,15}", "[a-f0-9:]{0,17}", number(), "[a-z/]{0,8}", "[a-z/]{0,8}", "[a-z/]{0,8}").prop_map(
            |(name, mac, mtu, sandbox, socket_path, pci_id)| Interface { name, mac, mtu, sandbox, socket_path, pci_id },
        );
    let ip = (prop::option::of(0usize..9), address(), gateway()).prop_map(|(interface, address, gateway)| Ip {
        interface,
        address,
        gateway,
    });
    let route =
        (address(), gateway(), number(), number(), number(), any::<Option<u32>>(), any::<Option<u8>>()).prop_map(
            |(dst, gw, mtu, advmss, priority, table, scope)| Route { dst, gw, mtu, advmss, priority, table, scope },
        );
    let texts = || prop::collection::vec("[a-z.:0-9]{1,9}", 0..3);
    let dns = (texts(), "[a-z.]{0,9}", texts(), texts()).prop_map(|(nameservers, domain, search, options)| Dns {
        nameservers,
        domain,
        search,
        options,
    });
    let list = 0..4;
    (
        prop::collection::vec(interface, list.clone()),
        prop::collection::vec(ip, list.clone()),
        prop::collection::vec(route, list),
        dns,
    )
        .prop_map(|(interfaces, ips, routes, dns)| CniResult { interfaces, ips, routes, dns })
}

proptest! {
    #[test]
    fn a_result_survives_the_newest_version(result in any_result()) {
        for version in [Version::V1_0_0, Version::V1_1_0] {
            let document = result.to_json(version).unwrap();
            prop_assert_eq!(&CniResult::from_json(&document, Version::V0_1_0).unwrap(), &result);
        }
    }

    #[test]
    fn converting_down_twice_is_converting_down_once(result in any_result()) {
        for version in SUPPORTED {
            let Ok(document) = result.to_json(version) else { continue };
            let reduced = CniResult::from_json(&document, version).unwrap();
            prop_assert_eq!(reduced.to_json(version).unwrap(), document);
        }
    }

    #[test]
    fn no_document_makes_the_reader_panic(
        interfaces in any_json(), ips in any_json(), routes in any_json(), ip4 in any_json(), dns in any_json(),
        whole in any_json(), version in 0..SUPPORTED.len(),
    ) {
        let assumed = SUPPORTED[version];
        let document = json!({"interfaces": interfaces, "ips": ips, "routes": routes, "ip4": ip4, "dns": dns});
        for document in [document, whole] {
            if let Ok(result) = CniResult::from_json(&document, assumed) {
                let _ = result.to_json(assumed);
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<Vec<u8>>()) {
        let _ = CniResult::from_slice(&text, Version::CURRENT);
    }
}
