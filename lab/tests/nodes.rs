//! Nodes on an underlay, with the reference plugins of the distribution. Needs root.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on is a failed test")]

use std::path::Path;

use lab::{Lab, inspect};
use serde_json::json;

fn new(name: &str) -> Lab {
    Lab::new(name, Path::new(env!("CARGO_BIN_EXE_lab"))).unwrap()
}

#[test]
fn nodes_reach_each_other_and_see_nothing_of_the_machine() {
    let mut lab = new("nodes");
    let (one, two) = (lab.node("one").unwrap(), lab.node("two").unwrap());
    assert!(inspect::ping_from_node(&one, two.address().into()));
    assert!(inspect::ping_from_node(&two, lab::underlay::GATEWAY.into()));
    let names: Vec<_> = inspect::links_of(&one).unwrap().into_iter().map(|link| link.ifname).collect();
    assert!(names.iter().all(|name| name == "lo" || name == "eth0" || name.ends_with('0')), "{names:?}");
}

#[test]
fn the_files_of_a_node_are_its_own() {
    let mut lab = new("files");
    let (one, two) = (lab.node("one").unwrap(), lab.node("two").unwrap());
    for directory in ["/run/flannel", "/var/lib/cni", "/var/lib/plexus", "/etc/cni/net.d"] {
        let file = format!("{directory}/plexus-lab-test");
        one.write(&file, "one").unwrap();
        assert_eq!(one.run(["cat", &file]).unwrap(), "one");
        assert!(!two.exists(&file) && !Path::new(&file).exists(), "{file} leaked");
    }
    // what was beside them is still there
    assert_eq!(one.run(["cat", "/etc/passwd"]).unwrap(), std::fs::read_to_string("/etc/passwd").unwrap());
}

#[test]
fn a_reference_plugin_attaches_and_leaves_nothing() {
    if !Path::new("/usr/lib/cni/bridge").exists() {
        println!("SKIPPED: containernetworking-plugins is not installed");
        return;
    }
    let mut lab = new("reference");
    let node = lab.node("one").unwrap();
    let conf = json!({
        "cniVersion": "1.0.0",
        "name": "net",
        "plugins": [{
            "type": "bridge", "bridge": "br-net", "isGateway": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.8.0/24"}]]},
        }],
    });
    let runtime = lab.runtime(&node, &conf).unwrap();
    let before = node.snapshot().unwrap();
    let mut pod = node.pod("default", "pod1").unwrap();
    let added = runtime.add(&mut pod).unwrap();
    assert_eq!(added.result["ips"][0]["address"], "10.9.8.2/24");
    assert_eq!(inspect::address_in(&node, &pod, "eth0").unwrap().to_string(), "10.9.8.2/24");
    assert!(inspect::ping_from(&node, &pod, "eth0", "10.9.8.1".parse().unwrap()));
    let during = node.snapshot().unwrap();
    assert!(!during.leftovers_since(&before, &["br-net"], &[&pod.container]).is_empty(), "the snapshot sees nothing");
    for expected in
        ["file /var/lib/cni/networks/net/10.9.8.2", "directory /var/lib/cni/networks/net", "link br-net kind bridge "]
    {
        assert!(during.lines().any(|line| line.starts_with(expected)), "{expected} is not in {during:#?}");
    }
    runtime.del(&mut pod).unwrap();
    node.remove_sandbox(&pod).unwrap();
    let after = node.snapshot().unwrap();
    let left = after.leftovers_since(&before, &["br-net"], &[&pod.container, "10.9.8.2"]);
    assert!(left.is_empty(), "left behind:\n{}", lab::snapshot::text(&left));
}

#[test]
fn a_daemon_is_killed_with_its_value_and_its_log_is_kept() {
    let mut lab = new("daemon");
    let node = lab.node("one").unwrap();
    let mut daemon = node.daemon(["sh", "-c", "echo started; exec sleep 1000"]).unwrap();
    let process = format!("/proc/{}", daemon.pid());
    daemon.wait_until("its first line", std::time::Duration::from_secs(10), || true).unwrap();
    while daemon.log().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(daemon.log(), "started\n");
    assert!(Path::new(&process).exists());
    drop(daemon);
    assert!(!Path::new(&process).exists());
}

#[test]
fn three_members_of_etcd_accept_only_clients_with_a_certificate() {
    if std::process::Command::new("etcd").arg("--version").output().is_err() {
        println!("SKIPPED: etcd is not installed");
        return;
    }
    let mut lab = new("etcd");
    let node = lab.node("one").unwrap();
    let mut etcd = lab::Etcd::start(&mut lab, 3).unwrap();
    etcd.etcdctl(["put", "key", "value"]).unwrap();
    etcd.kill_member(1).unwrap();
    assert_eq!(etcd.etcdctl(["get", "key", "--print-value-only"]).unwrap().trim(), "value");
    let endpoints = format!("--endpoints={}", etcd.endpoints().join(","));
    let anonymous =
        node.run(["etcdctl", &endpoints, "--insecure-skip-tls-verify", "--command-timeout=1s", "get", "key"]);
    assert!(anonymous.is_err());
    etcd.restart_member(&lab, 1).unwrap();
}
