//! Whatever a user writes, the readers answer; and what is written as an annotation, a status or a manifest reads back
//! as it was.

use netattach_crd::status::{self, Dns, Entry};
use netattach_crd::{Address, Bandwidth, Guid, Mac, PortMapping, Protocol, Selection, annotation, manifest};
use proptest::collection::{hash_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

const NAME: &str = "[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?(\\.[a-z0-9]{1,4})?";
const LABEL: &str = "[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?";

fn ip() -> impl Strategy<Value = IpAddr> {
    let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
        .prop_filter("usable", usable)
}

fn address() -> impl Strategy<Value = Address> {
    (ip(), option::of(0..=32_u8)).prop_map(|(ip, prefix)| Address { ip, prefix })
}

fn distinct<T: Clone + std::fmt::Debug + std::hash::Hash + Eq + 'static>(
    one: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<T>> {
    hash_set(one, 0..3).prop_map(|set| set.into_iter().collect())
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(|mut bytes| {
        bytes[0] &= 0xfe;
        bytes[5] |= 1;
        Mac(bytes)
    })
}

fn guid() -> impl Strategy<Value = Guid> {
    any::<[u8; 8]>().prop_map(|mut bytes| {
        bytes[7] |= 1;
        Guid(bytes)
    })
}

fn mappings() -> impl Strategy<Value = Vec<PortMapping>> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    let mapping = (1..=u16::MAX, protocol, option::of(ip()), 1..=u16::MAX);
    let mappings = hash_set(mapping, 0..3);
    mappings.prop_map(|set| {
        let mut taken = std::collections::HashSet::new();
        let mapping = |(host_port, protocol, host_ip, container_port)| PortMapping {
            host_port,
            container_port,
            protocol,
            host_ip,
        };
        set.into_iter().map(mapping).filter(|mapping| taken.insert(mapping.host_port)).collect()
    })
}

fn bandwidth() -> impl Strategy<Value = Bandwidth> {
    (1..u64::MAX, 1..1_u64 << 34).prop_map(|(rate, burst)| Bandwidth {
        egress_rate: rate,
        egress_burst: burst,
        ..Bandwidth::default()
    })
}

fn arguments() -> impl Strategy<Value = Map<String, Value>> {
    vec((".*", any::<i64>()), 0..3)
        .prop_map(|entries| entries.into_iter().map(|(key, value)| (key, json!([value]))).collect())
}

/// One element; interfaces and ports of several elements would clash, so there is one.
fn selection() -> impl Strategy<Value = Selection> {
    let names = (NAME, LABEL, option::of("[a-zA-Z0-9@._-]{4,15}"));
    let addresses = (distinct(address()), option::of(mac()), option::of(guid()), option::of(distinct(ip())));
    let rest = (
        mappings(),
        option::of(bandwidth()),
        option::of(arguments()),
        option::of("[a-z0-9:./-]{1,9}[a-z]"),
        option::of(NAME),
    );
    (names, addresses, rest).prop_map(|((name, namespace, interface), (ips, mac, guid, gateways), rest)| {
        let (port_mappings, bandwidth, cni_args, device_id, claim) = rest;
        Selection {
            name,
            namespace,
            interface,
            ipam_claim: claim.filter(|_| ips.is_empty()),
            ips,
            mac,
            infiniband_guid: guid,
            port_mappings,
            bandwidth,
            cni_args,
            default_route: gateways,
            device_id: device_id.filter(|id| !id.contains("..")),
            extensions: [("example.com/x".to_owned(), json!({"y": 1}))].into_iter().collect(),
        }
    })
}

/// JSON that resembles an annotation closely enough to get deep into the reader.
fn resembling() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("name"),
        Just("namespace"),
        Just("ips"),
        Just("mac"),
        Just("infiniband-guid"),
        Just("interface"),
        Just("Interface"),
        Just("portMappings"),
        Just("hostPort"),
        Just("bandwidth"),
        Just("ingressRate"),
        Just("cni-args"),
        Just("default-route"),
        Just("x.y/z"),
        Just("w")
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        Just(json!("10.0.0.1"))
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key.clone(), inner), 0..4).prop_map(|entries| entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<Map<_, _>>()
                .into())
        ]
    })
}

proptest! {
    #[test]
    fn any_text_as_an_annotation_has_an_answer(text in ".{0,80}", namespace in LABEL) {
        let _ = annotation::parse(&text, &namespace);
        let _ = annotation::parse(&format!("[{text}"), &namespace);
    }

    #[test]
    fn any_json_as_an_annotation_has_an_answer_that_names_the_fault(value in resembling()) {
        let text = json!([value]).to_string();
        if let Err(faults) = annotation::parse(&text, "default") {
            prop_assert!(!faults.0.is_empty());
            prop_assert!(faults.0.iter().all(|fault| fault.element.is_some() && !fault.problem.is_empty()), "{}", faults);
        }
    }

    #[test]
    fn any_text_as_a_manifest_has_an_answer(text in "([a-z:'\"{}\\[\\]&*|>#!%@` -]|\n|\t|---\n){0,80}") {
        let _ = manifest::parse(&text);
    }

    #[test]
    fn any_json_as_a_manifest_has_an_answer(metadata in resembling(), spec in resembling()) {
        for (version, kind) in [("v1", "Pod"), ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition"), ("v1", "List")] {
            let object = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec, "items": spec});
            let _ = manifest::parse(&object.to_string());
        }
    }

    #[test]
    fn what_is_written_as_an_annotation_reads_back(selection in selection()) {
        let text = annotation::format(std::slice::from_ref(&selection));
        prop_assert_eq!(annotation::parse(&text, "elsewhere"), Ok(vec![selection]), "{}", text);
    }

    #[test]
    fn the_short_form_says_what_the_json_form_says(items in vec((NAME, LABEL), 1..4), interface in "[a-z]{4,15}") {
        let short = items.iter().enumerate().map(|(i, (name, namespace))| match i {
            0 => format!("{namespace}/{name}@{interface}"),
            _ => format!("{namespace}/{name}"),
        });
        let short = short.collect::<Vec<_>>().join(" , ");
        let parsed = annotation::parse(&short, "elsewhere").unwrap();
        prop_assert_eq!(annotation::parse(&annotation::format(&parsed), "other").unwrap(), parsed);
    }

    #[test]
    fn what_is_written_as_a_status_reads_back(name in ".{0,9}", ips in vec(ip(), 0..3), mtu in any::<u32>(), default in any::<bool>(), search in vec(".{0,5}", 0..3)) {
        let dns = Dns { search, ..Dns::default() };
        let entry = Entry { name, default_route: ips.clone(), ips, mtu, default, dns, ..Entry::default() };
        let entries = vec![entry.clone(), entry];
        prop_assert_eq!(status::parse(&status::print(&entries)).unwrap(), entries);
    }
}
