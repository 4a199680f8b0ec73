//! What the node should look like for one VXLAN network, as a pure function of leases, configuration and underlay.
//!
//! Nothing here asks the kernel: the same inputs always give the same wanted state, so `diff` can be tested without
//! root and a restarted agent arrives at the state the last one left. The shape of every object is flannel's, because
//! the nodes at the other ends may run flanneld.

use std::collections::HashSet;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use net::Mac;

/// The route protocol number of every route and nexthop object this program installs (`rtm_protocol`).
///
/// The number is in the range the kernel leaves to user space and is used by none of the routing daemons listed in
/// the kernel's `include/uapi/linux/rtnetlink.h`. Whatever carries it belongs to Plexus; nothing else is removed.
pub const ROUTE_PROTOCOL: u8 = 112;

/// UDP port of a VXLAN device whose configuration says 0. It is the kernel's default and flannel's, not IANA's 4789.
pub const DEFAULT_PORT: u16 = 8472;

/// Bytes VXLAN over IPv4 adds to a frame: outer Ethernet is not counted, inner Ethernet 14 + VXLAN 8 + UDP 8 + IPv4 20.
pub const ENCAPSULATION: u32 = 50;

/// The backend settings of a network that matter on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port, 0 for the default.
    pub port: u16,
    /// Whether the device learns addresses from traffic.
    pub learning: bool,
    /// Whether group policy ids are carried.
    pub gbp: bool,
    /// Whether peers on a network of the underlay interface are reached without encapsulation.
    pub direct_routing: bool,
    /// MTU of the underlay as configured; the interface's own when `None`.
    pub mtu: Option<u32>,
}

impl Tunnel {
    /// The device's name, as flannel names it.
    #[must_use]
    pub fn device_name(&self) -> String {
        format!("flannel.{}", self.vni)
    }
}

/// The facts about the interface that carries the encapsulated traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underlay {
    /// Interface index.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// Interface MTU.
    pub mtu: u32,
    /// The address packets leave from. Always the interface's own, also when another one is advertised.
    pub address: Ipv4Addr,
    /// The address peers are told to send to.
    pub public: Ipv4Addr,
    /// Networks that are on-link on the interface.
    pub on_link: Vec<Ipv4Net>,
}

/// The VXLAN device of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// `flannel.<VNI>`.
    pub name: String,
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port, never 0.
    pub port: u16,
    /// Source address of encapsulated packets.
    pub local: Ipv4Addr,
    /// Index of the underlay interface.
    pub underlay: u32,
    /// Whether the device learns.
    pub learning: bool,
    /// Whether group policy ids are carried.
    pub gbp: bool,
    /// MTU of the device.
    pub mtu: u32,
    /// Link-layer address, the one in our lease.
    pub mac: Mac,
    /// The node's address in the overlay: the subnet's own `.0`, as a /32. `None` while no subnet is leased.
    pub address: Option<Ipv4Addr>,
}

impl Device {
    /// The device wanted for `tunnel` over `underlay`, before a subnet is known.
    #[must_use]
    pub fn new(tunnel: &Tunnel, underlay: &Underlay, mac: Mac) -> Self {
        Device {
            name: tunnel.device_name(),
            vni: tunnel.vni,
            port: if tunnel.port == 0 { DEFAULT_PORT } else { tunnel.port },
            local: underlay.address,
            underlay: underlay.index,
            learning: tunnel.learning,
            gbp: tunnel.gbp,
            mtu: tunnel.mtu.unwrap_or(underlay.mtu).saturating_sub(ENCAPSULATION),
            mac,
            address: None,
        }
    }
}

/// A peer as its lease describes it, reduced to what the kernel is told. Twenty bytes, because there may be 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// The peer's pod subnet.
    pub subnet: Ipv4Net,
    /// Where its encapsulated packets go.
    pub public: Ipv4Addr,
    /// The link-layer address of its VXLAN device.
    pub mac: Mac,
}

impl Peer {
    /// The peer's address in the overlay: the first of its subnet.
    #[must_use]
    pub fn vtep(&self) -> Ipv4Addr {
        self.subnet.network()
    }
}

/// How a peer is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Through the VXLAN device: forwarding entry, neighbour, nexthop object and route.
    Encapsulated,
    /// Through the underlay, by a plain route via the peer's public address.
    Direct,
}

/// Why a lease leads to no entry in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is the node's own.
    Own,
    /// It carries the node's own public address or MAC: an older lease of this node, or a clone of it.
    Mirror,
    /// Another peer with a smaller subnet address already uses the VTEP address or the MAC.
    Duplicate,
    /// The subnet lies outside the network.
    Foreign,
    /// The public address or the MAC names no single station.
    Unusable,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Own => "it is this node's own",
            Refusal::Mirror => "it carries this node's own public address or mac",
            Refusal::Duplicate => "another peer already uses its overlay address or mac",
            Refusal::Foreign => "its subnet lies outside the network",
            Refusal::Unusable => "its public address or mac names no single station",
        })
    }
}

/// The wanted state of one network on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The whole network: direct routes of ours outside it belong to another overlay.
    pub network: Ipv4Net,
    /// The VXLAN device.
    pub device: Device,
    /// Peers in the order of their subnets, each with its way.
    pub peers: Vec<(Peer, Way)>,
    /// Leases that lead to nothing, with the reason; the node's own is not listed.
    pub refused: Vec<(Ipv4Net, Refusal)>,
}

/// Decides the wanted state.
///
/// `own` is this node's subnet; `peers` are all leases of the network, in any order, the own one may be among them.
#[must_use]
pub fn desired(
    network: Ipv4Net,
    tunnel: &Tunnel,
    underlay: &Underlay,
    mac: Mac,
    own: Option<Ipv4Net>,
    peers: impl IntoIterator<Item = Peer>,
) -> Desired {
    let mut sorted: Vec<Peer> = peers.into_iter().collect();
    sorted.sort_unstable();
    let mut wanted = Vec::with_capacity(sorted.len());
    let mut refused = Vec::new();
    let mut macs = HashSet::with_capacity(sorted.len());
    let mut last_vtep = None;
    for peer in sorted {
        let refusal = refusal_of(&peer, network, underlay, mac, own)
            .or_else(|| (last_vtep == Some(peer.vtep()) || !macs.insert(peer.mac)).then_some(Refusal::Duplicate));
        match refusal {
            Some(Refusal::Own) => {}
            Some(reason) => refused.push((peer.subnet, reason)),
            None => {
                last_vtep = Some(peer.vtep());
                let direct = tunnel.direct_routing && underlay.on_link.iter().any(|net| net.contains(&peer.public));
                wanted.push((peer, if direct { Way::Direct } else { Way::Encapsulated }));
            }
        }
    }
    let mut device = Device::new(tunnel, underlay, mac);
    device.address = own.map(|subnet| subnet.network());
    Desired { network, device, peers: wanted, refused }
}

/// Why a lease cannot be used, whatever the others say.
fn refusal_of(peer: &Peer, network: Ipv4Net, underlay: &Underlay, mac: Mac, own: Option<Ipv4Net>) -> Option<Refusal> {
    if Some(peer.subnet) == own {
        Some(Refusal::Own)
    } else if !network.contains(&peer.subnet) {
        Some(Refusal::Foreign)
    } else if peer.public == underlay.public || peer.mac == mac {
        Some(Refusal::Mirror)
    } else if own.is_some_and(|own| own.network() == peer.vtep()) {
        Some(Refusal::Duplicate)
    } else if is_station(peer) {
        None
    } else {
        Some(Refusal::Unusable)
    }
}

fn is_station(peer: &Peer) -> bool {
    let public = peer.public;
    let address = !(public.is_unspecified() || public.is_loopback() || public.is_multicast() || public.is_broadcast());
    address && peer.mac.is_unicast() && peer.mac != Mac::default()
}

const ID_BASE: u32 = 0x4000_0000;
const ID_MASK: u32 = 0x3fff_ffff;
const ID_BITS: u32 = 30;

/// The nexthop id a peer gets unless something else in the namespace already holds it.
///
/// Ids are `0x40000000..=0x7fffffff`, apart from the small numbers routing daemons count up from. The low 30 bits are
/// the peer's overlay address rotated right by eight, so that the /24 subnets of one network have consecutive ids
/// (they then spread evenly over the kernel's `fib_info` hash), shifted by an amount that depends on the VNI so that
/// two networks hardly ever meet.
#[must_use]
pub fn nexthop_id(vni: u32, vtep: Ipv4Addr) -> u32 {
    let low = u32::from(vtep) & ID_MASK;
    let rotated = ((low >> 8) | (low << (ID_BITS - 8))) & ID_MASK;
    ID_BASE | (rotated.wrapping_add(vni.wrapping_mul(0x9e37_79b1)) & ID_MASK)
}

/// The id to try after `id` is found taken.
#[must_use]
pub fn next_nexthop_id(id: u32) -> u32 {
    ID_BASE | (id.wrapping_add(1) & ID_MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel() -> Tunnel {
        Tunnel { vni: 1, port: 0, learning: false, gbp: false, direct_routing: false, mtu: None }
    }

    fn underlay() -> Underlay {
        Underlay {
            index: 2,
            name: "eth0".into(),
            mtu: 1500,
            address: Ipv4Addr::new(192, 168, 1, 1),
            public: Ipv4Addr::new(203, 0, 113, 1),
            on_link: vec!["192.168.1.0/24".parse().unwrap()],
        }
    }

    fn peer(subnet: &str, public: &str, last: u8) -> Peer {
        Peer { subnet: subnet.parse().unwrap(), public: public.parse().unwrap(), mac: Mac([2, 0, 0, 0, 0, last]) }
    }

    fn decide(tunnel: &Tunnel, peers: Vec<Peer>) -> Desired {
        desired(
            "10.5.0.0/16".parse().unwrap(),
            tunnel,
            &underlay(),
            Mac([2, 0, 0, 0, 0, 0xff]),
            Some("10.5.9.0/24".parse().unwrap()),
            peers,
        )
    }

    #[test]
    fn the_device_is_flannels() {
        let device = decide(&tunnel(), vec![]).device;
        assert_eq!(device.name, "flannel.1");
        assert_eq!((device.vni, device.port, device.mtu, device.underlay), (1, 8472, 1450, 2));
        assert_eq!(device.local, Ipv4Addr::new(192, 168, 1, 1), "the interface's address, not the advertised one");
        assert_eq!(device.address, Some(Ipv4Addr::new(10, 5, 9, 0)));
        assert!(!device.learning);
    }

    #[test]
    fn a_configured_mtu_stands_for_the_underlays() {
        let device = decide(&Tunnel { mtu: Some(1400), port: 4789, ..tunnel() }, vec![]).device;
        assert_eq!((device.mtu, device.port), (1350, 4789));
    }

    #[test]
    fn peers_are_sorted_and_the_own_lease_is_left_out() {
        let peers = vec![
            peer("10.5.20.0/24", "192.168.1.3", 3),
            peer("10.5.9.0/24", "203.0.113.1", 0xff),
            peer("10.5.4.0/24", "192.168.1.2", 2),
        ];
        let got = decide(&tunnel(), peers);
        assert_eq!(
            got.peers.iter().map(|(p, _)| p.subnet.to_string()).collect::<Vec<_>>(),
            ["10.5.4.0/24", "10.5.20.0/24"]
        );
        assert!(got.refused.is_empty());
    }

    #[test]
    fn leases_that_would_break_others_are_refused_with_the_reason() {
        let peers = vec![
            peer("10.5.4.0/24", "192.168.1.2", 2),
            peer("10.5.4.0/25", "192.168.1.7", 7),
            peer("10.5.5.0/24", "192.168.1.3", 2),
            peer("10.5.6.0/24", "203.0.113.1", 4),
            peer("10.5.7.0/24", "0.0.0.0", 6),
            peer("10.5.9.0/25", "192.168.1.9", 9),
            peer("10.6.0.0/24", "192.168.1.5", 5),
        ];
        let got = decide(&tunnel(), peers);
        assert_eq!(got.peers.len(), 1);
        assert_eq!(
            got.refused.iter().map(|(_, r)| *r).collect::<Vec<_>>(),
            [
                Refusal::Duplicate,
                Refusal::Duplicate,
                Refusal::Mirror,
                Refusal::Unusable,
                Refusal::Duplicate,
                Refusal::Foreign
            ]
        );
    }

    #[test]
    fn direct_routing_concerns_only_peers_on_link() {
        let peers = vec![peer("10.5.4.0/24", "192.168.1.2", 2), peer("10.5.5.0/24", "192.168.2.2", 3)];
        let ways: Vec<Way> = decide(&Tunnel { direct_routing: true, ..tunnel() }, peers.clone())
            .peers
            .into_iter()
            .map(|(_, way)| way)
            .collect();
        assert_eq!(ways, [Way::Direct, Way::Encapsulated]);
        assert!(decide(&tunnel(), peers).peers.iter().all(|(_, way)| *way == Way::Encapsulated));
    }

    #[test]
    fn nexthop_ids_of_a_network_are_distinct_and_dense() {
        let ids: Vec<u32> = (0..=255_u32)
            .flat_map(|b| [0_u32, 64, 128, 192].map(|c| nexthop_id(7, (0x0a05_0000 | b << 8 | c).into())))
            .collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        assert!(ids.iter().all(|id| (0x4000_0000..0x8000_0000).contains(id)));
        assert_eq!(nexthop_id(1, Ipv4Addr::new(10, 5, 4, 0)) + 1, nexthop_id(1, Ipv4Addr::new(10, 5, 5, 0)));
        assert_ne!(nexthop_id(1, Ipv4Addr::new(10, 5, 4, 0)), nexthop_id(2, Ipv4Addr::new(10, 5, 4, 0)));
        assert_eq!(next_nexthop_id(0x7fff_ffff), 0x4000_0000);
    }
}
