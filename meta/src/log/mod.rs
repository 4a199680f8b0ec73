//! Messages of the plugin: to stderr, which the runtime shows on a failure, and to a file if the configuration names
//! one. Levels are Multus': `panic`, `error`, `verbose`, `debug`, each with those before it.
//!
//! Nothing that came on stdin is ever written: it may hold secrets.

mod rotate;

pub use rotate::LogOptions;

use crate::config::Config;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing but a crash.
    Panic,
    /// What went wrong.
    Error,
    /// What was done.
    Verbose,
    /// How it was done.
    Debug,
}

impl Level {
    /// Reads a level's name; the absent one is `panic`, as for Multus.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "" | "panic" => Some(Self::Panic),
            "error" => Some(Self::Error),
            "verbose" => Some(Self::Verbose),
            "debug" => Some(Self::Debug),
            _ => None,
        }
    }
}

/// Where messages go.
#[derive(Debug)]
pub struct Log {
    level: Level,
    file: Option<File>,
    stderr: bool,
}

impl Log {
    /// A log as the configuration wants it. A file that cannot be opened is said on stderr and done without: a DEL
    /// must not fail for its log.
    pub fn new(config: &Config) -> Self {
        let open = |path: &PathBuf| {
            rotate::rotate(path, &config.log_options, SystemTime::now());
            let opened = File::options().create(true).append(true).open(path);
            opened.inspect_err(|error| eprintln!("plexus: cannot open log file {}: {error}", path.display())).ok()
        };
        let level = Level::parse(&config.log_level).unwrap_or(Level::Error);
        Self { level, file: config.log_file.as_ref().and_then(open), stderr: config.log_to_stderr }
    }

    /// Something went wrong.
    pub fn error(&self, message: &str) {
        self.say(Level::Error, "error", message);
    }

    /// Something was done.
    pub fn verbose(&self, message: &str) {
        self.say(Level::Verbose, "verbose", message);
    }

    /// Operations that failed and may fail.
    pub fn warnings(&self, messages: &[String]) {
        for message in messages {
            self.say(Level::Error, "warning", message);
        }
    }

    fn say(&self, level: Level, word: &str, message: &str) {
        if level > self.level {
            return;
        }
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // one write each, so that lines of parallel calls do not mix; a log that cannot be written stops nothing
        let line = format!("{seconds} [{word}] {message}\n");
        if let Some(mut file) = self.file.as_ref() {
            let _ = file.write_all(line.as_bytes());
        }
        if self.stderr {
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}
