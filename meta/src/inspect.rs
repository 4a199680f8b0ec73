//! `plexus list` and `plexus show`: what the journal of this node knows.

use crate::config::Config;
use crate::journal::{Entry, Journal, State};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options both commands take.
struct Options {
    state: PathBuf,
    words: Vec<String>,
    json: bool,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        use lexopt::prelude::{Long, Value};
        let mut options = Self { state: Config::default().cni_dir, words: Vec::new(), json: false };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("state") => options.state = parser.value()?.into(),
                Long("json") => options.json = true,
                Value(word) => options.words.push(word.to_string_lossy().into_owned()),
                other => return Err(other.unexpected()),
            }
        }
        Ok(options)
    }
}

/// `plexus list [--state DIR] [--json]`: a line for each attachment.
pub fn list(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    with_entries(arguments, |options, entries| {
        if options.json {
            return print_json(&entries.iter().map(|(entry, _)| entry).collect::<Vec<_>>());
        }
        println!("{:<28} {:<14} {:<7} {:<20} {:<22} STATE", "POD", "CONTAINER", "IF", "NETWORK", "ADDRESSES");
        for (entry, state) in &entries {
            for attachment in &entry.attachments {
                println!(
                    "{:<28} {:<14} {:<7} {:<20} {:<22} {}",
                    pod(entry),
                    entry.key.container.chars().take(13).collect::<String>(),
                    attachment.ifname,
                    attachment.name,
                    addresses(attachment.result.as_ref()),
                    word(*state)
                );
            }
        }
        ExitCode::SUCCESS
    })
}

/// `plexus show POD [--state DIR] [--json]`: everything about one pod, by `namespace/name`, name or container id.
pub fn show(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    with_entries(arguments, |options, entries| {
        let [wanted] = options.words.as_slice() else {
            eprintln!("plexus show: name one pod, as name, namespace/name or container id");
            return ExitCode::from(2);
        };
        let found: Vec<_> = entries.into_iter().filter(|(entry, _)| is_about(entry, wanted)).collect();
        if found.is_empty() {
            eprintln!("plexus show: no attachment of {wanted:?} in {}", options.state.display());
            return ExitCode::FAILURE;
        }
        if options.json {
            return print_json(&found.iter().map(|(entry, _)| entry).collect::<Vec<_>>());
        }
        for (entry, state) in found {
            println!("pod        {}", pod(&entry));
            println!("container  {}", entry.key.container);
            println!("namespace  {}", entry.netns.as_ref().map(|path| path.display().to_string()).unwrap_or_default());
            println!("state      {}", word(state));
            for attachment in &entry.attachments {
                println!("{:<10} {}  {}", attachment.ifname, attachment.name, addresses(attachment.result.as_ref()));
            }
            if let Some(status) = &entry.status {
                println!("network-status {status:#}");
            }
        }
        ExitCode::SUCCESS
    })
}

fn with_entries(
    arguments: impl Iterator<Item = OsString>,
    then: impl FnOnce(Options, Vec<(Entry, State)>) -> ExitCode,
) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("plexus: {error}");
            return ExitCode::from(2);
        }
    };
    let mut damaged = false;
    match Journal::new(&options.state).entries() {
        Ok(entries) => {
            let mut whole = Vec::new();
            for entry in entries {
                match entry {
                    Ok(entry) => whole.push(entry),
                    Err(error) => {
                        damaged = true;
                        eprintln!("plexus: {error}");
                    }
                }
            }
            let code = then(options, whole);
            if damaged { ExitCode::FAILURE } else { code }
        }
        Err(error) => {
            eprintln!("plexus: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_json(entries: &[&Entry]) -> ExitCode {
    match serde_json::to_string_pretty(entries) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("plexus: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pod(entry: &Entry) -> String {
    entry.pod.as_ref().map_or_else(|| "-".to_owned(), |pod| format!("{}/{}", pod.namespace, pod.name))
}

fn is_about(entry: &Entry, wanted: &str) -> bool {
    let by_pod =
        entry.pod.as_ref().is_some_and(|pod| pod.name == wanted || format!("{}/{}", pod.namespace, pod.name) == wanted);
    by_pod || entry.key.container == wanted
}

fn addresses(result: Option<&serde_json::Value>) -> String {
    let ips = result.and_then(|result| result.get("ips")).and_then(serde_json::Value::as_array);
    let texts = ips.into_iter().flatten().filter_map(|ip| ip.get("address")?.as_str());
    texts.collect::<Vec<_>>().join(",")
}

fn word(state: State) -> &'static str {
    match state {
        State::Open => "interrupted",
        State::Done => "attached",
    }
}
