//! The rules of the house that a compiler does not check: which crate may see which, where the kernel is touched, how long a file is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that cannot go on is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Who may depend on whom among the workspace's crates.
const ARROWS: [(&str, &[&str]); 9] = [
    ("net", &[]),
    ("cni", &[]),
    ("lab", &[]),
    ("netattach-crd", &["cni"]),
    ("etcd-subnet", &["cni"]),
    ("delegates", &["cni", "net"]),
    ("overlay", &["etcd-subnet", "net"]),
    ("plexus", &["cni", "net", "delegates", "netattach-crd", "etcd-subnet", "overlay", "lab"]),
    ("plexus-tests", &["cni", "net", "delegates", "netattach-crd", "etcd-subnet", "overlay", "lab", "plexus"]),
];

/// What a crate must not get, not even by way of another crate.
const OUT_OF_SIGHT: [(&str, &[&str]); 5] = [
    ("delegates", &["kube", "etcd-client", "etcd-subnet", "netattach-crd"]),
    ("netattach-crd", &["net", "kube", "etcd-client", "tokio", "nix", "libc", "netlink-sys"]),
    ("etcd-subnet", &["net", "kube", "netlink-sys", "netlink-packet-core", "rtnetlink"]),
    ("cni", &["net", "tokio", "kube", "netlink-sys"]),
    ("overlay", &["kube", "delegates"]),
];

/// What a crate must not name among its own dependencies.
const NOT_NAMED: [(&str, &[&str]); 2] =
    [("delegates", &["tokio", "libc", "nix", "netlink-sys"]), ("plexus", &["libc", "netlink-sys"])];

const LONGEST_FILE: usize = 500;

#[test]
fn crates_of_the_workspace_see_only_the_layers_below_them() {
    let graph = Graph::read();
    for (name, allowed) in ARROWS {
        for dependency in graph.named(name).intersection(&graph.members) {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
    let listed: BTreeSet<_> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(graph.members, listed, "every crate of the workspace has its arrows");
}

#[test]
fn no_layer_gets_what_it_must_not_see_by_way_of_another() {
    let graph = Graph::read();
    for (name, banned) in OUT_OF_SIGHT {
        let reached = graph.reached(name);
        for other in banned {
            assert!(!reached.contains(*other), "{name} gets {other}: {}", graph.way(name, other));
        }
    }
    for (name, banned) in NOT_NAMED {
        let named = graph.named(name);
        for other in banned {
            assert!(!named.contains(*other), "{name} must not name {other} among its dependencies");
        }
    }
}

#[test]
fn unsafe_code_is_allowed_nowhere_but_in_net() {
    let allowance = concat!("allow(", "unsafe_code");
    for file in sources("rs") {
        let inside = file.strip_prefix(root()).unwrap().starts_with("net");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(inside || !text.contains(allowance), "{} allows unsafe code", file.display());
    }
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"deny\""), "the workspace denies unsafe code");
    for member in &Graph::read().manifests {
        let text = std::fs::read_to_string(member).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{} does not take the workspace's lints", member.display());
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    for file in sources("rs").into_iter().chain(sources("py")) {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines, more than {LONGEST_FILE}", file.display());
    }
}

#[test]
fn every_source_file_says_why_it_exists() {
    for file in sources("rs") {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("//!") || text.starts_with("/*!"),
            "{} does not begin with its purpose",
            file.display()
        );
    }
}

#[test]
fn nothing_is_left_to_be_written() {
    let words = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("TO", "DO"), concat!("FIX", "ME")];
    for file in sources("rs") {
        let text = std::fs::read_to_string(&file).unwrap();
        for word in words {
            assert!(!text.contains(word), "{} holds {word}", file.display());
        }
    }
}

/// The workspace's dependency graph, without what is only for tests and builds.
struct Graph {
    members: BTreeSet<String>,
    manifests: Vec<PathBuf>,
    dependencies: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> Self {
        let mut command = Command::new(env!("CARGO"));
        command.args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ]);
        let output = command.current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let packages: BTreeMap<_, _> =
            list(&metadata["packages"]).map(|package| (text(&package["id"]), package)).collect();
        let name = |id: &Value| text(&packages[&text(id)]["name"]);
        let mut dependencies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let normal = |dependency: &&Value| list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
            let names = list(&node["deps"]).filter(normal).map(|dependency| name(&dependency["pkg"]));
            // two versions of one crate count as one: what is out of sight is so in every version
            dependencies.entry(name(&node["id"])).or_default().extend(names);
        }
        let members: Vec<_> = list(&metadata["workspace_members"]).collect();
        let manifests = members.iter().map(|id| text(&packages[&text(id)]["manifest_path"]).into()).collect();
        Self { members: members.into_iter().map(name).collect(), manifests, dependencies }
    }

    fn named(&self, name: &str) -> BTreeSet<String> {
        self.dependencies.get(name).cloned().unwrap_or_default()
    }

    fn reached(&self, name: &str) -> BTreeSet<String> {
        let (mut reached, mut open) = (BTreeSet::new(), vec![name.to_owned()]);
        while let Some(next) = open.pop() {
            open.extend(self.named(&next).into_iter().filter(|dependency| reached.insert(dependency.clone())));
        }
        reached
    }

    /// Which of the direct dependencies leads there, for the message.
    fn way(&self, from: &str, to: &str) -> String {
        let through: Vec<_> =
            self.named(from).into_iter().filter(|next| next == to || self.reached(next).contains(to)).collect();
        format!("by way of {}", through.join(", "))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The project's own files with this ending.
fn sources(ending: &str) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![root().to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() && !path.is_symlink() && !name.starts_with('.') && name != "target" && name != "bin" {
                open.push(path);
            } else if path.extension().is_some_and(|other| other == ending) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty());
    found
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
