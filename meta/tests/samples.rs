//! Every file of `samples/` is read by the code that reads it in earnest, and every broken one is refused with the
//! message written beside it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that cannot go on is a failed test"
)]

use cni::conf::NetworkList;
use etcd_subnet::config::NetworkConfig;
use netattach_crd::{Nad, Pod, annotation, manifest};
use plexus::agent::config::AgentConfig;
use plexus::config::Config;
use std::fs;
use std::path::{Path, PathBuf};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Reads a file as whoever is meant to read it does; the message of the first refusal.
fn read(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    match path.extension().unwrap().to_str().unwrap() {
        "md" | "expected" => Ok(()),
        "conf" if name.starts_with("plexus") => node(&text),
        "conf" | "conflist" => list(&text, None),
        "json" if name.starts_with("net-conf") => network(&text),
        "yaml" if name.starts_with("agent") => agent(&text),
        "yaml" | "json" => objects(&text),
        _ => panic!("{}: nobody reads such files", path.display()),
    }
}

fn node(text: &str) -> Result<(), String> {
    let config = Config::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    config.check().map_err(|error| error.to_string())?;
    config.inline_delegates().map(drop).map_err(|error| error.to_string())
}

fn list(text: &str, default_name: Option<&str>) -> Result<(), String> {
    NetworkList::from_slice(text.as_bytes(), default_name).map(drop).map_err(|error| error.to_string())
}

fn network(text: &str) -> Result<(), String> {
    let config = NetworkConfig::parse(text).map_err(|error| error.to_string())?;
    config.supported().map(drop).map_err(|error| error.to_string())
}

fn agent(text: &str) -> Result<(), String> {
    AgentConfig::parse(text).map(drop).map_err(|error| format!("{error:#}"))
}

fn objects(text: &str) -> Result<(), String> {
    let manifest = manifest::parse(text).map_err(|error| error.to_string())?;
    assert!(!manifest.pods.is_empty() || !manifest.nads.is_empty(), "a sample without objects: {text}");
    manifest.nads.iter().try_for_each(nad)?;
    manifest.pods.iter().try_for_each(pod)
}

fn nad(nad: &Nad) -> Result<(), String> {
    if nad.config.is_empty() { Ok(()) } else { list(&nad.config, Some(&nad.name)) }
}

fn pod(pod: &Pod) -> Result<(), String> {
    let Some(text) = pod.annotations.get(annotation::NETWORKS) else { return Ok(()) };
    annotation::parse(text, &pod.namespace).map(drop).map_err(|faults| faults.to_string())
}

fn expected(path: &Path) -> Option<String> {
    let beside = format!("{}.expected", path.display());
    let text = fs::read_to_string(path).unwrap();
    let inside = text.lines().next().and_then(|line| line.strip_prefix("# expected: ")).map(str::to_owned);
    inside.or_else(|| fs::read_to_string(beside).ok().map(|text| text.trim().to_owned()))
}

#[test]
fn every_sample_is_read() {
    let broken = samples().join("broken");
    let sound: Vec<_> = files(&samples()).into_iter().filter(|path| !path.starts_with(&broken)).collect();
    assert!(sound.len() > 10, "{sound:?}");
    for path in sound {
        read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[test]
fn every_broken_sample_is_refused_with_the_message_beside_it() {
    for path in files(&samples().join("broken")) {
        if path.extension().is_some_and(|extension| extension == "expected") {
            continue;
        }
        let expected = expected(&path).unwrap_or_else(|| panic!("{}: no message is expected", path.display()));
        let found = read(&path).expect_err(&format!("{} should be refused", path.display()));
        assert!(found.contains(&expected), "{}:\nexpected {expected}\n   found {found}", path.display());
    }
}

#[test]
fn the_second_pod_of_the_article_gets_the_second_network() {
    let read =
        |name: &str| manifest::parse(&fs::read_to_string(samples().join("article").join(name)).unwrap()).unwrap();
    let pods = [read("overlay1pod.yaml").pods.remove(0), read("overlay2pod.yaml").pods.remove(0)];
    assert_eq!(pods[0].annotations.get(annotation::NETWORKS), None);
    let wanted = annotation::parse(&pods[1].annotations[annotation::NETWORKS], &pods[1].namespace).unwrap();
    let nad = read("nad-flannel.2.yaml").nads.remove(0);
    assert_eq!((wanted[0].namespace.as_str(), wanted[0].name.as_str()), (nad.namespace.as_str(), nad.name.as_str()));
}
