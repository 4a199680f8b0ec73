//! `plexus lab`: nodes as namespaces on this machine, to see and try all of it. Reads the command line and the manifests; the crate
//! `lab` does the work.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use lab::{demo, try_out};
use lexopt::prelude::{Long, Value};

const USAGE: &str = "\
plexus lab demo [--store file|etcd] [--keep]
    two nodes, two overlays and the pods of the article, shown and checked step by step
plexus lab try --conf FILE [--nad FILE]... --pod FILE... [--nodes N] [--bare] [-- COMMAND]
    your own configuration, network definitions and pods; COMMAND is run in each pod
    --nodes N  deal the pods out to N nodes (2)
    --bare     without the two overlays of the demonstration
plexus lab enter --pid PID [--netns PATH] -- COMMAND
    run COMMAND in a node (or in one of its pods) that `demo --keep` has shown";

/// Runs `plexus lab`.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match dispatch(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("plexus lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(mut arguments: impl Iterator<Item = OsString>) -> Result<bool> {
    let verb = arguments.next().unwrap_or_default();
    match verb.to_str() {
        Some(verb) if lab::verbs::is_verb(verb) => {
            lab::verbs::run(std::iter::once(verb.into()).chain(arguments)).map(|()| true)
        }
        Some("demo") => demo::run(demo_options(arguments)?),
        Some("try") => try_out::run(&try_options(arguments)?),
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            Ok(true)
        }
        _ => bail!("{:?} is no verb of the lab\n{USAGE}", verb.to_string_lossy()),
    }
}

fn demo_options(arguments: impl Iterator<Item = OsString>) -> Result<demo::Options> {
    let mut options = demo::Options::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("store") => options.store = parser.value()?.to_string_lossy().parse()?,
            Long("keep") => options.keep = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(options)
}

fn try_options(arguments: impl Iterator<Item = OsString>) -> Result<try_out::Options> {
    let mut options = try_out::Options { nodes: 2, ..try_out::Options::default() };
    let mut conf = None;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("conf") => conf = Some(PathBuf::from(parser.value()?)),
            Long("nad") => options.manifests.push(parser.value()?.into()),
            Long("pod") => {
                let file = PathBuf::from(parser.value()?);
                options.pods.extend(pods(&file)?);
                options.manifests.push(file);
            }
            Long("nodes") => {
                options.nodes = parser.value()?.to_string_lossy().parse().context("--nodes is no number")?
            }
            Long("bare") => options.bare = true,
            Value(word) => {
                // lexopt stops reading options after `--`
                options.command.push(word);
                options.command.extend(parser.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let conf = conf.context("--conf is missing: the configuration a container runtime would read")?;
    let text = read(&conf)?;
    options.conf = serde_json::from_str(&text).with_context(|| format!("read {}", conf.display()))?;
    anyhow::ensure!(!options.pods.is_empty(), "no pod is given: --pod FILE names a manifest with one or more");
    Ok(options)
}

/// Namespace and name of the pods of a manifest.
fn pods(file: &Path) -> Result<Vec<(String, String)>> {
    let manifest = netattach_crd::manifest::parse(&read(file)?).with_context(|| format!("read {}", file.display()))?;
    anyhow::ensure!(!manifest.pods.is_empty(), "{} holds no pod", file.display());
    Ok(manifest.pods.into_iter().map(|pod| (pod.namespace, pod.name)).collect())
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::overlays::StoreKind;

    fn words(text: &str) -> impl Iterator<Item = OsString> {
        text.split_whitespace().map(OsString::from).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn the_demonstration_takes_either_store() {
        assert_eq!(demo_options(words("")).unwrap().store, StoreKind::File);
        assert_eq!(demo_options(words("--store etcd")).unwrap().store, StoreKind::Etcd);
        assert!(demo_options(words("--store consul")).is_err());
    }

    #[test]
    fn a_trial_needs_a_configuration_and_a_pod() {
        let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/article");
        let given = format!(
            "--conf {samples}/plexus.conf --nad {samples}/nad-flannel.2.yaml --pod {samples}/overlay2pod.yaml --nodes 3 -- ip -4 addr"
        );
        let options = try_options(words(&given)).unwrap();
        assert_eq!(options.nodes, 3);
        assert_eq!(options.pods, [("default".into(), "overlay2pod".into())]);
        assert_eq!(options.command, ["ip", "-4", "addr"]);
        assert!(try_options(words(&format!("--conf {samples}/plexus.conf"))).is_err());
        assert!(try_options(words(&format!("--pod {samples}/overlay2pod.yaml"))).is_err());
    }
}
