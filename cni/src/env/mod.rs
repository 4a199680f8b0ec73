//! The environment contract between a runtime and a plugin (spec section 2, "Parameters" and "CNI
//! operations").
//!
//! The checks and codes are the reference's (`pkg/skel`), with two differences. An unknown verb is refused before the
//! configuration is read. And the refusal of the plugin's own network namespace is offered as a check to make *before*
//! anything is done; the reference makes it afterwards, when the interface is already in the wrong place.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::error::Error;
use crate::names;
use crate::version::{SUPPORTED, Version};

/// Variables of the contract, in the order the reference complains about them.
pub(crate) mod variable {
    pub(crate) const COMMAND: &str = "CNI_COMMAND";
    pub(crate) const CONTAINER_ID: &str = "CNI_CONTAINERID";
    pub(crate) const NETNS: &str = "CNI_NETNS";
    pub(crate) const IFNAME: &str = "CNI_IFNAME";
    pub(crate) const ARGS: &str = "CNI_ARGS";
    pub(crate) const PATH: &str = "CNI_PATH";
    /// Not in the specification; the reference honours it.
    pub(crate) const NETNS_OVERRIDE: &str = "CNI_NETNS_OVERRIDE";
}

/// What a plugin is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Attach the container.
    Add,
    /// Detach it; must succeed when nothing is left.
    Del,
    /// Verify the attachment (0.4.0 and later).
    Check,
    /// Tell the versions spoken.
    Version,
    /// Remove what belongs to no valid attachment (1.1.0 and later).
    Gc,
    /// Tell whether an ADD could be served (1.1.0 and later).
    Status,
}

impl Command {
    /// Every verb.
    pub const ALL: [Self; 6] = [Self::Add, Self::Del, Self::Check, Self::Version, Self::Gc, Self::Status];

    /// The verb as CNI_COMMAND spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Version => "VERSION",
            Self::Gc => "GC",
            Self::Status => "STATUS",
        }
    }

    /// Refuses a verb that the configuration's version does not have.
    ///
    /// # Errors
    /// Code 1.
    pub fn allowed_in(self, version: Version) -> Result<(), Error> {
        let first = match self {
            Self::Check => Version::V0_4_0,
            Self::Gc | Self::Status => Version::V1_1_0,
            Self::Add | Self::Del | Self::Version => return Ok(()),
        };
        if version >= first {
            return Ok(());
        }
        let verb = self.name();
        Err(Error::incompatible_version(format!("config version does not allow {verb}"))
            .with_details(format!("cniVersion is {version}, {verb} exists since {first}")))
    }

    /// Whether the verb is about one interface of one container.
    fn names_an_attachment(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Check)
    }

    fn requires(self, name: &str) -> bool {
        match name {
            variable::CONTAINER_ID | variable::IFNAME => self.names_an_attachment(),
            variable::NETNS => matches!(self, Self::Add | Self::Check),
            variable::PATH => self != Self::Version,
            _ => false,
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|command| command.name() == text);
        known.ok_or_else(|| {
            let shown: String = text.chars().take(32).collect();
            Error::environment(format!("unknown CNI_COMMAND: {shown}"))
        })
    }
}

/// A runtime's request, checked. What the verb does not need may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The verb.
    pub command: Command,
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_NETNS: path of the container's network namespace. A DEL may come without it.
    pub netns: Option<PathBuf>,
    /// CNI_IFNAME: name of the interface in the container.
    pub ifname: String,
    /// CNI_ARGS as given; [`crate::args::Args`] reads it.
    pub args: String,
    /// CNI_PATH: directories to look for other plugins in.
    pub path: Vec<PathBuf>,
    /// CNI_NETNS_OVERRIDE: the plugin's own network namespace is meant.
    pub netns_override: bool,
}

impl Request {
    /// Reads the request from the environment, through `lookup` so that it can come from anywhere (a shim's frame, a
    /// test). `None` without CNI_COMMAND: then somebody started the plugin by hand and should read [`about`].
    ///
    /// # Errors
    /// Code 4 for an unknown verb, a bad name, or missing variables (all of them in one message); see
    /// [`names::container_id`] and [`names::interface`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, Error> {
        let given = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let Some(command) = given(variable::COMMAND) else { return Ok(None) };
        let command = Command::parse(&text(variable::COMMAND, command)?)?;
        let string = |name: &str| given(name).map(|value| text(name, value)).transpose();

        let container_id = string(variable::CONTAINER_ID)?.unwrap_or_default();
        let ifname = string(variable::IFNAME)?.unwrap_or_default();
        let needed = |value: &str| command.names_an_attachment() && !value.is_empty();
        if needed(&container_id) {
            names::container_id(&container_id)?;
        }
        if needed(&ifname) {
            names::interface(&ifname)?;
        }
        refuse_missing(command, |name| given(name).is_some())?;
        Ok(Some(Self {
            command,
            container_id,
            netns: given(variable::NETNS).map(PathBuf::from),
            ifname,
            args: string(variable::ARGS)?.unwrap_or_default(),
            path: given(variable::PATH).map(|list| directories(&list)).unwrap_or_default(),
            netns_override: string(variable::NETNS_OVERRIDE)?.is_some_and(|value| is_true(&value)),
        }))
    }

    /// Refuses to work in the plugin's own network namespace, unless that was asked for. To be called before anything
    /// is touched.
    ///
    /// # Errors
    /// Code 8.
    pub fn refuse_own_netns(&self, own: NamespaceIdentity, container: NamespaceIdentity) -> Result<(), Error> {
        if own == container && !self.netns_override {
            return Err(Error::netns("plugin's netns and netns from CNI_NETNS should not be the same"));
        }
        Ok(())
    }
}

/// What makes two paths the same namespace: device and inode of the file behind them (`namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NamespaceIdentity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// The answer to VERSION (spec section 5, "VERSION Success").
pub fn version_answer() -> Value {
    json!({ "cniVersion": Version::CURRENT.to_string(), "supportedVersions": SUPPORTED.map(|version| version.to_string()) })
}

/// What to tell somebody who started the plugin by hand.
pub fn about(program: &str) -> String {
    let versions = SUPPORTED.map(|version| version.to_string()).join(", ");
    format!("{program}\nCNI protocol versions supported: {versions}\n")
}

fn refuse_missing(command: Command, given: impl Fn(&str) -> bool) -> Result<(), Error> {
    let required = [variable::CONTAINER_ID, variable::NETNS, variable::IFNAME, variable::PATH];
    let missing: Vec<&str> = required.into_iter().filter(|name| command.requires(name) && !given(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::environment(format!("required env variables [{}] missing", missing.join(","))))
}

fn text(name: &str, value: OsString) -> Result<String, Error> {
    value.into_string().map_err(|_| Error::environment(format!("{name} is not UTF-8")))
}

/// An empty element would mean the working directory, which no runtime intends.
fn directories(list: &OsString) -> Vec<PathBuf> {
    std::env::split_paths(list).filter(|directory| !directory.as_os_str().is_empty()).collect()
}

fn is_true(text: &str) -> bool {
    text == "1" || text.eq_ignore_ascii_case("true")
}

#[cfg(test)]
mod tests;
