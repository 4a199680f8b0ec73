//! Namespaces for tests: each test gets its own node and pods on threads that end with it.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of this")]

use std::thread;

use net::Mac;
use net::netlink::{Protocol, Socket};
use net::ns::Namespace;
use net::op::VethEnd;
use net::snapshot::Snapshot;
use nix::sched::{CloneFlags, unshare};

/// Runs a test on a thread of its own inside a fresh network namespace, the node.
pub fn on_a_node<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("this test makes network namespaces and must run as root");
            test()
        };
        match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A fresh namespace that lives as long as the value.
pub fn pod() -> Namespace {
    on_a_node(|| Namespace::current().unwrap())
}

/// A route-netlink socket in the namespace of the calling thread.
pub fn socket() -> Socket {
    Socket::open(Protocol::Route).unwrap()
}

/// A route-netlink socket in a namespace.
pub fn socket_in(namespace: &Namespace) -> Socket {
    Socket::open_in(Protocol::Route, namespace).unwrap()
}

/// One end of a veth.
pub fn end(name: &str, index: u32) -> VethEnd {
    VethEnd { name: name.to_owned(), index, mac: mac(index) }
}

/// A unicast address that is different for every number.
pub fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    Mac([0x0a, 0x58, a, b, c, d])
}

/// Everything configured in the namespace of a socket.
pub fn snapshot(socket: &mut Socket) -> Snapshot {
    Snapshot::take(socket).unwrap()
}

/// Fails with a readable list when something is there that was not before, or the other way round.
#[track_caller]
pub fn assert_same(before: &Snapshot, after: &Snapshot) {
    let difference = after.since(before);
    assert!(difference.is_empty(), "the namespace is not as it was:\n{difference}");
}
