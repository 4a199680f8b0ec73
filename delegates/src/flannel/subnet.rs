//! subnet.env, as the CNI plugin reads it: shell-like `KEY=value` lines that the overlay agent or flanneld writes.

use ipnet::IpNet;

/// This node's part of an overlay network.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Subnet {
    /// The whole network(s), IPv4 first: routed through the pods' interface.
    pub(super) networks: Vec<IpNet>,
    /// This node's subnet(s), host bits kept: the address is the gateway's.
    pub(super) subnets: Vec<IpNet>,
    /// MTU of the pods' interfaces, bytes.
    pub(super) mtu: u32,
    /// Whether the agent masquerades; if it does not, the plugin has to.
    pub(super) ip_masq: bool,
}

impl Subnet {
    /// Reads the text; says which variable is missing or malformed.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut networks = Vec::new();
        let mut networks6 = Vec::new();
        let mut subnet = None;
        let mut subnet6 = None;
        let mut mtu = None;
        let mut ip_masq = None;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (key, value) = match line.split_once('=') {
                Some((key, value)) => (key.trim(), value.trim()),
                None if line.starts_with("FLANNEL_") => return Err(format!("line {line:?} has no `=`")),
                None => continue,
            };
            match key {
                "FLANNEL_NETWORK" => networks = list(key, value)?,
                "FLANNEL_IPV6_NETWORK" => networks6 = list(key, value)?,
                "FLANNEL_SUBNET" => subnet = Some(net(key, value)?),
                "FLANNEL_IPV6_SUBNET" => subnet6 = Some(net(key, value)?),
                "FLANNEL_MTU" => mtu = Some(value.parse().map_err(|_| format!("{key} {value:?} is not a number"))?),
                "FLANNEL_IPMASQ" => ip_masq = Some(value == "true"),
                _ => {}
            }
        }
        let mut missing = Vec::new();
        if networks.is_empty() && networks6.is_empty() {
            missing.push("FLANNEL_NETWORK");
        }
        if subnet.is_none() && subnet6.is_none() {
            missing.push("FLANNEL_SUBNET");
        }
        if mtu.is_none() {
            missing.push("FLANNEL_MTU");
        }
        if ip_masq.is_none() {
            missing.push("FLANNEL_IPMASQ");
        }
        let (Some(mtu), Some(ip_masq), true) = (mtu, ip_masq, missing.is_empty()) else {
            return Err(format!("{} is missing: the file is not complete", missing.join(", ")));
        };
        networks.extend(networks6);
        Ok(Self { networks, subnets: subnet.into_iter().chain(subnet6).collect(), mtu, ip_masq })
    }
}

fn net(key: &str, value: &str) -> Result<IpNet, String> {
    value.parse().map_err(|_| format!("{key} {value:?} is not a network in CIDR form"))
}

fn list(key: &str, value: &str) -> Result<Vec<IpNet>, String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| Ok(net(key, item)?.trunc())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str =
        "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.15.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

    #[test]
    fn a_complete_file_is_read() {
        let subnet = Subnet::parse(FULL).unwrap();
        assert_eq!(subnet.networks, ["10.5.0.0/16".parse().unwrap()]);
        assert_eq!(subnet.subnets, ["10.5.15.1/24".parse().unwrap()]);
        assert_eq!((subnet.mtu, subnet.ip_masq), (1450, true));
    }

    #[test]
    fn several_networks_and_both_families_are_read() {
        let text = "FLANNEL_NETWORK=10.5.0.0/16,10.6.0.0/16\nFLANNEL_SUBNET=10.5.15.1/24\nFLANNEL_IPV6_NETWORK=fd00::/48\n\
                    FLANNEL_IPV6_SUBNET=fd00:0:0:4f::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\nOTHER=1\n";
        let subnet = Subnet::parse(text).unwrap();
        assert_eq!(subnet.networks.len(), 3);
        assert_eq!(subnet.subnets.len(), 2);
        assert!(!subnet.ip_masq);
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        for (text, message) in [
            ("", "FLANNEL_NETWORK, FLANNEL_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ is missing"),
            (
                "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.15.1/24\nFLANNEL_MTU=1450\n",
                "FLANNEL_IPMASQ is missing",
            ),
            ("FLANNEL_SUBNET", "has no `=`"),
            ("FLANNEL_SUBNET=10.5.15.1", "FLANNEL_SUBNET \"10.5.15.1\" is not a network"),
            ("FLANNEL_MTU=big", "FLANNEL_MTU \"big\" is not a number"),
        ] {
            let error = Subnet::parse(text).unwrap_err();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }

    #[test]
    fn ip_masq_is_true_only_for_the_exact_word() {
        for (word, expected) in [("true", true), ("True", false), ("1", false), ("false", false)] {
            let text = FULL.replace("FLANNEL_IPMASQ=true", &format!("FLANNEL_IPMASQ={word}"));
            assert_eq!(Subnet::parse(&text).unwrap().ip_masq, expected);
        }
    }
}
