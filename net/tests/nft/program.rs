//! `nft`, the independent reader.

use std::io::Write;
use std::process::{Command, Stdio};

/// Whether `nft` is installed; says so when it is not.
pub(super) fn nft_is_missing() -> bool {
    let missing = Command::new("nft").arg("--version").output().is_err();
    if missing {
        eprintln!("skipped: nft is not installed");
    }
    missing
}

/// Runs `nft` in the namespace of the calling thread and returns what it printed.
pub(super) fn nft(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("nft");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {arguments:?}: {errors}\n{input}");
    String::from_utf8(output.stdout).unwrap()
}

/// The ruleset of the namespace as `nft` prints it.
pub(super) fn listing() -> String {
    nft(&["list", "ruleset"], "")
}
