//! Kernel and file operations as data.
//!
//! A plan is a list of [`Step`]s. It can be printed, compared, written to the journal before anything is touched, applied by an
//! executor, and undone from the journal alone when nothing else is left of the request. That is why [`Op`] is closed and every
//! field is a plain value: an operation from an older journal must still be readable and mean the same.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::mac::Mac;
use crate::nft;

/// The network namespace an operation is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The node.
    Host,
    /// The pod's sandbox.
    Pod,
}

/// One operation of a plan with what takes it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Where the operation happens.
    pub place: Place,
    /// What is done.
    pub op: Op,
    /// What takes it back; `None` for objects shared by the pods of the node, which stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Op>,
    /// The reason, for messages and for readers of the plan.
    pub why: String,
}

/// An operation with its place: what a journal hands to [`crate::apply::Executor::undo`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlacedOp {
    /// Where the operation happens.
    pub place: Place,
    /// What is done.
    #[serde(flatten)]
    pub op: Op,
}

impl Step {
    /// What takes this step back, with its place.
    #[must_use]
    pub fn placed_undo(&self) -> Option<PlacedOp> {
        self.undo.clone().map(|op| PlacedOp { place: self.place, op })
    }
}

/// One end of a veth pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VethEnd {
    /// Interface name, at most 15 bytes.
    pub name: String,
    /// Interface index, chosen by the planner. The two ends must differ: the kernel delays the carrier of links whose peer has
    /// their own index (`linkwatch_urgent_event` in net/core/link_watch.c).
    pub index: u32,
    /// Ethernet address.
    pub mac: Mac,
}

/// A route, as it is added and deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSpec {
    /// Index of the interface the route leaves by.
    pub index: u32,
    /// Destination; `0.0.0.0/0` or `::/0` is the default route.
    pub dst: IpNet,
    /// Next hop; without one the destination is on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Priority (metric); the lower wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Routing table; `None` is the main table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Path MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Advertised TCP segment size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Scope (`rtm_scope`); `None` is universe with a gateway and link without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
    /// Take the gateway as reachable on the link even if no address covers it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_link: bool,
    /// Name of the interface, for messages only.
    pub name: String,
}

/// An operation.
///
/// "Missing fine" means that the object's absence is success, which every operation used as an undo needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Op {
    /// A bridge with this name exists and is up. Missing, it is created as described; present, it must be a bridge and keeps its
    /// MTU and MAC address. A shared object: never undone.
    EnsureBridge {
        /// Interface name.
        name: String,
        /// MTU at creation, in bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mtu: Option<u32>,
        /// Ethernet address at creation: given, so that it does not change with every port.
        mac: Mac,
        /// Switch VLAN filtering on.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        vlan_filtering: bool,
        /// Switch promiscuous mode on.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        promisc: bool,
    },
    /// The link has this address. A shared object: never undone.
    EnsureAddress {
        /// Interface name.
        link: String,
        /// Address with its prefix length.
        address: IpNet,
    },
    /// The link does not have this address. Missing fine.
    RemoveAddress {
        /// Interface name.
        link: String,
        /// Address with its prefix length.
        address: IpNet,
    },
    /// The kernel setting has this value. Written only when it differs.
    Sysctl {
        /// Key with slashes, below `/proc/sys`, such as `net/ipv4/ip_forward`.
        key: String,
        /// Value as text.
        value: String,
    },
    /// A veth pair with one end in the pod's namespace, in one message; the host end is up, the pod end is down.
    CreateVeth {
        /// The end that stays on the node.
        host: VethEnd,
        /// The end in the pod.
        pod: VethEnd,
        /// MTU of both ends, in bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mtu: Option<u32>,
        /// Bridge the host end joins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bridge: Option<String>,
        /// Link group (`IFLA_GROUP`) of the host end: all links of a pod share one and are deleted by it.
        group: u32,
        /// Let the bridge send frames back out of this port.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        hairpin: bool,
        /// Keep the port from talking to other isolated ports.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        isolated: bool,
    },
    /// All links of the group are deleted; an undo deletes each group once. Missing fine.
    DeleteLinks {
        /// Link group; 0 (the kernel's default group) deletes by name instead.
        group: u32,
        /// Interface names, for messages, and for deletion when the group is 0.
        names: Vec<String>,
    },
    /// The link is up.
    LinkUp {
        /// Interface index.
        index: u32,
        /// Announce addresses by gratuitous ARP when they appear (`arp_notify`), set in the same message.
        arp_notify: bool,
        /// Name of the interface, for messages only.
        name: String,
    },
    /// The link is down. Missing fine.
    LinkDown {
        /// Interface name.
        name: String,
    },
    /// The address is added; present is an error. IPv6 addresses skip duplicate address detection.
    AddAddress {
        /// Interface index.
        index: u32,
        /// Address with its prefix length.
        address: IpNet,
        /// Name of the interface, for messages only.
        name: String,
    },
    /// The address is deleted. Missing fine.
    DeleteAddress {
        /// Interface index.
        index: u32,
        /// Address with its prefix length.
        address: IpNet,
        /// Name of the interface, for messages only.
        name: String,
    },
    /// The route is added; the same one present is an error, another one to the destination stays before it.
    AddRoute(RouteSpec),
    /// The route is deleted. Missing fine.
    DeleteRoute(RouteSpec),
    /// The nftables transaction is committed. As an undo it must itself tolerate missing objects.
    Nft {
        /// The transaction.
        transaction: nft::Transaction,
        /// What it builds on: committed first if that is missing. A shared object, never undone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        foundation: Option<nft::Transaction>,
        /// As an undo: delete only elements with this comment, so that those of somebody else stay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
    },
    /// Connection-tracking entries of a host port are dropped. A failure is reported as a warning and fails nothing.
    DeleteConntrack {
        /// IP protocol number, 17 for UDP.
        protocol: u8,
        /// Original destination port.
        port: u16,
    },
    /// The file is created, whole or not at all; present is an error.
    CreateFile {
        /// Absolute path.
        path: String,
        /// Contents.
        contents: String,
        /// Permission bits.
        mode: u32,
        /// Create missing parent directories (0755).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        make_dirs: bool,
    },
    /// The file has these contents, written in place: for hints that readers can do without, such as a cursor.
    WriteFile {
        /// Absolute path.
        path: String,
        /// Contents.
        contents: String,
        /// Permission bits.
        mode: u32,
    },
    /// The file is removed. Missing fine.
    RemoveFile {
        /// Absolute path.
        path: String,
        /// Remove only a file that is empty or has just these contents, so that a file written by somebody else since stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only_if: Option<String>,
    },
    /// A foreign plugin is executed. What it prints is in [`crate::apply::Applied`].
    Exec {
        /// Absolute path of the program.
        program: String,
        /// The whole environment: nothing else is inherited.
        environment: Vec<(String, String)>,
        /// Standard input.
        stdin: String,
        /// Time after which the program and its children are killed, in milliseconds.
        deadline_ms: u64,
        /// What it is, for messages: the standard input is never shown.
        what: String,
    },
}

impl fmt::Display for Op {
    /// One line for messages and plans. The environment and the standard input of a program are left out: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EnsureBridge { name, .. } => write!(f, "ensure bridge {name}"),
            Self::EnsureAddress { link, address } => write!(f, "ensure address {address} on {link}"),
            Self::RemoveAddress { link, address } => write!(f, "remove address {address} from {link}"),
            Self::Sysctl { key, value } => write!(f, "set {key} to {value}"),
            Self::CreateVeth { host, pod, bridge, .. } => {
                write!(f, "create veth {} with peer {}", host.name, pod.name)?;
                bridge.as_ref().map_or(Ok(()), |bridge| write!(f, " on bridge {bridge}"))
            }
            Self::DeleteLinks { group, names } => write!(f, "delete links {} (group {group})", names.join(", ")),
            Self::LinkUp { name, .. } => write!(f, "set {name} up"),
            Self::LinkDown { name } => write!(f, "set {name} down"),
            Self::AddAddress { address, name, .. } => write!(f, "add address {address} to {name}"),
            Self::DeleteAddress { address, name, .. } => write!(f, "delete address {address} of {name}"),
            Self::AddRoute(route) => write!(f, "add route {route}"),
            Self::DeleteRoute(route) => write!(f, "delete route {route}"),
            Self::Nft { .. } => write!(f, "commit nftables transaction"),
            Self::DeleteConntrack { protocol, port } => {
                write!(f, "drop connections of protocol {protocol} port {port}")
            }
            Self::CreateFile { path, .. } => write!(f, "create {path}"),
            Self::WriteFile { path, .. } => write!(f, "write {path}"),
            Self::RemoveFile { path, .. } => write!(f, "remove {path}"),
            Self::Exec { program, what, .. } => write!(f, "execute {program} ({what})"),
        }
    }
}

impl fmt::Display for RouteSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dst)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " dev {}", self.name)?;
        self.table.map_or(Ok(()), |table| write!(f, " table {table}"))
    }
}
