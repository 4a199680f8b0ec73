//! Interfaces: veth pairs, bridges and their ports, VXLAN devices, and what changes or deletes them.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecUnspec, InetDevConf, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind,
    InfoVeth, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkInfo, LinkMessage,
};

use super::CREATE_NEW;
use crate::mac::Mac;
use crate::netlink::Message;
use crate::op::VethEnd;

/// A veth pair to be created.
#[derive(Debug, Clone, Copy)]
pub struct Veth<'a> {
    /// The end in the socket's namespace. It comes up.
    pub near: &'a VethEnd,
    /// The other end. It stays down: a veth end whose twin does not exist yet cannot come up, and trying costs 30 ms (`veth_open`
    /// in drivers/net/veth.c answers `ENOTCONN`).
    pub far: &'a VethEnd,
    /// Namespace of the other end; `None` for the same one.
    pub far_namespace: Option<BorrowedFd<'a>>,
    /// MTU of both ends, in bytes.
    pub mtu: Option<u32>,
    /// Index of the bridge the near end joins.
    pub master: Option<u32>,
    /// Link group of the near end.
    pub group: u32,
}

/// Creates both ends of a veth pair.
#[must_use]
pub fn create_veth(veth: &Veth<'_>) -> Message {
    let mut far = end_attributes(veth.far, veth.mtu);
    far.extend(veth.far_namespace.map(|namespace| LinkAttribute::NetNsFd(namespace.as_raw_fd())));
    let peer = InfoVeth::Peer(message(veth.far.index, LinkFlags::empty(), LinkFlags::empty(), far));

    let mut near = end_attributes(veth.near, veth.mtu);
    near.extend(veth.master.map(LinkAttribute::Controller));
    near.push(LinkAttribute::Group(veth.group));
    near.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(peer))]));
    let what = format!("create veth {} with peer {}", veth.near.name, veth.far.name);
    new(message(veth.near.index, LinkFlags::Up, LinkFlags::Up, near), CREATE_NEW, what)
}

fn end_attributes(end: &VethEnd, mtu: Option<u32>) -> Vec<LinkAttribute> {
    let mut attributes = vec![LinkAttribute::IfName(end.name.clone()), LinkAttribute::Address(end.mac.0.to_vec())];
    attributes.extend(mtu.map(LinkAttribute::Mtu));
    attributes
}

/// A bridge to be created.
#[derive(Debug, Clone, Copy)]
pub struct Bridge<'a> {
    /// Interface name.
    pub name: &'a str,
    /// Ethernet address; a bridge without one takes the lowest of its ports and changes with them.
    pub mac: Mac,
    /// MTU in bytes until the first port joins: then it follows the ports, unless [`set_mtu`] has changed it.
    pub mtu: Option<u32>,
    /// Switch VLAN filtering on.
    pub vlan_filtering: bool,
    /// Switch promiscuous mode on.
    pub promisc: bool,
}

/// Creates a bridge and sets it up.
#[must_use]
pub fn create_bridge(bridge: &Bridge<'_>) -> Message {
    let mut attributes =
        vec![LinkAttribute::IfName(bridge.name.to_owned()), LinkAttribute::Address(bridge.mac.0.to_vec())];
    attributes.extend(bridge.mtu.map(LinkAttribute::Mtu));
    let mut info = vec![LinkInfo::Kind(InfoKind::Bridge)];
    if bridge.vlan_filtering {
        info.push(LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)])));
    }
    attributes.push(LinkAttribute::LinkInfo(info));
    let flags = if bridge.promisc { LinkFlags::Up | LinkFlags::Promisc } else { LinkFlags::Up };
    new(message(0, flags, flags, attributes), CREATE_NEW, format!("create bridge {}", bridge.name))
}

/// Switches VLAN filtering of a bridge on.
#[must_use]
pub fn enable_vlan_filtering(index: u32, name: &str) -> Message {
    let data = LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)]));
    let info = vec![LinkInfo::Kind(InfoKind::Bridge), data];
    let attributes = vec![LinkAttribute::LinkInfo(info)];
    let what = format!("switch VLAN filtering of {name} on");
    new(message(index, LinkFlags::empty(), LinkFlags::empty(), attributes), 0, what)
}

/// Sets hairpin mode and isolation of a bridge port. This must follow the message that made the link a port: the kernel ignores port
/// settings in the message that creates a link (`rtnl_newlink` in net/core/rtnetlink.c).
#[must_use]
pub fn set_bridge_port(index: u32, name: &str, hairpin: bool, isolated: bool) -> Message {
    let port = vec![InfoBridgePort::HairpinMode(hairpin), InfoBridgePort::Isolated(isolated)];
    let info = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(InfoPortData::BridgePort(port))];
    let attributes = vec![LinkAttribute::LinkInfo(info)];
    let what = format!("configure bridge port {name}");
    new(message(index, LinkFlags::empty(), LinkFlags::empty(), attributes), 0, what)
}

/// A VXLAN device to be created: learning off, UDP checksums on, as overlays with programmed peers want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vxlan {
    /// Interface name.
    pub name: String,
    /// Ethernet address, given so that nothing else on the node chooses one.
    pub mac: Mac,
    /// VXLAN network identifier.
    pub id: u32,
    /// UDP destination port.
    pub port: u16,
    /// Source address of the tunnel.
    pub local: Ipv4Addr,
    /// Index of the interface the tunnel runs over.
    pub lower: u32,
    /// MTU in bytes.
    pub mtu: u32,
    /// Group-based policy extension.
    pub gbp: bool,
    /// Learn peers from traffic.
    pub learning: bool,
}

/// Seconds after which the kernel forgets learned entries: its own default, given because flannel gives it.
const VXLAN_AGEING: u32 = 300;

/// Creates a VXLAN device. It stays down.
#[must_use]
pub fn create_vxlan(vxlan: &Vxlan) -> Message {
    let mut data = vec![
        InfoVxlan::Id(vxlan.id),
        InfoVxlan::Link(vxlan.lower),
        InfoVxlan::Local(vxlan.local),
        InfoVxlan::Ttl(0),
        InfoVxlan::Learning(vxlan.learning),
        InfoVxlan::Ageing(VXLAN_AGEING),
        InfoVxlan::UDPCsum(true),
        InfoVxlan::Port(vxlan.port),
    ];
    data.extend(vxlan.gbp.then_some(InfoVxlan::Gbp));
    let attributes = vec![
        LinkAttribute::IfName(vxlan.name.clone()),
        LinkAttribute::Address(vxlan.mac.0.to_vec()),
        LinkAttribute::Mtu(vxlan.mtu),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(InfoData::Vxlan(data))]),
    ];
    let what = format!("create vxlan {}", vxlan.name);
    new(message(0, LinkFlags::empty(), LinkFlags::empty(), attributes), CREATE_NEW, what)
}

/// Sets a link up.
#[must_use]
pub fn set_up(index: u32, name: &str) -> Message {
    set(index, LinkFlags::Up, LinkFlags::Up, vec![], format!("set {name} up"))
}

/// Sets a link up and has the kernel announce its addresses by gratuitous ARP from the first one on.
#[must_use]
pub fn set_up_announcing(index: u32, name: &str) -> Message {
    let mut conf = InetDevConf::default();
    conf.arp_notify = 1;
    let family = AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)]);
    let attributes = vec![LinkAttribute::AfSpecUnspec(vec![family])];
    set(index, LinkFlags::Up, LinkFlags::Up, attributes, format!("set {name} up"))
}

/// Sets a link down.
#[must_use]
pub fn set_down(index: u32, name: &str) -> Message {
    set(index, LinkFlags::empty(), LinkFlags::Up, vec![], format!("set {name} down"))
}

/// Switches promiscuous mode on.
#[must_use]
pub fn set_promisc(index: u32, name: &str) -> Message {
    let what = format!("switch promiscuous mode of {name} on");
    set(index, LinkFlags::Promisc, LinkFlags::Promisc, vec![], what)
}

/// Changes the MTU, in bytes.
#[must_use]
pub fn set_mtu(index: u32, name: &str, mtu: u32) -> Message {
    set(
        index,
        LinkFlags::empty(),
        LinkFlags::empty(),
        vec![LinkAttribute::Mtu(mtu)],
        format!("set MTU of {name} to {mtu}"),
    )
}

/// Changes the Ethernet address.
#[must_use]
pub fn set_mac(index: u32, name: &str, mac: Mac) -> Message {
    let attributes = vec![LinkAttribute::Address(mac.0.to_vec())];
    set(index, LinkFlags::empty(), LinkFlags::empty(), attributes, format!("set MAC address of {name} to {mac}"))
}

/// Makes the link a port of another, or of none.
#[must_use]
pub fn set_master(index: u32, name: &str, master: Option<u32>) -> Message {
    let attributes = vec![LinkAttribute::Controller(master.unwrap_or(0))];
    set(index, LinkFlags::empty(), LinkFlags::empty(), attributes, format!("set master of {name}"))
}

/// Sets an alias, which marks a link as ours for people and for clean-up.
#[must_use]
pub fn set_alias(index: u32, name: &str, alias: &str) -> Message {
    let attributes = vec![LinkAttribute::IfAlias(alias.to_owned())];
    set(index, LinkFlags::empty(), LinkFlags::empty(), attributes, format!("set alias of {name}"))
}

/// Moves a link into another namespace, keeping its name.
#[must_use]
pub fn move_to_namespace(index: u32, name: &str, namespace: BorrowedFd<'_>) -> Message {
    let attributes = vec![LinkAttribute::NetNsFd(namespace.as_raw_fd())];
    set(index, LinkFlags::empty(), LinkFlags::empty(), attributes, format!("move {name} to another namespace"))
}

/// Deletes a link.
#[must_use]
pub fn delete(index: u32, name: &str) -> Message {
    let link = message(index, LinkFlags::empty(), LinkFlags::empty(), vec![]);
    Message::route(RouteNetlinkMessage::DelLink(link), 0, format!("delete {name}"))
}

/// Deletes the link with a name.
#[must_use]
pub fn delete_by_name(name: &str) -> Message {
    let attributes = vec![LinkAttribute::IfName(name.to_owned())];
    let link = message(0, LinkFlags::empty(), LinkFlags::empty(), attributes);
    Message::route(RouteNetlinkMessage::DelLink(link), 0, format!("delete {name}"))
}

/// Deletes every link of a group at once: they share the grace periods that make a deletion slow (12 to 20 ms each otherwise).
#[must_use]
pub fn delete_group(group: u32) -> Message {
    let link = message(0, LinkFlags::empty(), LinkFlags::empty(), vec![LinkAttribute::Group(group)]);
    Message::route(RouteNetlinkMessage::DelLink(link), 0, format!("delete links of group {group}"))
}

/// Asks for the link with a name.
#[must_use]
pub fn get_by_name(name: &str) -> Message {
    let attributes = vec![without_statistics(), LinkAttribute::IfName(name.to_owned())];
    let link = message(0, LinkFlags::empty(), LinkFlags::empty(), attributes);
    Message::route(RouteNetlinkMessage::GetLink(link), 0, format!("look up {name}"))
}

/// Asks for the link with an index.
#[must_use]
pub fn get_by_index(index: u32) -> Message {
    let link = message(index, LinkFlags::empty(), LinkFlags::empty(), vec![without_statistics()]);
    Message::route(RouteNetlinkMessage::GetLink(link), 0, format!("look up interface {index}"))
}

/// Asks for all links.
#[must_use]
pub fn get_all() -> Message {
    let link = message(0, LinkFlags::empty(), LinkFlags::empty(), vec![without_statistics()]);
    Message::route(RouteNetlinkMessage::GetLink(link), netlink_packet_core::NLM_F_DUMP, "list links")
}

/// Statistics are the larger part of a link's description and nobody here reads them.
fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

fn message(index: u32, flags: LinkFlags, change_mask: LinkFlags, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header = LinkHeader { index, flags, change_mask, ..LinkHeader::default() };
    message.attributes = attributes;
    message
}

fn new(link: LinkMessage, flags: u16, what: String) -> Message {
    Message::route(RouteNetlinkMessage::NewLink(link), flags, what)
}

fn set(index: u32, flags: LinkFlags, mask: LinkFlags, attributes: Vec<LinkAttribute>, what: String) -> Message {
    Message::route(RouteNetlinkMessage::SetLink(message(index, flags, mask, attributes)), 0, what)
}
