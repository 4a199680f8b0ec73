//! Configurations on disk.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use crate::conf::directory::{files, find, load, load_file};
use crate::error::code;

fn directory(contents: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in contents {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

const LIST: &str = r#"{"name":"a","cniVersion":"1.0.0","plugins":[{"type":"from-list"}]}"#;
const SINGLE: &str = r#"{"name":"a","cniVersion":"0.3.1","type":"from-single"}"#;

#[test]
fn lists_come_before_single_configurations_and_each_by_name() {
    let directory = directory(&[
        ("00-a.conf", SINGLE),
        ("90-a.conflist", LIST),
        ("10-c.json", r#"{"name":"c","type":"c"}"#),
        ("05-b.conflist", r#"{"name":"b","plugins":[{"type":"b"}]}"#),
        ("readme.txt", "not a configuration"),
        ("conflist", "no extension"),
    ]);
    let found = load(directory.path()).unwrap();
    let order: Vec<_> = found.networks.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(order, ["05-b.conflist", "90-a.conflist", "00-a.conf", "10-c.json"]);
    assert!(found.broken.is_empty());
    assert_eq!(find(directory.path(), "a").unwrap().plugins[0].kind(), "from-list");
    assert_eq!(find(directory.path(), "c").unwrap().plugins[0].kind(), "c");
}

#[test]
fn a_broken_file_spoils_only_its_own_network() {
    let directory =
        directory(&[("00-broken.conflist", "{"), ("10-a.conflist", LIST), ("20-x.conf", r#"{"name":"x"}"#)]);
    assert_eq!(find(directory.path(), "a").unwrap().name, "a");
    let error = find(directory.path(), "x").unwrap_err();
    assert_eq!(error.code, code::INVALID_CONFIG);
    assert!(error.details.contains("00-broken.conflist") && error.details.contains("20-x.conf"), "{error}");
    let broken: Vec<_> = load(directory.path()).unwrap().broken.into_iter().map(|(path, _)| path).collect();
    assert_eq!(broken, [directory.path().join("00-broken.conflist"), directory.path().join("20-x.conf")]);
}

#[test]
fn a_missing_directory_holds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("absent");
    assert!(load(&missing).unwrap().networks.is_empty());
    assert_eq!(find(&missing, "a").unwrap_err().code, code::INVALID_CONFIG);
    assert_eq!(load_file(&missing).unwrap_err().code, code::IO);
}

#[test]
fn plugins_of_the_networks_own_directory_are_appended() {
    let directory = directory(&[
        ("10-a.conflist", LIST),
        ("a/20-second.conf", r#"{"type":"second"}"#),
        ("a/10-first.conf", r#"{"type":"first"}"#),
        ("a/ignored.json", r#"{"type":"ignored"}"#),
        ("b/10-other.conf", r#"{"type":"other"}"#),
    ]);
    let network = load_file(&directory.path().join("10-a.conflist")).unwrap();
    assert_eq!(
        network.plugins.iter().map(|plugin| plugin.kind()).collect::<Vec<_>>(),
        ["from-list", "first", "second"]
    );
}

#[test]
fn a_list_may_consist_of_its_directory_alone() {
    let text = r#"{"name":"a","cniVersion":"1.1.0"}"#;
    let directory = directory(&[("10-a.conflist", text), ("a/10-first.conf", r#"{"type":"first"}"#)]);
    assert_eq!(load_file(&directory.path().join("10-a.conflist")).unwrap().plugins.len(), 1);
    fs::remove_file(directory.path().join("a/10-first.conf")).unwrap();
    assert_eq!(load_file(&directory.path().join("10-a.conflist")).unwrap_err().code, code::INVALID_CONFIG);
}

#[test]
fn a_list_may_forbid_the_directory() {
    let text = r#"{"name":"a","loadOnlyInlinedPlugins":true,"plugins":[{"type":"inlined"}]}"#;
    let directory = directory(&[("10-a.conflist", text), ("a/10-first.conf", r#"{"type":"first"}"#)]);
    assert_eq!(load_file(&directory.path().join("10-a.conflist")).unwrap().plugins.len(), 1);
}

#[test]
fn a_broken_plugin_of_the_directory_breaks_its_network_and_is_named() {
    let directory = directory(&[("10-a.conflist", LIST), ("a/10-first.conf", r#"{"type":""}"#)]);
    let error = load_file(&directory.path().join("10-a.conflist")).unwrap_err();
    assert!(error.msg.contains("a/10-first.conf"), "{error}");
}

#[test]
fn only_regular_files_are_read_and_links_to_them() {
    let directory = directory(&[("real/a.json", SINGLE), ("sub.conf/x", "")]);
    symlink(directory.path().join("real/a.json"), directory.path().join("link.conf")).unwrap();
    symlink("nowhere", directory.path().join("dangling.conf")).unwrap();
    symlink("/dev/zero", directory.path().join("device.conf")).unwrap();
    assert_eq!(files(directory.path(), &["conf"]).unwrap(), [directory.path().join("link.conf")]);
}

#[test]
fn a_file_beyond_all_measure_is_refused() {
    let text = format!(r#"{{"name":"a","type":"a","x":"{}"}}"#, "x".repeat(5 << 20));
    let directory = directory(&[("10-a.conf", text.as_str())]);
    let error = load_file(&directory.path().join("10-a.conf")).unwrap_err();
    assert!(error.msg.contains("larger than"), "{error}");
}
