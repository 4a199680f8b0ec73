//! CNI_ARGS: `KEY=value` pairs separated by `;`, by which a runtime passes what the configuration cannot know.
//!
//! Deprecated by the specification (conventions document, section "CNI_ARGS") and indispensable: Kubernetes runtimes
//! name the pod in it. The reference's parser refuses a value with `=` in it; this one keeps it.

use std::fmt;

use crate::error::Error;

/// The key by which a caller says that keys unknown to the plugin are no error.
const IGNORE_UNKNOWN: &str = "IgnoreUnknown";

/// Parsed CNI_ARGS: every key once, in the order of first appearance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    pairs: Vec<(String, String)>,
}

impl Args {
    /// Reads the variable's text. Empty pieces (a trailing `;`) are skipped; of a key given twice the last value
    /// counts, as in the reference.
    ///
    /// # Errors
    /// Code 4 for a piece without `=` or without a key.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut args = Self::default();
        for pair in text.split(';').filter(|pair| !pair.trim().is_empty()) {
            match pair.split_once('=') {
                Some((key, value)) if !key.is_empty() => args.put(key, value),
                _ => return Err(invalid(pair)),
            }
        }
        Ok(args)
    }

    /// The value of a key; keys keep their case.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str())
    }

    /// Every pair in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether keys that a plugin does not know are to be ignored.
    ///
    /// # Errors
    /// Code 4 when the value is none of `1`, `true`, `0`, `false` (any case).
    pub fn ignore_unknown(&self) -> Result<bool, Error> {
        match self.get(IGNORE_UNKNOWN).map(str::to_ascii_lowercase).as_deref() {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(other) => Err(Error::environment(format!("CNI_ARGS: {IGNORE_UNKNOWN} is {other:?}, not a boolean"))),
        }
    }

    /// Refuses keys other than `known`, unless unknown ones are to be ignored.
    ///
    /// # Errors
    /// Code 4, naming the keys.
    pub fn only(&self, known: &[&str]) -> Result<(), Error> {
        if self.ignore_unknown()? {
            return Ok(());
        }
        let foreign = self.iter().map(|(key, _)| key).filter(|key| *key != IGNORE_UNKNOWN && !known.contains(key));
        let unknown: Vec<&str> = foreign.collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(Error::environment(format!("CNI_ARGS: unknown keys {}; IgnoreUnknown=1 allows them", unknown.join(", "))))
    }

    /// Name of the pod, from a Kubernetes runtime.
    pub fn pod_name(&self) -> Option<&str> {
        self.given("K8S_POD_NAME")
    }

    /// Namespace of the pod.
    pub fn pod_namespace(&self) -> Option<&str> {
        self.given("K8S_POD_NAMESPACE")
    }

    /// UID of the pod; older runtimes do not send it.
    pub fn pod_uid(&self) -> Option<&str> {
        self.given("K8S_POD_UID")
    }

    /// ID of the pod's sandbox.
    pub fn pod_sandbox(&self) -> Option<&str> {
        self.given("K8S_POD_INFRA_CONTAINER_ID")
    }

    /// The same arguments with this pair added or replaced: `MAC` and `IP` for a delegate, for example.
    ///
    /// # Errors
    /// Code 4 when the pair could not be read back: an empty key, `=` in the key, `;` in either.
    pub fn with(mut self, key: &str, value: &str) -> Result<Self, Error> {
        if key.is_empty() || key.contains('=') || key.contains(';') || value.contains(';') {
            return Err(invalid(&format!("{key}={value}")));
        }
        self.put(key, value);
        Ok(self)
    }

    /// The same arguments for a delegate, which cannot be expected to know the runtime's keys: `IgnoreUnknown=1` first.
    #[must_use]
    pub fn for_delegate(mut self) -> Self {
        self.pairs.retain(|(key, _)| key != IGNORE_UNKNOWN);
        self.pairs.insert(0, (IGNORE_UNKNOWN.into(), "1".into()));
        self
    }

    fn given(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    fn put(&mut self, key: &str, value: &str) {
        match self.pairs.iter_mut().find(|(other, _)| other == key) {
            Some((_, old)) => value.clone_into(old),
            None => self.pairs.push((key.to_owned(), value.to_owned())),
        }
    }
}

/// The variable's text.
impl fmt::Display for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (key, value)) in self.iter().enumerate() {
            let separator = if place == 0 { "" } else { ";" };
            write!(f, "{separator}{key}={value}")?;
        }
        Ok(())
    }
}

fn invalid(pair: &str) -> Error {
    let shown: String = pair.chars().take(64).collect();
    Error::environment(format!("CNI_ARGS: {shown:?} is not of the form KEY=value"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KUBERNETES: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=samplepod;\
                              K8S_POD_INFRA_CONTAINER_ID=c0ffee;K8S_POD_UID=1-2-3";

    #[test]
    fn the_pod_is_found() {
        let args = Args::parse(KUBERNETES).unwrap();
        assert_eq!(args.pod_name(), Some("samplepod"));
        assert_eq!(args.pod_namespace(), Some("default"));
        assert_eq!(args.pod_sandbox(), Some("c0ffee"));
        assert_eq!(args.pod_uid(), Some("1-2-3"));
        assert_eq!(args.to_string(), KUBERNETES);
        assert_eq!(Args::parse("K8S_POD_NAME=").unwrap().pod_name(), None);
    }

    #[test]
    fn a_value_may_hold_an_equals_sign_and_a_piece_may_be_empty() {
        let args = Args::parse(";LABEL=a=b;;EMPTY=;").unwrap();
        assert_eq!((args.get("LABEL"), args.get("EMPTY"), args.get("label")), (Some("a=b"), Some(""), None));
        assert_eq!(args.to_string(), "LABEL=a=b;EMPTY=");
        assert!(Args::parse("").unwrap().is_empty());
    }

    #[test]
    fn a_piece_without_key_or_value_is_refused() {
        for text in ["a", "=b", "a=b;c", "="] {
            assert_eq!(Args::parse(text).unwrap_err().code, crate::error::code::INVALID_ENVIRONMENT, "{text}");
        }
    }

    #[test]
    fn the_last_of_two_values_counts_and_is_written_once() {
        let args = Args::parse("MAC=1;IP=2;MAC=3").unwrap();
        assert_eq!(args.to_string(), "MAC=3;IP=2");
    }

    #[test]
    fn unknown_keys_are_refused_unless_ignored() {
        let known = ["IP"];
        assert!(Args::parse("IP=1").unwrap().only(&known).is_ok());
        assert!(Args::parse("IP=1;X=2;IgnoreUnknown=True").unwrap().only(&known).is_ok());
        for text in ["IP=1;X=2", "X=2;IgnoreUnknown=0", "IgnoreUnknown=perhaps"] {
            assert_eq!(Args::parse(text).unwrap().only(&known).unwrap_err().code, 4, "{text}");
        }
    }

    #[test]
    fn a_delegate_gets_every_key_once_and_is_told_to_ignore_the_rest() {
        let args = Args::parse("K8S_POD_NAME=a;IgnoreUnknown=0;MAC=1").unwrap();
        let args = args.for_delegate().with("MAC", "02:00:00:00:00:01").unwrap().with("IP", "10.5.7.9/24").unwrap();
        assert_eq!(args.to_string(), "IgnoreUnknown=1;K8S_POD_NAME=a;MAC=02:00:00:00:00:01;IP=10.5.7.9/24");
        for (key, value) in [("", "1"), ("A=B", "1"), ("A;B", "1"), ("A", "1;B=2")] {
            assert!(Args::default().with(key, value).is_err());
        }
    }

    proptest! {
        #[test]
        fn what_was_read_is_read_again(text in "[A-Za-z0-9_=;. ]{0,80}") {
            if let Ok(args) = Args::parse(&text) {
                prop_assert_eq!(Args::parse(&args.to_string()).unwrap(), args);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = Args::parse(&text);
        }
    }
}
