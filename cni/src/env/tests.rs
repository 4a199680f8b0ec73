//! The environment contract, rule by rule.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;

use super::*;
use crate::error::code;

const FULL: [(&str, &str); 6] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "c0ffee"),
    ("CNI_NETNS", "/run/netns/a"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_ARGS", "K8S_POD_NAME=a"),
    ("CNI_PATH", "/opt/cni/bin::/usr/lib/cni"),
];

/// The full environment with some variables changed; the empty text is as good as absent.
fn read(changes: &[(&str, &str)]) -> Result<Option<Request>, Error> {
    let mut variables: BTreeMap<&str, &str> = FULL.into();
    variables.extend(changes.iter().copied());
    Request::from_lookup(|name| variables.get(name).map(OsString::from))
}

#[test]
fn a_full_environment_is_read() {
    assert_eq!(
        read(&[]).unwrap().unwrap(),
        Request {
            command: Command::Add,
            container_id: "c0ffee".into(),
            netns: Some("/run/netns/a".into()),
            ifname: "eth0".into(),
            args: "K8S_POD_NAME=a".into(),
            path: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()],
            netns_override: false,
        }
    );
}

#[test]
fn without_a_verb_there_is_no_request() {
    assert_eq!(read(&[("CNI_COMMAND", "")]).unwrap(), None);
    assert_eq!(Request::from_lookup(|_| None).unwrap(), None);
}

#[test]
fn every_verb_requires_its_own_variables() {
    let nothing = [("CNI_CONTAINERID", ""), ("CNI_NETNS", ""), ("CNI_IFNAME", ""), ("CNI_ARGS", ""), ("CNI_PATH", "")];
    for (verb, missing) in [
        ("ADD", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("DEL", "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
    ] {
        let changes = [&nothing[..], &[("CNI_COMMAND", verb)]].concat();
        let error = read(&changes).unwrap_err();
        assert_eq!(error.code, code::INVALID_ENVIRONMENT, "{verb}");
        assert_eq!(error.msg, format!("required env variables [{missing}] missing"), "{verb}");
    }
    let changes = [&nothing[..], &[("CNI_COMMAND", "VERSION")]].concat();
    assert_eq!(read(&changes).unwrap().unwrap().command, Command::Version);
}

#[test]
fn one_missing_variable_is_named_alone_and_arguments_are_optional() {
    let error = read(&[("CNI_NETNS", "")]).unwrap_err();
    assert_eq!(error.msg, "required env variables [CNI_NETNS] missing");
    assert_eq!(read(&[("CNI_ARGS", "")]).unwrap().unwrap().args, "");
    assert_eq!(read(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", "")]).unwrap().unwrap().netns, None);
}

#[test]
fn an_unknown_verb_is_refused() {
    for verb in ["add", "ADD ", "UPDATE"] {
        let error = read(&[("CNI_COMMAND", verb)]).unwrap_err();
        assert_eq!((error.code, error.msg), (code::INVALID_ENVIRONMENT, format!("unknown CNI_COMMAND: {verb}")));
    }
}

#[test]
fn names_are_checked_before_anything_else_is_missing() {
    for (name, value) in [("CNI_CONTAINERID", "../x"), ("CNI_IFNAME", "sixteen-letters!"), ("CNI_IFNAME", "..")] {
        let error = read(&[(name, value), ("CNI_PATH", "")]).unwrap_err();
        assert_eq!(error.code, code::INVALID_ENVIRONMENT);
        assert!(!error.msg.contains("missing"), "{error}");
    }
}

#[test]
fn names_a_verb_does_not_need_are_not_checked() {
    for verb in ["GC", "STATUS", "VERSION"] {
        assert!(read(&[("CNI_COMMAND", verb), ("CNI_CONTAINERID", "../x"), ("CNI_IFNAME", "a/b")]).is_ok(), "{verb}");
    }
}

#[test]
fn a_value_that_is_not_text_is_refused_by_name_except_in_paths() {
    for (name, _) in FULL {
        let request = Request::from_lookup(|other| {
            if other == name {
                return Some(OsString::from_vec(vec![b'/', 0xff]));
            }
            FULL.iter().find(|(known, _)| *known == other).map(|(_, value)| value.into())
        });
        match name {
            "CNI_NETNS" | "CNI_PATH" => assert!(request.is_ok(), "{name}"),
            _ => assert_eq!(request.unwrap_err().msg, format!("{name} is not UTF-8")),
        }
    }
}

#[test]
fn verbs_exist_from_some_version_on() {
    for (command, first) in [
        (Command::Add, Version::V0_1_0),
        (Command::Del, Version::V0_1_0),
        (Command::Version, Version::V0_1_0),
        (Command::Check, Version::V0_4_0),
        (Command::Gc, Version::V1_1_0),
        (Command::Status, Version::V1_1_0),
    ] {
        for version in SUPPORTED {
            let allowed = command.allowed_in(version);
            assert_eq!(allowed.is_ok(), version >= first, "{command:?} in {version}");
            if let Err(error) = allowed {
                let expected = format!("config version does not allow {}", command.name());
                assert_eq!((error.code, error.msg), (code::INCOMPATIBLE_VERSION, expected));
            }
        }
    }
}

#[test]
fn the_plugins_own_namespace_is_refused_unless_asked_for() {
    let own = NamespaceIdentity { device: 4, inode: 4026531840 };
    let other = NamespaceIdentity { device: 4, inode: 4026532000 };
    for (value, overridden) in
        [("", false), ("0", false), ("false", false), ("yes", false), ("1", true), ("True", true)]
    {
        let request = read(&[("CNI_NETNS_OVERRIDE", value)]).unwrap().unwrap();
        assert!(request.refuse_own_netns(own, other).is_ok());
        assert_eq!(request.refuse_own_netns(own, own).map_err(|error| error.code).is_ok(), overridden, "{value:?}");
    }
    let error = read(&[]).unwrap().unwrap().refuse_own_netns(own, own).unwrap_err();
    assert_eq!(error.code, code::INVALID_NETNS);
}

#[test]
fn version_and_about_list_every_version() {
    assert_eq!(
        version_answer().to_string(),
        r#"{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}"#
    );
    assert!(about("CNI plugin plexus 1.2.3").starts_with("CNI plugin plexus 1.2.3\n"));
    assert!(about("x").contains("0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"));
}

/// Mostly sane values, so that the deeper checks are reached.
fn any_value(sane: &'static str) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => Just(sane.as_bytes().to_vec()), 1 => any::<Vec<u8>>(), 1 => Just(Vec::new())]
}

proptest! {
    #[test]
    fn an_accepted_request_has_what_its_verb_needs(
        verb in prop_oneof![4 => prop::sample::select(Command::ALL.map(|command| command.name()).to_vec())
            .prop_map(|verb| verb.as_bytes().to_vec()), 1 => any::<Vec<u8>>()],
        id in any_value("c0ffee"), netns in any_value("/run/netns/a"), ifname in any_value("eth0"),
        args in any_value("A=B"), path in any_value("/opt/cni/bin"), overridden in any_value("1"),
    ) {
        let values = [verb, id, netns, ifname, args, path, overridden];
        let contract = [variable::COMMAND, variable::CONTAINER_ID, variable::NETNS, variable::IFNAME, variable::ARGS,
            variable::PATH, variable::NETNS_OVERRIDE];
        let lookup = |name: &str| {
            let place = contract.iter().position(|other| *other == name)?;
            Some(OsString::from_vec(values[place].clone()))
        };
        match Request::from_lookup(lookup) {
            Ok(None) => prop_assert!(values[0].is_empty()),
            Ok(Some(request)) => {
                if request.command.names_an_attachment() {
                    names::container_id(&request.container_id).unwrap();
                    names::interface(&request.ifname).unwrap();
                }
                prop_assert!(request.netns.is_some() || !request.command.requires(variable::NETNS));
                prop_assert!(request.path.iter().all(|directory| !directory.as_os_str().is_empty()));
            }
            Err(error) => prop_assert_eq!(error.code, code::INVALID_ENVIRONMENT),
        }
    }
}
