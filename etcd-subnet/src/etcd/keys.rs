//! The names of things in etcd.

use crate::lease::{KeyError, SubnetKey};

/// The keys of one network.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    /// Keys below `prefix`; slashes at its end and doubled ones do not matter, as for flanneld.
    pub(super) fn new(prefix: &str) -> Self {
        let parts: Vec<&str> = prefix.split('/').filter(|part| !part.is_empty()).collect();
        let root = if prefix.starts_with('/') && !parts.is_empty() { "/" } else { "" };
        Self { prefix: format!("{root}{}", parts.join("/")) }
    }

    /// Whether keys below this prefix could be taken for another network's leases: the configuration of a network at `/a/subnets/b`
    /// is for flanneld a broken lease of a network at `/a`, and makes all of its nodes forget their peers.
    pub(super) fn may_harm_another(&self) -> bool {
        self.prefix.split('/').filter(|part| !part.is_empty()).skip(1).any(|part| part.starts_with("subnets"))
    }

    /// The network's configuration.
    pub(super) fn config(&self) -> String {
        format!("{}/config", self.prefix)
    }

    /// What the keys of all leases begin with.
    pub(super) fn leases(&self) -> String {
        format!("{}/subnets/", self.prefix)
    }

    /// The key of one lease.
    pub(super) fn lease(&self, key: SubnetKey) -> String {
        format!("{}/subnets/{key}", self.prefix)
    }

    /// Which lease a key is about.
    pub(super) fn parse(&self, key: &[u8]) -> Result<SubnetKey, KeyError> {
        let text = String::from_utf8_lossy(key);
        let name = text.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix("/subnets/"));
        name.ok_or_else(|| KeyError(text.clone().into_owned()))?.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_flannels_whatever_the_slashes() {
        for prefix in ["/coreos.com/network", "/coreos.com/network/", "//coreos.com//network"] {
            let keys = Keys::new(prefix);
            let key = "10.5.7.0-24".parse().unwrap();
            assert_eq!(keys.config(), "/coreos.com/network/config");
            assert_eq!(keys.lease(key), "/coreos.com/network/subnets/10.5.7.0-24");
            assert_eq!(keys.parse(b"/coreos.com/network/subnets/10.5.7.0-24"), Ok(key));
        }
        assert_eq!(Keys::new("net").config(), "net/config");
        assert_eq!(Keys::new("/").config(), "/config");
    }

    #[test]
    fn a_prefix_among_another_networks_leases_is_noticed() {
        for (prefix, harms) in [("/a/subnets/b", true), ("/a/subnetsx", true), ("/subnets/b", false), ("/a/b", false)] {
            assert_eq!(Keys::new(prefix).may_harm_another(), harms, "{prefix}");
        }
    }

    #[test]
    fn foreign_keys_are_refused() {
        let keys = Keys::new("/n");
        for key in
            ["/n/subnets/junk", "/n/subnetsx", "/m/subnets/10.5.7.0-24", "/n/subnets/10.5.7.0-24/x", "/n/subnets/"]
        {
            assert!(keys.parse(key.as_bytes()).is_err(), "{key}");
        }
        assert!(keys.parse(&[0xff, 0xfe]).is_err());
    }
}
