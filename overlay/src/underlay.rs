//! Which interface carries the encapsulated traffic, and from which address: flannel's rules.
//!
//! In order: the interfaces given by name or address, the patterns (matched against addresses first, then names), the
//! route towards a given address, and else the interface of the default route. Without any of these an advertised
//! address is itself the key: the interface must hold it. Gathering facts and choosing are apart, so that the choice is
//! a pure function with a table of tests.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use net::message::route::TABLE_MAIN;
use net::netlink::{NetlinkError, Protocol, Socket};
use net::snapshot::{self, AddressFacts, Family, LinkFacts, RouteFacts, RouteFilter};
use regex::Regex;

use crate::desired::Underlay;

/// `RT_SCOPE_LINK`: reachable without a gateway.
const SCOPE_LINK: u8 = 253;

/// What the user asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Interface names or addresses, the first that exists wins.
    pub interfaces: Vec<String>,
    /// Patterns for addresses or names, tried when none of `interfaces` exists.
    pub patterns: Vec<String>,
    /// Take the interface and source address of the route to this address, tried last.
    pub can_reach: Option<Ipv4Addr>,
    /// The address to advertise instead of the interface's own.
    pub public: Option<Ipv4Addr>,
}

/// No interface can carry the overlay.
#[derive(Debug, thiserror::Error)]
pub enum UnderlayError {
    /// The kernel did not tell.
    #[error(transparent)]
    Kernel(#[from] NetlinkError),
    /// A pattern is no regular expression.
    #[error("interface pattern {pattern:?}: {error}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why not.
        error: regex::Error,
    },
    /// Nothing matched what was asked for.
    #[error("no interface matches {0}; `ip -4 address` shows what there is")]
    NoMatch(String),
    /// There is no default route and nothing else was asked for.
    #[error("there is no IPv4 default route to take the interface from; name the interface")]
    NoDefault,
    /// The interface has no address to send from.
    #[error("interface {0} has no usable IPv4 address")]
    NoAddress(String),
    /// The interface reports an MTU of 0.
    #[error("interface {0} has an mtu of 0")]
    NoMtu(String),
}

/// What the choice is made from.
#[derive(Debug, Clone, Default)]
struct Facts {
    links: Vec<LinkFacts>,
    addresses: Vec<AddressFacts>,
    /// IPv4 routes of the main table.
    routes: Vec<RouteFacts>,
    /// Interface and source address of the route to `can_reach`.
    reach: Option<(u32, Ipv4Addr)>,
}

/// An interface and the address to use on it.
type Pick<'a> = Result<(&'a LinkFacts, Ipv4Addr), UnderlayError>;

/// Chooses the interface and addresses in the namespace of the calling thread.
///
/// # Errors
/// When nothing matches, or the interface that does cannot be used.
pub fn choose(choice: &Choice) -> Result<Underlay, UnderlayError> {
    let mut socket = Socket::open(Protocol::Route)?;
    let facts = gather(&mut socket, choice)?;
    decide(choice, &facts)
}

fn gather(socket: &mut Socket, choice: &Choice) -> Result<Facts, UnderlayError> {
    let reach = match choice.can_reach {
        None => None,
        Some(destination) => snapshot::route_towards(socket, destination.into())?.and_then(|route| {
            let source = route.source.and_then(v4)?;
            Some((route.index?, source))
        }),
    };
    // A node may hold tens of thousands of routes; only two kinds matter, and none of another overlay's.
    let main = RouteFilter { family: Family::V4, table: Some(TABLE_MAIN), ..RouteFilter::default() };
    let mut routes = snapshot::routes(socket, &main)?;
    routes.retain(|route| route.dst.prefix_len() == 0 || route.scope == SCOPE_LINK);
    Ok(Facts { links: snapshot::links(socket)?, addresses: snapshot::addresses(socket, 0, Family::V4)?, routes, reach })
}

fn decide(choice: &Choice, facts: &Facts) -> Result<Underlay, UnderlayError> {
    let (link, address) = facts.pick(choice)?;
    if link.mtu == 0 {
        return Err(UnderlayError::NoMtu(link.name.clone()));
    }
    Ok(Underlay {
        index: link.index,
        name: link.name.clone(),
        mtu: link.mtu,
        address,
        public: choice.public.unwrap_or(address),
        on_link: facts.on_link(link.index),
    })
}

impl Facts {
    fn pick(&self, choice: &Choice) -> Pick<'_> {
        let asked = !(choice.interfaces.is_empty() && choice.patterns.is_empty() && choice.can_reach.is_none());
        if !asked {
            return match choice.public {
                Some(public) => self.by_address(public).ok_or_else(|| UnderlayError::NoMatch(public.to_string())),
                None => self.by_default_route(),
            };
        }
        if let Some(found) = choice.interfaces.iter().find_map(|wanted| self.by_name_or_address(wanted)) {
            return found;
        }
        for pattern in &choice.patterns {
            if let Some(found) = self.by_pattern(pattern)? {
                return found;
            }
        }
        if let Some((index, source)) = self.reach
            && let Some(link) = self.link(index)
        {
            return Ok((link, source));
        }
        let wanted = choice.interfaces.iter().chain(&choice.patterns).cloned();
        let wanted: Vec<String> =
            wanted.chain(choice.can_reach.map(|address| format!("a route to {address}"))).collect();
        Err(UnderlayError::NoMatch(wanted.join(", ")))
    }

    fn link(&self, index: u32) -> Option<&LinkFacts> {
        self.links.iter().find(|link| link.index == index)
    }

    fn by_name_or_address(&self, wanted: &str) -> Option<Pick<'_>> {
        if let Ok(address) = wanted.parse() {
            return self.by_address(address).map(Ok);
        }
        let link = self.links.iter().find(|link| link.name == wanted)?;
        Some(self.with_first_address(link))
    }

    fn by_address(&self, wanted: Ipv4Addr) -> Option<(&LinkFacts, Ipv4Addr)> {
        let facts = self.addresses.iter().find(|facts| facts.address.addr() == IpAddr::V4(wanted))?;
        Some((self.link(facts.index)?, wanted))
    }

    /// Addresses are tried before names, as flannel does: `10\..*` should find an address and not an interface.
    fn by_pattern(&self, pattern: &str) -> Result<Option<Pick<'_>>, UnderlayError> {
        let regex =
            Regex::new(pattern).map_err(|error| UnderlayError::Pattern { pattern: pattern.to_owned(), error })?;
        let by_address = self.links.iter().find_map(|link| {
            let address = self.usable(link.index).into_iter().find(|address| regex.is_match(&address.to_string()))?;
            Some(Ok((link, address)))
        });
        let by_name = || {
            let link = self.links.iter().find(|link| regex.is_match(&link.name))?;
            Some(self.with_first_address(link))
        };
        Ok(by_address.or_else(by_name))
    }

    fn by_default_route(&self) -> Pick<'_> {
        let defaults = self.routes.iter().filter(|route| route.dst.prefix_len() == 0 && route.index.is_some());
        let index = defaults.min_by_key(|route| route.priority).and_then(|route| route.index);
        let link = index.and_then(|index| self.link(index)).ok_or(UnderlayError::NoDefault)?;
        self.with_first_address(link)
    }

    fn with_first_address<'a>(&self, link: &'a LinkFacts) -> Pick<'a> {
        let first = self.usable(link.index).into_iter().next();
        first.map(|address| (link, address)).ok_or_else(|| UnderlayError::NoAddress(link.name.clone()))
    }

    /// Addresses of an interface, global ones before link-local ones, else in the kernel's order.
    fn usable(&self, index: u32) -> Vec<Ipv4Addr> {
        let on_link = self.addresses.iter().filter(|facts| facts.index == index);
        let mut found: Vec<Ipv4Addr> = on_link.filter_map(|facts| v4(facts.address.addr())).collect();
        found.sort_by_key(Ipv4Addr::is_link_local);
        found
    }

    fn on_link(&self, index: u32) -> Vec<Ipv4Net> {
        let direct =
            |route: &&RouteFacts| route.index == Some(index) && route.gateway.is_none() && route.scope == SCOPE_LINK;
        self.routes.iter().filter(direct).filter_map(|route| v4_net(route.dst)).collect()
    }
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v4_net(network: IpNet) -> Option<Ipv4Net> {
    match network {
        IpNet::V4(network) => Some(network),
        IpNet::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str) -> LinkFacts {
        LinkFacts { index, name: name.into(), mtu: 1500, up: true, ..LinkFacts::default() }
    }

    fn address(index: u32, text: &str) -> AddressFacts {
        AddressFacts { index, address: text.parse().unwrap(), peer: None, broadcast: None, scope: 0 }
    }

    fn route(index: u32, dst: &str, gateway: Option<&str>, priority: u32) -> RouteFacts {
        RouteFacts {
            dst: dst.parse().unwrap(),
            gateway: gateway.map(|text| text.parse().unwrap()),
            index: Some(index),
            nexthop: None,
            protocol: 2,
            table: 254,
            priority,
            scope: if gateway.is_some() { 0 } else { SCOPE_LINK },
            kind: 1,
            on_link: false,
            source: None,
            mtu: None,
            advmss: None,
        }
    }

    fn node() -> Facts {
        Facts {
            links: vec![link(1, "lo"), link(2, "eth0"), link(3, "eth1"), link(4, "wlan0")],
            addresses: vec![
                address(1, "127.0.0.1/8"),
                address(2, "192.168.1.5/24"),
                address(3, "169.254.9.9/16"),
                address(3, "10.9.0.5/16"),
            ],
            routes: vec![
                route(3, "0.0.0.0/0", Some("10.9.0.1"), 200),
                route(2, "0.0.0.0/0", Some("192.168.1.1"), 100),
                route(2, "192.168.1.0/24", None, 0),
                route(3, "10.9.0.0/16", None, 0),
            ],
            reach: None,
        }
    }

    fn name_of(choice: &Choice) -> Result<(String, String), String> {
        decide(choice, &node()).map(|u| (u.name, u.address.to_string())).map_err(|error| error.to_string())
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn without_wishes_the_best_default_route_decides() {
        let underlay = decide(&Choice::default(), &node()).unwrap();
        assert_eq!((underlay.name.as_str(), underlay.index, underlay.mtu), ("eth0", 2, 1500));
        assert_eq!(underlay.address, underlay.public);
        assert_eq!(underlay.on_link, ["192.168.1.0/24".parse().unwrap()]);
        let mut facts = node();
        facts.routes.clear();
        assert!(matches!(decide(&Choice::default(), &facts), Err(UnderlayError::NoDefault)));
    }

    #[test]
    fn each_kind_of_wish_finds_its_interface() {
        let by_list = |list: &[&str]| name_of(&Choice { interfaces: names(list), ..Choice::default() });
        let by_pattern = |list: &[&str]| name_of(&Choice { patterns: names(list), ..Choice::default() });
        let found = |name: &str, address: &str| Ok((name.to_owned(), address.to_owned()));
        assert_eq!(by_list(&["eth9", "eth1"]), found("eth1", "10.9.0.5"), "global before link-local");
        assert_eq!(by_list(&["169.254.9.9"]), found("eth1", "169.254.9.9"), "the address asked for is taken");
        assert_eq!(by_pattern(&["^10\\."]), found("eth1", "10.9.0.5"));
        assert_eq!(by_pattern(&["nothing", "^eth"]), found("eth0", "192.168.1.5"));
        assert_eq!(by_list(&["wlan0"]), Err("interface wlan0 has no usable IPv4 address".into()));
        assert!(by_list(&["eth9"]).unwrap_err().starts_with("no interface matches eth9"));
        assert!(by_pattern(&["("]).unwrap_err().starts_with("interface pattern \"(\""));
    }

    #[test]
    fn names_come_before_patterns_and_both_before_the_reachable() {
        let facts = Facts { reach: Some((3, Ipv4Addr::new(10, 9, 0, 5))), ..node() };
        let can_reach = Some(Ipv4Addr::new(10, 9, 7, 7));
        let all = Choice { interfaces: names(&["eth0"]), patterns: names(&["eth1"]), can_reach, public: None };
        assert_eq!(decide(&all, &facts).unwrap().name, "eth0");
        let reach = Choice { interfaces: names(&["eth9"]), patterns: names(&["x9"]), can_reach, public: None };
        assert_eq!(decide(&reach, &facts).unwrap().name, "eth1");
    }

    #[test]
    fn an_advertised_address_alone_is_the_key_and_beside_a_name_only_advertised() {
        let local: Ipv4Addr = "10.9.0.5".parse().unwrap();
        let nat: Ipv4Addr = "203.0.113.9".parse().unwrap();
        assert_eq!(decide(&Choice { public: Some(local), ..Choice::default() }, &node()).unwrap().name, "eth1");
        assert!(decide(&Choice { public: Some(nat), ..Choice::default() }, &node()).is_err());
        let both = Choice { interfaces: names(&["eth0"]), public: Some(nat), ..Choice::default() };
        let underlay = decide(&both, &node()).unwrap();
        assert_eq!((underlay.address.to_string().as_str(), underlay.public), ("192.168.1.5", nat));
    }
}
