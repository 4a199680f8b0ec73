//! flanneld's command line and environment, read as Go's flag package reads them.
//!
//! One or two dashes, `-name=value` or `-name value`, switches as `-name` or `-name=false`. A flag that is not on the command line is
//! taken from `FLANNELD_` + its name in capitals with `_` for `-`. Every flag flanneld has is known here; one whose function is
//! missing is refused by name when it asks for that function, never ignored.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// What became of a flag in this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It works.
    Works,
    /// It works only with its default; the text says what another value would need.
    DefaultOnly(&'static str),
    /// It is read and has no effect, because what it steers does not exist here.
    NoEffect,
}

/// One flag of flanneld.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Its name without dashes.
    pub name: &'static str,
    /// Whether it stands without a value.
    pub switch: bool,
    /// Its value when it is not given.
    pub default: &'static str,
    /// Whether it works.
    pub support: Support,
    /// What it means, for `-help`.
    pub meaning: &'static str,
}

const fn value(name: &'static str, default: &'static str, meaning: &'static str) -> Flag {
    Flag { name, switch: false, default, support: Support::Works, meaning }
}

const fn switch(name: &'static str, default: &'static str, meaning: &'static str) -> Flag {
    Flag { name, switch: true, default, support: Support::Works, meaning }
}

const fn only_default(flag: Flag, why: &'static str) -> Flag {
    Flag { support: Support::DefaultOnly(why), ..flag }
}

const fn no_effect(flag: Flag) -> Flag {
    Flag { support: Support::NoEffect, ..flag }
}

const KUBE: &str = "the Kubernetes subnet manager is not part of this version, use etcd";
const V6: &str = "IPv6 overlays are not part of this version";

/// Every flag, in the order `-help` shows them.
pub static FLAGS: &[Flag] = &[
    value("etcd-endpoints", "http://127.0.0.1:4001,http://127.0.0.1:2379", "comma-separated etcd endpoints"),
    value("etcd-prefix", "/coreos.com/network", "etcd prefix of the network"),
    value("etcd-keyfile", "", "client key for etcd, PEM"),
    value("etcd-certfile", "", "client certificate for etcd, PEM"),
    value(
        "etcd-cafile",
        "",
        "certificate authority of etcd, PEM; enough by itself for TLS without a client certificate",
    ),
    value("etcd-username", "", "etcd user"),
    value("etcd-password", "", "password of the etcd user"),
    value("iface", "", "interface (name or address) for traffic between nodes; repeatable, first match wins"),
    value("iface-regex", "", "pattern for an address or name, tried when no -iface matches; repeatable"),
    value("iface-can-reach", "", "take the interface of the route to this address, tried last"),
    value("subnet-file", "/run/flannel/subnet.env", "file that tells the CNI plugin this node's subnet"),
    value(
        "public-ip",
        "",
        "address peers are told to use; also the key for the interface when no -iface flag is given",
    ),
    only_default(value("public-ipv6", "", "IPv6 address peers are told to use"), V6),
    value("subnet-lease-renew-margin", "60", "minutes before expiry at which the lease is renewed, 1 to 1439"),
    switch("ip-masq", "false", "masquerade traffic that leaves the overlay"),
    only_default(
        switch("ip-masq-fully-random-disable", "false", "masquerade without randomised ports"),
        "masquerading always randomises ports",
    ),
    only_default(switch("kube-subnet-mgr", "false", "use Kubernetes instead of etcd"), KUBE),
    only_default(value("kube-api-url", "", "Kubernetes API server"), KUBE),
    only_default(value("kubeconfig-file", "", "kubeconfig"), KUBE),
    no_effect(value("kube-annotation-prefix", "flannel.alpha.coreos.com", "prefix of node annotations")),
    no_effect(value("net-config-path", "/etc/kube-flannel/net-conf.json", "network configuration in Kubernetes mode")),
    no_effect(switch("set-node-network-unavailable", "true", "patch the node condition in Kubernetes mode")),
    no_effect(value("healthz-ip", "0.0.0.0", "address of the health endpoint")),
    only_default(
        value("healthz-port", "0", "port of the health endpoint, 0 for none"),
        "there is no health endpoint yet",
    ),
    value("iptables-resync", "5", "seconds between checks of the rules; changes are noticed at once besides"),
    switch("iptables-forward-rules", "true", "accept forwarded traffic of the overlay"),
    only_default(
        switch("ip-blackhole-route", "false", "blackhole route for the node's own subnet"),
        "blackhole routes are not part of this version",
    ),
    no_effect(value("v", "0", "log verbosity")),
    no_effect(value("vmodule", "", "log verbosity by file")),
    no_effect(value("log_backtrace_at", "", "log a backtrace at a line")),
    switch("version", "false", "print the version and exit"),
    switch("help", "false", "print this and exit"),
];

/// A command line or environment that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// No such flag.
    #[error("flag provided but not defined: -{name}{}", suggestion(.nearest))]
    Unknown {
        /// As given.
        name: String,
        /// The known flag it resembles.
        nearest: Option<&'static str>,
    },
    /// A flag without its value.
    #[error("flag needs an argument: -{0}")]
    NoValue(&'static str),
    /// A value that cannot be used.
    #[error("invalid value {value:?} for {source_name}: {reason}")]
    Value {
        /// The flag or variable, as the user wrote it.
        source_name: String,
        /// The value.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// The flag asks for a function that is missing.
    #[error("{source_name} is not supported: {reason}")]
    Unsupported {
        /// The flag or variable, as the user wrote it.
        source_name: String,
        /// What is missing.
        reason: &'static str,
    },
    /// Something that is no flag.
    #[error("unexpected argument {0:?}: flanneld takes flags only")]
    Argument(String),
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    nearest.map(|name| format!(" (did you mean -{name}?)")).unwrap_or_default()
}

/// The flags that were given, each with all its values and where the last came from.
#[derive(Debug, Default)]
pub struct Given {
    values: BTreeMap<&'static str, (String, Vec<String>)>,
}

impl Given {
    /// Reads the arguments after the program's name, then the environment for whatever they leave open.
    ///
    /// # Errors
    /// The first flag that is unknown, lacks its value or asks for something missing.
    pub fn read(
        arguments: impl IntoIterator<Item = OsString>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Given, FlagError> {
        let mut given = Given::default();
        given.read_arguments(arguments)?;
        for flag in FLAGS.iter().filter(|flag| !matches!(flag.name, "help" | "version")) {
            let variable = variable(flag.name);
            if given.values.contains_key(flag.name) {
                continue;
            }
            if let Some(value) = environment(&variable).filter(|value| !value.is_empty()) {
                given.put(flag, variable, value)?;
            }
        }
        Ok(given)
    }

    fn read_arguments(&mut self, arguments: impl IntoIterator<Item = OsString>) -> Result<(), FlagError> {
        let mut arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
        while let Some(argument) = arguments.next() {
            let Some(body) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
                return Err(FlagError::Argument(argument));
            };
            let (name, inline) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (body, None),
            };
            let flag = find(name)?;
            let value = match inline {
                Some(value) => value,
                None if flag.switch => "true".to_owned(),
                None => arguments.next().ok_or(FlagError::NoValue(flag.name))?,
            };
            self.put(flag, format!("-{}", flag.name), value)?;
        }
        Ok(())
    }

    fn put(&mut self, flag: &Flag, source_name: String, value: String) -> Result<(), FlagError> {
        let value = if flag.switch { boolean(&source_name, value)?.to_string() } else { value };
        if let Support::DefaultOnly(reason) = flag.support
            && value != flag.default
        {
            return Err(FlagError::Unsupported { source_name, reason });
        }
        let entry = self.values.entry(flag.name).or_default();
        entry.0 = source_name;
        entry.1.push(value);
        Ok(())
    }

    /// The value of a flag: the last one given, else its default.
    #[must_use]
    pub fn text(&self, name: &'static str) -> &str {
        let given = self.values.get(name).and_then(|(_, values)| values.last());
        given
            .map_or_else(|| FLAGS.iter().find(|flag| flag.name == name).map_or("", |flag| flag.default), String::as_str)
    }

    /// The value of a flag, or none where it is empty.
    #[must_use]
    pub fn optional(&self, name: &'static str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// Every value of a repeatable flag.
    #[must_use]
    pub fn all(&self, name: &'static str) -> Vec<String> {
        let given = self.values.get(name).map(|(_, values)| values.clone()).unwrap_or_default();
        given.into_iter().filter(|value| !value.is_empty()).collect()
    }

    /// Whether a switch is on.
    #[must_use]
    pub fn is_on(&self, name: &'static str) -> bool {
        self.text(name) == "true"
    }

    /// The value of a flag as something it can be parsed into.
    ///
    /// # Errors
    /// [`FlagError::Value`] with the parser's reason.
    pub fn parse<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, FlagError>
    where
        T::Err: fmt::Display,
    {
        self.text(name).parse().map_err(|error: T::Err| self.invalid(name, error.to_string()))
    }

    /// A complaint about a flag's value.
    #[must_use]
    pub fn invalid(&self, name: &'static str, reason: impl Into<String>) -> FlagError {
        let source_name = self.values.get(name).map_or_else(|| format!("-{name}"), |(source, _)| source.clone());
        FlagError::Value { source_name, value: self.text(name).to_owned(), reason: reason.into() }
    }
}

fn find(name: &str) -> Result<&'static Flag, FlagError> {
    let name = if name == "h" { "help" } else { name };
    FLAGS.iter().find(|flag| flag.name == name).ok_or_else(|| FlagError::Unknown {
        name: name.to_owned(),
        nearest: crate::agent::nearest(name, FLAGS.iter().map(|flag| flag.name)),
    })
}

/// The values Go takes for a boolean.
fn boolean(source_name: &str, value: String) -> Result<bool, FlagError> {
    match value.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(FlagError::Value {
            source_name: source_name.to_owned(),
            value,
            reason: "it is neither true nor false".to_owned(),
        }),
    }
}

fn variable(name: &str) -> String {
    format!("FLANNELD_{}", name.to_uppercase().replace('-', "_"))
}

/// The text of `-help`.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("Usage: flanneld [flags]\n\n");
    for flag in FLAGS {
        let default = if flag.default.is_empty() { String::new() } else { format!(" (default {})", flag.default) };
        let support = match flag.support {
            Support::Works => String::new(),
            Support::DefaultOnly(why) => format!(" [{why}]"),
            Support::NoEffect => " [no effect]".to_owned(),
        };
        text.push_str(&format!("  -{}\n        {}{default}{support}\n", flag.name, flag.meaning));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Given, FlagError> {
        Given::read(arguments.iter().map(OsString::from), |_| None)
    }

    #[test]
    fn every_way_to_write_a_flag_is_understood() {
        for arguments in [
            &["-etcd-prefix=/x", "-ip-masq"][..],
            &["--etcd-prefix=/x", "--ip-masq=true"],
            &["-etcd-prefix", "/x", "-ip-masq=T"],
            &["--etcd-prefix", "/x", "--ip-masq=1"],
        ] {
            let given = read(arguments).unwrap();
            assert_eq!((given.text("etcd-prefix"), given.is_on("ip-masq")), ("/x", true), "{arguments:?}");
        }
        assert!(!read(&["--ip-masq=false"]).unwrap().is_on("ip-masq"));
        assert!(read(&[]).unwrap().is_on("iptables-forward-rules"));
    }

    #[test]
    fn repeated_flags_keep_every_value_and_the_last_counts_for_single_ones() {
        let given = read(&["-iface=eth0", "--iface", "eth1", "-etcd-prefix=/a", "-etcd-prefix=/b"]).unwrap();
        assert_eq!(given.all("iface"), ["eth0", "eth1"]);
        assert_eq!(given.text("etcd-prefix"), "/b");
        assert!(given.all("iface-regex").is_empty());
    }

    #[test]
    fn the_environment_fills_what_the_command_line_leaves_open() {
        let environment = |name: &str| match name {
            "FLANNELD_ETCD_PREFIX" => Some("/env".to_owned()),
            "FLANNELD_IP_MASQ" => Some("true".to_owned()),
            "FLANNELD_IFACE" => Some("eth7".to_owned()),
            _ => None,
        };
        let given = Given::read(["-etcd-prefix=/line".into()], environment).unwrap();
        assert_eq!((given.text("etcd-prefix"), given.is_on("ip-masq")), ("/line", true));
        assert_eq!(given.all("iface"), ["eth7"]);
    }

    #[test]
    fn mistakes_are_named() {
        let text = |arguments: &[&str]| read(arguments).unwrap_err().to_string();
        assert_eq!(text(&["-ifcae=x"]), "flag provided but not defined: -ifcae (did you mean -iface?)");
        assert_eq!(text(&["-etcd-prefix"]), "flag needs an argument: -etcd-prefix");
        assert_eq!(text(&["-ip-masq=maybe"]), "invalid value \"maybe\" for -ip-masq: it is neither true nor false");
        assert_eq!(text(&["-ip-masq", "true"]), "unexpected argument \"true\": flanneld takes flags only");
        assert!(text(&["--kube-subnet-mgr"]).starts_with("-kube-subnet-mgr is not supported: the Kubernetes"));
        assert!(read(&["--kube-subnet-mgr=false", "--healthz-port=0"]).is_ok());
        let environment = |name: &str| (name == "FLANNELD_KUBE_SUBNET_MGR").then(|| "true".to_owned());
        let error = Given::read([], environment).unwrap_err().to_string();
        assert!(error.starts_with("FLANNELD_KUBE_SUBNET_MGR is not supported"), "{error}");
    }

    #[test]
    fn help_names_every_flag() {
        let help = help();
        assert!(FLAGS.iter().all(|flag| help.contains(&format!("  -{}\n", flag.name))));
    }
}
