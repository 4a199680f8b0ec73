//! Everything a plugin could leave behind on a node, read by other people's tools, and what has changed between two readings.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{Node, command, inspect};

/// Directories whose files belong to plugins and agents.
const STATE: [&str; 5] = ["/var/lib/cni", "/var/lib/plexus", "/run/plexus", "/run/flannel", "/run/cni"];

/// A node as it was at one moment: one line an object, beginning with its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    lines: BTreeSet<String>,
}

impl Snapshot {
    /// Reads links, addresses, routes of all tables, rules, permanent neighbours and forwarding entries, the nftables ruleset, network
    /// namespaces and the files of plugins.
    ///
    /// # Errors
    /// When `ip`, `bridge` or `nft` is missing or fails.
    pub fn take(node: &Node) -> Result<Self> {
        let mut lines = BTreeSet::new();
        links(node, &mut lines)?;
        for (kind, words) in [
            ("route", &["ip", "route", "show", "table", "all"][..]),
            ("route6", &["ip", "-6", "route", "show", "table", "all"]),
            ("rule", &["ip", "rule"]),
            ("neighbour", &["ip", "neigh", "show", "nud", "permanent"]),
            ("forwarding", &["bridge", "fdb", "show"]),
        ] {
            // link-local entries come and go with the links, which have lines of their own
            let own = |line: &&str| !line.contains("fe80::") && !line.contains("ff00::") && !line.contains("multicast");
            let text = node.run(words)?;
            lines.extend(
                text.lines()
                    .filter(own)
                    .filter(|line| kind != "forwarding" || is_fixed(line))
                    .map(|line| entry(kind, line)),
            );
        }
        ruleset(node, &mut lines)?;
        for directory in STATE.iter().map(Path::new).chain([Path::new("/run/netns")]) {
            files(node, directory, &mut lines)?;
        }
        Ok(Self { lines })
    }

    /// What is there now and was not, or was and is not, one line each with `+` or `-`.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let gone = before.lines.difference(&self.lines).map(|line| format!("- {line}"));
        let new = self.lines.difference(&before.lines).map(|line| format!("+ {line}"));
        gone.chain(new).collect()
    }

    /// As [`Self::changes_since`], without what the first pod of a node is allowed to leave: bridges with their addresses and routes,
    /// the directories of stores with their locks and cursors, and nftables objects, as long as none of it names one of `pods` (container ids or addresses).
    #[must_use]
    pub fn leftovers_since(&self, before: &Self, bridges: &[&str], pods: &[&str]) -> Vec<String> {
        let names_pod = |line: &str| pods.iter().any(|pod| names(line, pod));
        let mut changes = self.changes_since(before);
        changes.retain(|line| names_pod(line) || !may_stay(line, bridges));
        changes
    }

    /// Every line.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// Whether `line` holds `word`, and not as a part of a longer number: 10.5.22.2 is not in 10.5.22.255.
fn names(line: &str, word: &str) -> bool {
    let continues = |rest: &str| rest.starts_with(|next: char| next.is_ascii_alphanumeric());
    line.match_indices(word).any(|(at, _)| !line.get(at + word.len()..).is_some_and(continues))
}

fn may_stay(line: &str, bridges: &[&str]) -> bool {
    let Some(line) = line.strip_prefix("+ ") else { return false };
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    match kind {
        "link" | "address" => bridges.iter().any(|bridge| rest.split_whitespace().next() == Some(bridge)),
        "route" | "route6" | "forwarding" => bridges.iter().any(|bridge| rest.contains(&format!("dev {bridge} "))),
        "directory" | "nft" => true,
        "file" => Path::new(rest).file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name == "lock" || name.starts_with("last_reserved_ip.") || name.ends_with(".lock")
        }),
        _ => false,
    }
}

fn entry(kind: &str, line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    // the trailing blank lets a search for "dev kbr1 " find the word wherever it stands
    format!("{kind} {} ", words.join(" "))
}

/// Forwarding entries that somebody has made: neither learned nor those of a link's own multicast groups.
fn is_fixed(line: &str) -> bool {
    let first = line.get(..2).and_then(|octet| u8::from_str_radix(octet, 16).ok());
    let is_multicast = first.is_some_and(|octet| octet & 1 == 1);
    !is_multicast && is_permanent(line)
}

fn is_permanent(line: &str) -> bool {
    line.contains("permanent") || line.contains("static") || line.contains("dst ")
}

fn links(node: &Node, lines: &mut BTreeSet<String>) -> Result<()> {
    for link in inspect::links_of(node)? {
        let of = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".to_owned());
        lines.insert(format!(
            "link {} kind {} mtu {} master {} up {} ",
            link.ifname,
            of(&link.kind()),
            link.mtu,
            of(&link.master),
            link.is_up()
        ));
        for address in link.addr_info.iter().filter(|address| address.scope == "global") {
            lines.insert(format!("address {} {}/{} ", link.ifname, address.local, address.prefixlen));
        }
    }
    Ok(())
}

/// One line an object of the ruleset, without handles and counters.
fn ruleset(node: &Node, lines: &mut BTreeSet<String>) -> Result<()> {
    let text = command::run(node.command("nft").args(["-j", "list", "ruleset"]))
        .with_context(|| format!("on {}", node.name()))?;
    let all: Value = serde_json::from_str(&text).context("read nft's JSON")?;
    for object in all.get("nftables").and_then(Value::as_array).into_iter().flatten() {
        for (kind, value) in object.as_object().into_iter().flatten().filter(|(kind, _)| *kind != "metainfo") {
            let mut value = value.clone();
            let elements = value.as_object_mut().and_then(|object| object.remove("elem"));
            forget_counts(&mut value);
            lines.insert(format!("nft {kind} {value} "));
            let name = value.get("name").and_then(Value::as_str).unwrap_or_default();
            for mut element in elements.as_ref().and_then(Value::as_array).into_iter().flatten().cloned() {
                forget_counts(&mut element);
                lines.insert(format!("nft-element {name} {element} "));
            }
        }
    }
    Ok(())
}

fn forget_counts(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for key in ["handle", "packets", "bytes", "expires"] {
                object.remove(key);
            }
            object.values_mut().for_each(forget_counts);
        }
        Value::Array(all) => all.iter_mut().for_each(forget_counts),
        _ => {}
    }
}

fn files(node: &Node, directory: &Path, lines: &mut BTreeSet<String>) -> Result<()> {
    let entries = match std::fs::read_dir(node.host_path(directory)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("list {}", directory.display())),
    };
    lines.insert(format!("directory {}", directory.display()));
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", directory.display()))?;
        let path = directory.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(node, &path, lines)?;
        } else {
            lines.insert(format!("file {}", path.display()));
        }
    }
    Ok(())
}

/// The changes as text, for a test's failure message.
#[must_use]
pub fn text(changes: &[String]) -> String {
    changes.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "  {line}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(lines: &[&str]) -> Snapshot {
        Snapshot { lines: lines.iter().map(|line| (*line).to_owned()).collect() }
    }

    #[test]
    fn a_change_is_something_new_or_something_gone() {
        let (before, after) = (snapshot(&["link a ", "link b "]), snapshot(&["link b ", "link c "]));
        assert_eq!(after.changes_since(&before), ["- link a ", "+ link c "]);
    }

    #[test]
    fn bridges_and_cursors_may_stay_but_no_veth_and_no_reservation() {
        let before = snapshot(&[]);
        let after = snapshot(&[
            "link kbr1 kind bridge ",
            "address kbr1 10.5.22.1/24 ",
            "route 10.5.22.0/24 dev kbr1 proto kernel ",
            "file /var/lib/cni/networks/flannel.2/last_reserved_ip.0",
            "file /var/lib/cni/networks/flannel.2/10.5.22.2",
            "link veth1 kind veth ",
        ]);
        assert_eq!(
            after.leftovers_since(&before, &["kbr1"], &[]),
            ["+ file /var/lib/cni/networks/flannel.2/10.5.22.2", "+ link veth1 kind veth "]
        );
    }

    #[test]
    fn nothing_that_names_a_pod_may_stay() {
        let after = snapshot(&["directory /var/lib/plexus/abc", "nft-element ports 10.5.22.2 "]);
        assert_eq!(after.leftovers_since(&snapshot(&[]), &[], &["abc", "10.5.22.2"]).len(), 2);
        assert!(!names("broadcast 10.5.22.255 dev kbr1", "10.5.22.2"));
    }
}
