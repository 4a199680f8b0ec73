//! How a foreign plugin is called and what its answer means (spec section 2 and section 4, "Plugin delegation").
//!
//! Running the process is somebody else's work; here is everything about it that can be decided without one.

mod answer;

use std::fs;
use std::path::{Path, PathBuf};

pub use answer::{Exit, Output, interpret, versions};

use crate::args::Args;
use crate::env::{Command, variable};
use crate::error::Error;
use crate::names;

/// One execution of a foreign plugin: what goes into its environment.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The verb.
    pub command: Command,
    /// ID of the container; empty for verbs that are not about one.
    pub container_id: &'a str,
    /// Path of the container's network namespace; `None` when it is gone.
    pub netns: Option<&'a Path>,
    /// Name of the interface in the container.
    pub ifname: &'a str,
    /// CNI_ARGS.
    pub args: &'a Args,
    /// Directories in which the plugin finds its own delegates.
    pub path: &'a [PathBuf],
    /// The host's own namespace is meant; passed on so that the plugin does not refuse it.
    pub netns_override: bool,
}

impl Call<'_> {
    /// The plugin's environment: `inherited` (a plugin needs PATH to find its tools, and tracing variables are worth
    /// passing on) without any CNI variable of ours, then the contract's. No name appears twice.
    pub fn environment(&self, inherited: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
        let mut environment: Vec<(String, String)> = Vec::new();
        for (name, value) in inherited {
            if !name.starts_with("CNI_") && environment.iter().all(|(other, _)| *other != name) {
                environment.push((name, value));
            }
        }
        let netns = self.netns.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let path: Vec<_> = self.path.iter().map(|directory| directory.to_string_lossy()).collect();
        let contract = [
            (variable::COMMAND, self.command.name().to_owned()),
            (variable::CONTAINER_ID, self.container_id.to_owned()),
            (variable::NETNS, netns),
            (variable::IFNAME, self.ifname.to_owned()),
            (variable::ARGS, self.args.to_string()),
            (variable::PATH, path.join(":")),
        ];
        environment.extend(contract.map(|(name, value)| (name.to_owned(), value)));
        if self.netns_override {
            environment.push((variable::NETNS_OVERRIDE.to_owned(), "1".to_owned()));
        }
        environment
    }
}

/// The executable of a plugin: the first regular file (links followed) of that name in these directories, in order.
/// Nothing outside of them can be named. Whether it is executable shows when it is executed, as for the reference.
///
/// # Errors
/// Code 7 for a `type` that is no plain name, 50 when there is no such file.
pub fn find_plugin(kind: &str, directories: &[PathBuf]) -> Result<PathBuf, Error> {
    names::plugin_type(kind)?;
    let candidates = directories.iter().filter(|directory| !directory.as_os_str().is_empty());
    let found = candidates.map(|directory| directory.join(kind)).find(|path| is_regular_file(path));
    found.ok_or_else(|| {
        let searched: Vec<_> = directories.iter().map(|directory| directory.to_string_lossy()).collect();
        let searched = if searched.is_empty() { "no directories".into() } else { searched.join(":") };
        Error::not_available(format!("failed to find plugin {kind:?} in {searched}"))
            .with_details("install the plugin there, or add its directory to CNI_PATH")
    })
}

fn is_regular_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests;
