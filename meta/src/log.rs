//! Messages of the plugin: to stderr, which the runtime shows on a failure, and to a file if the configuration names
//! one. Levels are Multus': `panic`, `error`, `verbose`, `debug`, each with those before it.
//!
//! Nothing that came on stdin is ever written: it may hold secrets.

use crate::config::Config;
use cni::Error;
use std::fs::File;
use std::io::Write;
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

/// Where messages go.
#[derive(Debug)]
pub struct Log {
    level: Level,
    file: Option<File>,
    stderr: bool,
}

impl Log {
    /// A log as the configuration wants it.
    ///
    /// # Errors
    /// A level nobody knows, or a log file that cannot be opened.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let level = match config.log_level.to_ascii_lowercase().as_str() {
            "" | "panic" => Level::Panic,
            "error" => Level::Error,
            "verbose" => Level::Verbose,
            "debug" => Level::Debug,
            other => {
                return Err(Error::config(format!("logLevel {other:?} is unknown: panic, error, verbose or debug")));
            }
        };
        let file = match &config.log_file {
            None => None,
            Some(path) => {
                let open = File::options().create(true).append(true).open(path);
                Some(open.map_err(|error| Error::io(format!("cannot open log file {}", path.display()), &error))?)
            }
        };
        Ok(Self { level, file, stderr: config.log_to_stderr })
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
