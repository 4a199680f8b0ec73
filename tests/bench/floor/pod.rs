//! One pod on two bridges: two veth pairs in one datagram on the node, everything else in one inside the pod, and both links
//! deleted as one group. Message types and attributes are those of `linux/rtnetlink.h`, `if_link.h` and `nf_tables.h`.

use crate::wire::{Batch, EXCLUSIVE, Wire, attribute, name, nested};
use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const NEWADDR: u16 = 20;
const NEWROUTE: u16 = 24;
const NETLINK_ROUTE: isize = 0;
const NETLINK_NETFILTER: isize = 12;
const UP: u32 = 1;
const MTU: u32 = 1450;
/// Far above what the kernel hands out, so that the driver's own links do not collide.
const FIRST_INDEX: u32 = 1_000_000;
const FIRST_GROUP: u32 = 0x10000;

struct Network {
    bridge: &'static str,
    interface: &'static str,
    base: Ipv4Addr,
    set: &'static str,
}

static NETWORKS: [Network; 2] = [
    Network { bridge: "kbr0", interface: "eth0", base: Ipv4Addr::new(10, 42, 0, 0), set: "pods0" },
    Network { bridge: "kbr1", interface: "net1", base: Ipv4Addr::new(10, 5, 0, 0), set: "pods1" },
];

impl Network {
    fn address(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() + 2 + number)
    }

    fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() + 1)
    }
}

/// Attach the pod.
pub(crate) fn add(netns: &str, number: u32, masquerade: bool) -> Result<()> {
    let namespace = File::open(netns).with_context(|| format!("cannot open {netns}"))?;
    create_links(&namespace, number)?;
    if masquerade {
        change_sets(number, true)?;
    }
    setns(&namespace, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {netns}"))?;
    configure(number)
}

/// Take the pod's links away, both in one go.
pub(crate) fn delete(number: u32, masquerade: bool) -> Result<()> {
    let mut batch = Batch::default();
    batch.push(DELLINK, 0, &link_header(0, 0), &[attribute(27, &(FIRST_GROUP + number).to_ne_bytes())]);
    batch.acknowledge_last();
    Wire::open(NETLINK_ROUTE)?.exchange(&batch, batch.len(), "delete the links")?;
    if masquerade { change_sets(number, false) } else { Ok(()) }
}

fn create_links(namespace: &File, number: u32) -> Result<()> {
    let mut batch = Batch::default();
    for (position, network) in (0..).zip(&NETWORKS) {
        let bridge = if_nametoindex(network.bridge).with_context(|| format!("no bridge {}", network.bridge))?;
        let address = network.address(number).octets();
        let peer = [
            link_header(index(number, position), 0),
            name(3, network.interface),
            attribute(1, &[&[0x0a, 0x58], address.as_slice()].concat()),
            attribute(4, &MTU.to_ne_bytes()),
            attribute(28, &namespace.as_raw_fd().to_ne_bytes()),
        ]
        .concat();
        let veth = [name(1, "veth"), attribute(2, &attribute(1, &peer))].concat();
        batch.push(
            NEWLINK,
            EXCLUSIVE,
            &link_header(index(number, position), UP),
            &[
                name(3, &format!("fl{position}-{number}")),
                attribute(1, &[&[0x0e, 0x58], address.as_slice()].concat()),
                attribute(4, &MTU.to_ne_bytes()),
                attribute(10, &bridge.to_ne_bytes()),
                attribute(27, &(FIRST_GROUP + number).to_ne_bytes()),
                attribute(18, &veth),
            ],
        );
    }
    batch.acknowledge_last();
    Wire::open(NETLINK_ROUTE)?.exchange(&batch, batch.len(), "create the links")
}

fn configure(number: u32) -> Result<()> {
    let mut batch = Batch::default();
    for (position, network) in (0..).zip(&NETWORKS) {
        let link = index(number, position);
        let (address, gateway) = (network.address(number).octets(), network.gateway().octets());
        batch.push(NEWLINK, 0, &link_header(link, UP), &[]);
        batch.push(
            NEWADDR,
            EXCLUSIVE,
            &[&[2, 20, 0, 0], link.to_ne_bytes().as_slice()].concat(),
            &[attribute(2, &address), attribute(1, &address)],
        );
        let through = [attribute(5, &gateway), attribute(4, &link.to_ne_bytes())];
        batch.push(
            NEWROUTE,
            EXCLUSIVE,
            &route_header(16),
            &[[attribute(1, &network.base.octets())].as_slice(), &through].concat(),
        );
        if position == 0 {
            batch.push(NEWROUTE, EXCLUSIVE, &route_header(0), &through);
        }
    }
    batch.acknowledge_last();
    Wire::open(NETLINK_ROUTE)?.exchange(&batch, batch.len(), "configure the pod")
}

/// The pod's addresses into (or out of) the sets of the table `floor`, as one transaction.
fn change_sets(number: u32, add: bool) -> Result<()> {
    const SUBSYSTEM: u16 = 10;
    const NEW: u16 = 12;
    const DELETE: u16 = 14;
    let frame = [0, 0, 0, 10];
    let mut batch = Batch::default();
    batch.push(16, 0, &frame, &[]);
    for network in &NETWORKS {
        let key = nested(1, &[attribute(1, &network.address(number).octets())]);
        let elements = nested(3, &[nested(1, &[key])]);
        let kind = SUBSYSTEM << 8 | if add { NEW } else { DELETE };
        batch.push(
            kind,
            if add { 0x400 } else { 0 },
            &[2, 0, 0, 0],
            &[name(1, "floor"), name(2, network.set), elements],
        );
    }
    batch.acknowledge_last();
    let awaited = batch.len();
    batch.push(17, 0, &frame, &[]);
    Wire::open(NETLINK_NETFILTER)?.exchange(&batch, awaited, "change the masquerade sets")
}

fn index(number: u32, position: u32) -> u32 {
    FIRST_INDEX + 2 * number + position
}

/// `struct ifinfomsg` for the link `index` (0: any), with these flags set.
fn link_header(index: u32, flags: u32) -> Vec<u8> {
    [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), flags.to_ne_bytes()].concat()
}

/// `struct rtmsg` of a unicast IPv4 route of the main table.
fn route_header(length: u8) -> [u8; 12] {
    [2, length, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]
}
