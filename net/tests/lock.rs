//! Locks between threads, processes, and the children of killed processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, helpers too"
)]

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use net::lock::{LockError, LockFile, flock};
use net::process::{Command, run};

/// Longer than any machine needs, so that only a hang runs into it.
const LONG: Duration = Duration::from_secs(60);

/// Between fork and exec a child of one test holds the descriptors of all: these tests run one at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shell<'a>(arguments: &'a [String; 2]) -> Command<'a> {
    Command {
        program: "/bin/sh",
        arguments,
        environment: &[],
        stdin: b"",
        deadline: LONG,
        max_output: 64 << 10,
        inherit: &[],
    }
}

fn script(text: &str) -> [String; 2] {
    ["-c".to_owned(), text.to_owned()]
}

fn lock_file(directory: &Path) -> LockFile {
    LockFile::new(directory.join("state/locks"))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(30)
}

#[test]
fn one_key_has_one_holder_and_other_keys_are_free() {
    let _turn = turn();
    let directory = tempfile::tempdir().unwrap();
    let locks = lock_file(directory.path());
    let held = locks.acquire("pod-a", soon()).unwrap();
    let error = locks.acquire("pod-a", soon()).unwrap_err();
    assert!(matches!(&error, LockError::Deadline { what, .. } if what == "pod-a"), "{error}");
    let _other = locks.acquire("pod-b", soon()).unwrap();
    drop(held);
    let _again = locks.acquire("pod-a", soon()).unwrap();
}

#[test]
fn threads_take_turns() {
    let _turn = turn();
    let directory = tempfile::tempdir().unwrap();
    let locks = lock_file(directory.path());
    let counter = directory.path().join("counter");
    fs::write(&counter, "0").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let _lock = locks.acquire("counter", Instant::now() + LONG).unwrap();
                    let count: u32 = fs::read_to_string(&counter).unwrap().parse().unwrap();
                    fs::write(&counter, (count + 1).to_string()).unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_to_string(&counter).unwrap(), "200");
}

/// Holds a lock in a process that is then killed, while a child that inherited the lock lives on.
#[test]
fn a_child_keeps_the_lock_of_its_killed_parent_until_it_is_ended() {
    let _turn = turn();
    let directory = tempfile::tempdir().unwrap();
    let locks = lock_file(directory.path());
    let guard = locks.acquire("pod", soon()).unwrap();
    // Standing in for the parent: a description that only the child holds once we have let go of it.
    let inherited = [guard.as_fd()];
    let text = script("exec sleep 1000 >/dev/null 2>&1 </dev/null &");
    let command = Command { inherit: &inherited, ..shell(&text) };
    assert!(run(&command).unwrap().is_success());
    let found = locks.holders("pod").unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(locks.holders("other pod").unwrap(), []);
    // Closing without unlocking is what a kill does.
    close_without_unlocking(guard);
    assert!(matches!(locks.acquire("pod", soon()), Err(LockError::Deadline { .. })));
    assert_eq!(locks.kill_holders("pod", Instant::now() + LONG).unwrap(), found);
    let _free = locks.acquire("pod", Instant::now() + LONG).unwrap();
}

fn close_without_unlocking(guard: net::lock::Guard) {
    let fd = std::os::fd::AsRawFd::as_raw_fd(&guard.as_fd());
    std::mem::forget(guard);
    nix::unistd::close(fd).unwrap();
}

#[test]
fn a_released_lock_is_free_even_if_a_daemon_inherited_it() {
    let _turn = turn();
    let directory = tempfile::tempdir().unwrap();
    let locks = lock_file(directory.path());
    let guard = locks.acquire("pod", soon()).unwrap();
    let inherited = [guard.as_fd()];
    let text = script("exec sleep 1000 >/dev/null 2>&1 </dev/null &");
    assert!(run(&Command { inherit: &inherited, ..shell(&text) }).unwrap().is_success());
    drop(guard);
    drop(locks.acquire("pod", soon()).unwrap());
    assert_eq!(locks.holders("pod").unwrap(), []);
    process_end(&locks);
}

#[test]
fn a_directory_lock_is_the_one_flock_takes() {
    let _turn = turn();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net/lock");
    let held = flock(&path, 0o750, soon()).unwrap();
    let mode = path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o750);
    let arguments = script(&format!("flock -n {} true", path.display()));
    assert_eq!(run(&shell(&arguments)).unwrap().status, Some(1));
    assert!(matches!(flock(&path, 0o750, soon()), Err(LockError::Deadline { .. })));
    drop(held);
    assert_eq!(run(&shell(&arguments)).unwrap().status, Some(0));
}

/// Ends the daemon of the test, which has the file open still.
fn process_end(locks: &LockFile) {
    assert_eq!(net::process::kill_holders(locks.path(), None, Instant::now() + LONG).unwrap().len(), 1);
}
