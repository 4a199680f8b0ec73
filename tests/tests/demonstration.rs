//! The demonstration is itself a test: it checks every statement it shows. Needs root.

#![allow(clippy::panic, reason = "a helper that cannot go on is a failed test")]

use std::process::Command;

use lab::program;

#[test]
fn everything_the_demonstration_states_holds_with_leases_in_files() {
    succeeds("file");
}

#[test]
fn everything_the_demonstration_states_holds_with_leases_in_etcd() {
    if Command::new("etcd").arg("--version").output().is_err() {
        println!("SKIPPED: etcd is not installed");
        return;
    }
    succeeds("etcd");
}

#[track_caller]
fn succeeds(store: &str) {
    let program = program::built().unwrap_or_else(|error| panic!("{error:#}"));
    let output = Command::new(program).args(["lab", "demo", "--store", store]).output();
    let demo = output.unwrap_or_else(|error| panic!("{error}"));
    let shown = String::from_utf8_lossy(&demo.stdout);
    assert!(demo.status.success(), "{shown}{}", String::from_utf8_lossy(&demo.stderr));
    assert!(shown.contains("checks hold"), "{shown}");
    assert!(!shown.contains('\x1b'), "colours belong on a terminal");
}
