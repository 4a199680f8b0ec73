//! `plexus overlay init`: writes the configuration of a network once, for all nodes. What the etcd job of a flannel installation does.
//!
//! Repeating it changes nothing; a different configuration is replaced only with `--force`, because nodes already live by it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use etcd_subnet::init::{Initialized, initialize};
use lexopt::prelude::*;

use crate::agent::{EtcdConfig, StoreConfig, open_store};

const HELP: &str = "\
Usage: plexus overlay init --store STORE --config JSON|FILE [--force]

Writes the configuration of an overlay network into its store. Writing the same again changes
nothing; another one that is there already is replaced only with --force.

  --store file:DIRECTORY        a directory that all nodes see
  --store etcd:URL[,URL...]     an etcd cluster, with the layout flannel uses
  --config JSON|FILE            '{\"Network\":\"10.5.0.0/16\",\"Backend\":{\"Type\":\"vxlan\",\"VNI\":2}}', or a file
  --force                       replace a different configuration

For etcd:
  --prefix PREFIX               prefix of the network's keys (default /coreos.com/network)
  --ca FILE, --cert FILE, --key FILE
  --username NAME, --password-file FILE
";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    store: StoreConfig,
    config: String,
    force: bool,
}

/// Runs with the arguments after `overlay`, or after `overlay init`.
///
/// # Errors
/// Wrong arguments, a configuration that is none, a different one in place, or a store that cannot be reached.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let Some(request) = parse(arguments)? else {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let location = runtime.block_on(async {
        let manager = open_store(&request.store)?;
        let done = initialize(&*manager, &request.config, request.force).await?;
        anyhow::Ok((manager.config_location(), done))
    })?;
    println!("{}", describe(&location.0, &location.1));
    Ok(ExitCode::SUCCESS)
}

fn describe(location: &str, done: &Initialized) -> String {
    match done {
        Initialized::Created => format!("{location}: written"),
        Initialized::Unchanged => format!("{location}: already as wanted"),
        Initialized::Replaced { previous } => format!("{location}: replaced, before it was {}", previous.trim()),
    }
}

fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Request>> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut store, mut config, mut force) = (None, None, false);
    let mut etcd = EtcdConfig {
        endpoints: Vec::new(),
        prefix: "/coreos.com/network".to_owned(),
        ca: None,
        cert: None,
        key: None,
        username: None,
        password_file: None,
    };
    let mut first = true;
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) if first && word == "init" => {}
            Long("store") => store = Some(parser.value()?.string()?),
            Long("config") => config = Some(parser.value()?.string()?),
            Long("force") => force = true,
            Long("prefix") => etcd.prefix = parser.value()?.string()?,
            Long("ca") => etcd.ca = Some(PathBuf::from(parser.value()?)),
            Long("cert") => etcd.cert = Some(PathBuf::from(parser.value()?)),
            Long("key") => etcd.key = Some(PathBuf::from(parser.value()?)),
            Long("username") => etcd.username = Some(parser.value()?.string()?),
            Long("password-file") => etcd.password_file = Some(PathBuf::from(parser.value()?)),
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
        first = false;
    }
    let store = store_of(&store.context("--store is missing (plexus overlay init --help)")?, etcd)?;
    let config = config_text(&config.context("--config is missing (plexus overlay init --help)")?)?;
    Ok(Some(Request { store, config, force }))
}

fn store_of(text: &str, etcd: EtcdConfig) -> Result<StoreConfig> {
    let store = match text.split_once(':') {
        Some(("file", directory)) if !directory.is_empty() => {
            StoreConfig { file: Some(PathBuf::from(directory)), etcd: None }
        }
        Some(("etcd", urls)) => {
            let endpoints = urls.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect();
            StoreConfig { file: None, etcd: Some(EtcdConfig { endpoints, ..etcd }) }
        }
        _ => bail!("--store {text:?} is neither file:DIRECTORY nor etcd:URL[,URL...]"),
    };
    store.check()?;
    Ok(store)
}

/// The text itself if it is a JSON object, else that of the file it names.
fn config_text(given: &str) -> Result<String> {
    if given.trim_start().starts_with('{') {
        return Ok(given.to_owned());
    }
    fs::read_to_string(Path::new(given)).with_context(|| format!("read the configuration {given}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Option<Request>> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn both_stores_are_understood() {
        let file = parsed(&["init", "--store", "file:/var/leases", "--config", "{}"]).unwrap().unwrap();
        assert_eq!(file.store.file.as_deref(), Some(Path::new("/var/leases")));
        assert!(!file.force);
        let etcd = parsed(&["--store=etcd:https://a:1,https://b:2", "--prefix=/x", "--ca=c", "--config={}", "--force"]);
        let etcd = etcd.unwrap().unwrap();
        assert!(etcd.force);
        let settings = etcd.store.etcd.unwrap();
        assert_eq!((settings.endpoints.len(), settings.prefix.as_str()), (2, "/x"));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |arguments: &[&str]| format!("{:#}", parsed(arguments).unwrap_err());
        assert!(error(&["--config", "{}"]).contains("--store is missing"));
        assert!(error(&["--store", "file:/x"]).contains("--config is missing"));
        assert!(error(&["--store", "nfs:/x", "--config", "{}"]).contains("neither file:DIRECTORY nor"));
        assert!(error(&["--store", "etcd:", "--config", "{}"]).contains("no endpoints"));
        assert!(error(&["--store", "etcd:http://a", "--cert", "c", "--config", "{}"]).contains("go together"));
        assert!(error(&["--store", "file:/x", "--config", "/nowhere/conf"]).contains("/nowhere/conf"));
    }

    #[test]
    fn a_configuration_may_be_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("net-conf.json");
        fs::write(&file, "{\"Network\":\"10.5.0.0/16\"}").unwrap();
        let path = file.to_string_lossy().into_owned();
        let request = parsed(&["init", "--store", "file:/x", "--config", &path]).unwrap().unwrap();
        assert!(request.config.contains("10.5.0.0/16"));
    }
}
