//! Interfaces as the kernel describes them.

use std::net::IpAddr;

use netlink_packet_core::Parseable;
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoPortData, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use crate::mac::Mac;
use crate::message;
use crate::netlink::{Message, NetlinkError, Socket};

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// Interface index.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// Kind (`veth`, `bridge`, `vxlan`); `None` for physical devices and the loopback.
    pub kind: Option<String>,
    /// Ethernet address.
    pub mac: Option<Mac>,
    /// MTU in bytes.
    pub mtu: u32,
    /// It is set up (which does not mean that it has a carrier).
    pub up: bool,
    /// It has a carrier.
    pub running: bool,
    /// Promiscuous mode was asked for.
    pub promisc: bool,
    /// Index of the bridge it is a port of.
    pub master: Option<u32>,
    /// Link group.
    pub group: u32,
    /// Alias.
    pub alias: Option<String>,
    /// Index of the other end of a veth, or of the link below; it may live in another namespace.
    pub link: Option<u32>,
    /// Number of that other namespace as seen from this one (`IFLA_LINK_NETNSID`).
    pub link_namespace: Option<i32>,
    /// Details of a VXLAN device.
    pub vxlan: Option<VxlanFacts>,
    /// Details of a bridge.
    pub bridge: Option<BridgeFacts>,
    /// Details of a bridge port.
    pub port: Option<PortFacts>,
}

/// A VXLAN device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VxlanFacts {
    /// VXLAN network identifier.
    pub id: u32,
    /// UDP destination port.
    pub port: u16,
    /// Source address of the tunnel.
    pub local: Option<IpAddr>,
    /// Default destination, a multicast group or one peer.
    pub group: Option<IpAddr>,
    /// Index of the interface the tunnel runs over.
    pub lower: Option<u32>,
    /// Peers are learned from traffic.
    pub learning: bool,
    /// Missing forwarding entries are reported.
    pub l2miss: bool,
    /// Missing neighbours are reported.
    pub l3miss: bool,
    /// Group-based policy extension.
    pub gbp: bool,
    /// UDP checksums are computed.
    pub udp_checksum: bool,
    /// Seconds after which learned entries are forgotten.
    pub ageing: u32,
    /// Time to live of the outer packet; 0 is automatic.
    pub ttl: u8,
}

/// A bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BridgeFacts {
    /// VLANs are filtered.
    pub vlan_filtering: bool,
}

/// A bridge port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortFacts {
    /// Frames may leave by the port they came from.
    pub hairpin: bool,
    /// The port does not talk to other isolated ports.
    pub isolated: bool,
}

/// All links of the socket's namespace.
///
/// # Errors
/// The kernel's refusal, or a failure of the socket.
pub fn links(socket: &mut Socket) -> Result<Vec<LinkFacts>, NetlinkError> {
    socket.dump(&message::link::get_all(), |_, payload| parse(payload))
}

/// The link with a name, in one exchange; `None` when there is none.
///
/// # Errors
/// The kernel's refusal, or a failure of the socket.
pub fn link_by_name(socket: &mut Socket, name: &str) -> Result<Option<LinkFacts>, NetlinkError> {
    one(socket, &message::link::get_by_name(name))
}

/// The link with an index, in one exchange; `None` when there is none.
///
/// # Errors
/// The kernel's refusal, or a failure of the socket.
pub fn link_by_index(socket: &mut Socket, index: u32) -> Result<Option<LinkFacts>, NetlinkError> {
    one(socket, &message::link::get_by_index(index))
}

fn one(socket: &mut Socket, question: &Message) -> Result<Option<LinkFacts>, NetlinkError> {
    socket.get(question, |_, payload| parse(payload))
}

fn parse(payload: &[u8]) -> Option<LinkFacts> {
    let message = LinkMessage::parse(payload).ok()?;
    let flags = message.header.flags;
    let mut facts = LinkFacts {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::LowerUp),
        promisc: flags.contains(LinkFlags::Promisc),
        ..LinkFacts::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => facts.name = name,
            LinkAttribute::Address(bytes) => facts.mac = Mac::from_slice(&bytes),
            LinkAttribute::Mtu(mtu) => facts.mtu = mtu,
            LinkAttribute::Controller(master) => facts.master = Some(master),
            LinkAttribute::Group(group) => facts.group = group,
            LinkAttribute::IfAlias(alias) => facts.alias = Some(alias),
            LinkAttribute::Link(link) => facts.link = Some(link),
            LinkAttribute::LinkNetNsId(id) => facts.link_namespace = Some(id),
            LinkAttribute::LinkInfo(info) => info.into_iter().for_each(|info| facts.describe(info)),
            _ => {}
        }
    }
    Some(facts)
}

impl LinkFacts {
    fn describe(&mut self, info: LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => self.kind = Some(kind.to_string()),
            LinkInfo::Data(InfoData::Vxlan(data)) => self.vxlan = Some(vxlan(data)),
            LinkInfo::Data(InfoData::Bridge(data)) => {
                self.bridge = Some(BridgeFacts { vlan_filtering: data.contains(&InfoBridge::VlanFiltering(true)) });
            }
            LinkInfo::PortData(InfoPortData::BridgePort(data)) => {
                let hairpin = data.contains(&InfoBridgePort::HairpinMode(true));
                self.port = Some(PortFacts { hairpin, isolated: data.contains(&InfoBridgePort::Isolated(true)) });
            }
            _ => {}
        }
    }
}

fn vxlan(data: Vec<InfoVxlan>) -> VxlanFacts {
    let mut facts = VxlanFacts::default();
    for attribute in data {
        match attribute {
            InfoVxlan::Id(id) => facts.id = id,
            InfoVxlan::Port(port) => facts.port = port,
            InfoVxlan::Local(local) => facts.local = Some(local.into()),
            InfoVxlan::Local6(local) => facts.local = Some(local.into()),
            InfoVxlan::Group(group) => facts.group = Some(group.into()),
            InfoVxlan::Group6(group) => facts.group = Some(group.into()),
            InfoVxlan::Link(lower) => facts.lower = Some(lower),
            InfoVxlan::Learning(learning) => facts.learning = learning,
            InfoVxlan::L2Miss(l2miss) => facts.l2miss = l2miss,
            InfoVxlan::L3Miss(l3miss) => facts.l3miss = l3miss,
            InfoVxlan::Gbp => facts.gbp = true,
            InfoVxlan::UDPCsum(checksum) => facts.udp_checksum = checksum,
            InfoVxlan::Ageing(ageing) => facts.ageing = ageing,
            InfoVxlan::Ttl(ttl) => facts.ttl = ttl,
            _ => {}
        }
    }
    facts
}
