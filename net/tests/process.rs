//! Children that misbehave.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, helpers too"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use net::process::{Command, Outcome, run};

/// Longer than any machine needs, so that only a hang runs into it.
const LONG: Duration = Duration::from_secs(60);

fn shell<'a>(arguments: &'a [String; 2], deadline: Duration) -> Command<'a> {
    Command {
        program: "/bin/sh",
        arguments,
        environment: &[],
        stdin: b"",
        deadline,
        max_output: 64 << 10,
        inherit: &[],
    }
}

fn script(text: &str) -> [String; 2] {
    ["-c".to_owned(), text.to_owned()]
}

fn sh(text: &str, deadline: Duration) -> Outcome {
    run(&shell(&script(text), deadline)).unwrap()
}

fn is_alive(pid: &str) -> bool {
    // A zombie that nobody has collected yet is as dead as can be.
    fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

#[track_caller]
fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "never became true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn output_error_output_and_status_are_told_apart() {
    let outcome = sh("echo out; echo err >&2; exit 7", LONG);
    let expected =
        Outcome { status: Some(7), stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec(), ..Outcome::default() };
    assert_eq!(outcome, expected);
    assert!(!outcome.is_success());
}

#[test]
fn a_signal_is_told_from_a_status() {
    let outcome = sh("kill -TERM $$", LONG);
    assert_eq!((outcome.status, outcome.signal), (None, Some(libc::SIGTERM)));
}

#[test]
fn the_environment_is_just_what_was_given() {
    let environment = [("CNI_COMMAND".to_owned(), "ADD".to_owned())];
    let arguments = script("env");
    let command = Command { environment: &environment, ..shell(&arguments, LONG) };
    let printed = String::from_utf8(run(&command).unwrap().stdout).unwrap();
    // The shell adds its working directory and nothing else.
    let mut inherited = printed.lines().filter(|line| !line.starts_with("PWD=") && !line.starts_with("_="));
    assert_eq!((inherited.next(), inherited.next()), (Some("CNI_COMMAND=ADD"), None), "{printed}");
}

#[test]
fn an_input_larger_than_a_pipe_comes_back_while_it_is_still_being_fed() {
    let input = vec![b'x'; 3 << 20];
    let arguments = script("cat");
    let command = Command { stdin: &input, max_output: 4 << 20, ..shell(&arguments, LONG) };
    let outcome = run(&command).unwrap();
    assert!(outcome.is_success() && outcome.stdout == input);
}

#[test]
fn a_child_that_does_not_read_its_input_is_no_error() {
    let input = vec![b'x'; 3 << 20];
    let outcome = run(&Command { stdin: &input, ..shell(&script("exec <&-; echo done"), LONG) }).unwrap();
    assert!(outcome.is_success() && outcome.stdout == b"done\n");
}

#[test]
fn a_child_with_nothing_to_read_sees_the_end_of_its_input() {
    assert!(sh("cat", LONG).is_success());
}

#[test]
fn a_child_that_hangs_is_killed_with_its_children_at_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let text = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let outcome = sh(&text, Duration::from_millis(300));
    assert!(outcome.timed_out && outcome.signal == Some(libc::SIGKILL) && !outcome.is_success());
    let pid = fs::read_to_string(&pid).unwrap();
    wait_until(|| !is_alive(&pid));
}

#[test]
fn a_grandchild_that_holds_the_pipes_is_not_waited_for() {
    let outcome = sh("sleep 1000 & echo $!", LONG);
    assert!(outcome.left_children && outcome.is_success(), "{outcome:?}");
    let pid = String::from_utf8(outcome.stdout).unwrap();
    wait_until(|| !is_alive(&pid));
}

#[test]
fn a_daemon_that_let_go_of_the_pipes_lives_on() {
    let outcome = sh("sleep 1000 >/dev/null 2>&1 </dev/null & echo $!", LONG);
    assert!(outcome.is_success() && !outcome.left_children);
    let pid = String::from_utf8(outcome.stdout).unwrap();
    assert!(is_alive(&pid));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.trim().parse().unwrap()), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
}

#[test]
fn a_flood_on_the_output_is_cut_off() {
    let outcome = sh("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", LONG);
    assert!(outcome.overflowed && !outcome.is_success());
    assert_eq!(outcome.stdout.len(), 64 << 10);
}

#[test]
fn of_a_flood_on_the_error_output_the_end_is_kept() {
    let outcome = sh("i=0; while [ $i -lt 5000 ]; do echo line $i >&2; i=$((i+1)); done; echo ok", LONG);
    assert!(outcome.is_success());
    let errors = String::from_utf8(outcome.stderr).unwrap();
    assert!(errors.ends_with("line 4999\n") && errors.len() <= 8 << 10);
}

#[test]
fn a_missing_program_is_an_error_that_names_it() {
    let error = run(&Command { program: "/nonexistent/bridge", ..shell(&script(""), LONG) }).unwrap_err();
    assert_eq!(error.source.raw_os_error(), Some(libc::ENOENT));
    assert!(error.to_string().starts_with("execute /nonexistent/bridge: "), "{error}");
}

#[test]
fn a_program_that_is_being_written_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("plugin");
    fs::copy("/bin/true", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let writer = fs::OpenOptions::new().write(true).open(&program).unwrap();
    let arguments = script("");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(writer);
        });
        let command = Command { program: program.to_str().unwrap(), arguments: &[], ..shell(&arguments, LONG) };
        assert!(run(&command).unwrap().is_success());
    });
}
