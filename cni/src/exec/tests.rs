//! Calling foreign plugins and reading their answers.

use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;
use crate::error::code;
use crate::result::CniResult;
use crate::version::Version;

fn answer(exit: Exit, stdout: &str, stderr: &str) -> Result<CniResult, Error> {
    let output = Output { exit, stdout: stdout.as_bytes(), stdout_truncated: false, stderr: stderr.as_bytes() };
    interpret("bridge", Command::Add, output, Version::V0_3_1)
}

fn succeeded(stdout: &str) -> Result<CniResult, Error> {
    answer(Exit::Status(0), stdout, "")
}

fn failed(stdout: &str, stderr: &str) -> Error {
    answer(Exit::Status(1), stdout, stderr).unwrap_err()
}

#[test]
fn a_result_is_read_in_the_version_of_the_configuration() {
    let result = succeeded(r#"{"ips":[{"version":"4","address":"10.5.7.2/24"}]}"#).unwrap();
    assert_eq!(result.ips[0].address.to_string(), "10.5.7.2/24");
}

#[test]
fn success_without_output_is_an_empty_result() {
    for stdout in ["", "\n", "null"] {
        assert!(succeeded(stdout).unwrap().is_empty(), "{stdout:?}");
    }
}

#[test]
fn success_with_unusable_output_is_an_error_that_says_why() {
    for (stdout, code, text) in [
        ("\0 this is not JSON }{", code::DECODE, r#"plugin "bridge" succeeded but printed something other than JSON"#),
        ("{\"ips\":[", code::DECODE, "something other than JSON"),
        ("{} {}", code::DECODE, "printed 2 JSON documents"),
        ("[]", code::DECODE, r#"the result of plugin "bridge""#),
        (r#"{"ips":[{"address":"x"}]}"#, code::DECODE, "ips[0].address"),
        (r#"{"cniVersion":"2.0.0"}"#, code::INCOMPATIBLE_VERSION, r#"the result of plugin "bridge""#),
        (r#"{"code":11,"msg":"later"}"#, code::TRY_AGAIN_LATER, "later"),
    ] {
        let error = succeeded(stdout).unwrap_err();
        assert_eq!(error.code, code, "{stdout:?}: {error}");
        assert!(error.msg.contains(text), "{stdout:?}: {error}");
    }
}

#[test]
fn output_that_was_cut_off_is_refused_even_if_it_looks_complete() {
    let output = Output { exit: Exit::Status(0), stdout: b"{}", stdout_truncated: true, stderr: b"" };
    let error = interpret("bridge", Command::Add, output, Version::CURRENT).unwrap_err();
    assert!(error.msg.contains("printed more than 2 bytes"), "{error}");
}

#[test]
fn an_error_document_keeps_code_message_and_details() {
    let error = failed(r#"{"cniVersion":"0.3.1","code":101,"msg":"no room","details":"10.5.7.0/24"}"#, "noise");
    assert_eq!(error, Error { code: 101, msg: "no room".into(), details: "10.5.7.0/24".into() });
    assert_eq!(failed(r#"{"Code":7,"MSG":"bad"}"#, "").code, code::INVALID_CONFIG);
    assert_eq!(failed(r#"{"msg":"no code"}"#, "").code, code::INTERNAL);
}

#[test]
fn the_last_of_two_documents_tells_what_failed() {
    let stdout = r#"{"cniVersion":"1.0.0","ips":[]}{"code":8,"msg":"same netns"}"#;
    assert_eq!(failed(stdout, ""), Error::new(8, "same netns"));
    assert_eq!(failed(&format!("{stdout}\nexiting"), ""), Error::new(8, "same netns"));
}

#[test]
fn a_failure_without_error_document_keeps_the_end_of_standard_error() {
    for (stdout, text) in [
        ("", "no error document (exit status 1)"),
        ("panic: oh no", "no usable error document (exit status 1)"),
        (r#"{"ips":[]}"#, "no usable error document"),
        ("{} {", "no usable error document"),
    ] {
        let error = failed(stdout, "first\nlast\n");
        assert_eq!((error.code, error.details.as_str()), (code::INTERNAL, "stderr: first\nlast"), "{stdout:?}");
        assert!(error.msg.contains(text), "{stdout:?}: {error}");
    }
    let error = answer(Exit::Signal(9), "", "").unwrap_err();
    assert_eq!(error.msg, r#"plugin "bridge" failed at ADD with no error document (killed by signal 9)"#);
    assert_eq!(error.details, "");
}

#[test]
fn standard_error_is_repeated_only_in_part_and_standard_output_never() {
    let noise = format!("{}the end", "ü".repeat(100_000));
    let error = failed("echoed secret", &noise);
    assert!(error.details.ends_with("the end") && error.details.chars().count() < 1100, "{}", error.details.len());
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(!succeeded("echoed secret").unwrap_err().to_string().contains("secret"));
}

#[test]
fn only_add_has_a_result() {
    for command in [Command::Del, Command::Check, Command::Gc, Command::Status] {
        let output = Output { exit: Exit::Status(0), stdout: b"anything }{", stdout_truncated: true, stderr: b"" };
        assert!(interpret("bridge", command, output, Version::CURRENT).unwrap().is_empty(), "{command:?}");
        let output = Output { exit: Exit::Status(1), stdout: br#"{"code":50,"msg":"not ready"}"#, ..output };
        assert_eq!(interpret("bridge", command, output, Version::CURRENT).unwrap_err().code, code::NOT_AVAILABLE);
    }
}

#[test]
fn the_answer_to_version_is_read_as_the_reference_does() {
    let read = |stdout: &str| versions("bridge", stdout.as_bytes());
    assert_eq!(
        read(r#"{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}"#).unwrap(),
        [Version::V0_4_0, Version::V1_0_0]
    );
    assert_eq!(read(r#"{"cniVersion":"0.2.0"}"#).unwrap(), [Version::V0_1_0, Version::V0_2_0]);
    for stdout in ["", "{}", r#"{"cniVersion":"1.0.0"}"#, r#"{"supportedVersions":["1.0.0"]}"#, "[]"] {
        let error = read(stdout).unwrap_err();
        assert_eq!(error.code, code::DECODE, "{stdout}");
        assert!(error.msg.contains("bridge"), "{error}");
    }
}

#[test]
fn the_environment_holds_every_name_once() {
    let inherited =
        [("PATH", "/bin"), ("CNI_COMMAND", "DEL"), ("CNI_IFNAME", "eth0"), ("PATH", "/sbin"), ("TRACEPARENT", "00-1")];
    let call = Call {
        command: Command::Add,
        container_id: "c0ffee",
        netns: Some(Path::new("/run/netns/a")),
        ifname: "net1",
        args: &Args::parse("A=1;B=2").unwrap(),
        path: &["/opt/cni/bin".into(), "/usr/lib/cni".into()],
        netns_override: false,
    };
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let environment = call.environment(owned(&inherited));
    let contract = [
        ("PATH", "/bin"),
        ("TRACEPARENT", "00-1"),
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c0ffee"),
        ("CNI_NETNS", "/run/netns/a"),
        ("CNI_IFNAME", "net1"),
        ("CNI_ARGS", "A=1;B=2"),
        ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"),
    ];
    assert_eq!(environment, owned(&contract));

    let gone = Call { netns: None, netns_override: true, ..call }.environment([]);
    assert_eq!(gone[2], ("CNI_NETNS".to_owned(), String::new()));
    assert_eq!(gone.last(), Some(&("CNI_NETNS_OVERRIDE".to_owned(), "1".to_owned())));
}

#[test]
fn the_first_regular_file_of_that_name_is_the_plugin() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    for directory in ["one/bridge", "two", "three"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    fs::write(at("two/bridge"), "").unwrap();
    fs::write(at("three/bridge"), "").unwrap();
    fs::write(at("outside"), "").unwrap();
    symlink("../outside", at("three/linked")).unwrap();
    let directories = [PathBuf::new(), at("absent"), at("one"), at("two"), at("three")];

    assert_eq!(find_plugin("bridge", &directories).unwrap(), at("two/bridge"));
    assert_eq!(find_plugin("linked", &directories).unwrap(), at("three/linked"));
    for kind in ["", ".", "..", "../outside", "/bin/sh"] {
        assert_eq!(find_plugin(kind, &directories).unwrap_err().code, code::INVALID_CONFIG, "{kind}");
    }
    let error = find_plugin("macvlan", &directories).unwrap_err();
    assert_eq!(error.code, code::NOT_AVAILABLE);
    assert!(error.msg.contains("macvlan") && error.msg.contains("three"), "{error}");
    assert!(find_plugin("bridge", &[]).unwrap_err().msg.contains("no directories"));
}

proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic(
        status in -1..3, stdout in any::<Vec<u8>>(), stderr in any::<Vec<u8>>(), stdout_truncated in any::<bool>(),
    ) {
        let output = Output { exit: Exit::Status(status), stdout: &stdout, stdout_truncated, stderr: &stderr };
        for command in Command::ALL {
            let answer = interpret("bridge", command, output, Version::CURRENT);
            prop_assert!(status == 0 || answer.is_err());
        }
        let _ = versions("bridge", &stdout);
    }
}
