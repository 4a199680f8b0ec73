//! What the kernel needs for N peers of a VXLAN overlay: a neighbour, a forwarding entry and a route each.
//!
//! With a next-hop object for each peer the kernel finds routes by the object's id; plain routes over one device share a hash bucket
//! (`fib_create_info` hashes the device but not the gateway), so that each costs a walk over all before it.

use crate::wire::{Batch, REPLACE, Wire, attribute};
use anyhow::{Context, Result, bail};
use nix::net::if_::if_nametoindex;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::net::Ipv4Addr;
use std::time::Instant;

const NEWNEIGH: u16 = 28;
const NEWROUTE: u16 = 24;
const NEWNEXTHOP: u16 = 104;
const PERMANENT: u16 = 0x80;
const SELF: u8 = 2;
const ON_LINK: u32 = 4;
const PEERS_A_DATAGRAM: u32 = 64;
const FIRST_NEXTHOP: u32 = 1000;
const FIRST_SUBNET: u32 = 256;

/// `leases DEVICE COUNT [plain]`; prints one JSON line.
pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let (Some("leases"), Some(device), Some(count)) = (arguments.next().as_deref(), arguments.next(), arguments.next())
    else {
        bail!("usage: floor leases DEVICE COUNT [plain]");
    };
    let count: u32 = count.parse().context("COUNT is not a number")?;
    let plain = arguments.next().is_some();
    let link = if_nametoindex(device.as_str()).with_context(|| format!("no link {device}"))?;
    let start = Instant::now();
    program(link, count, plain)?;
    let wall = start.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let cpu = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    println!(
        "{}",
        serde_json::json!({"leases": count, "plain": plain, "wall_ms": wall.as_secs_f64() * 1e3, "cpu_us": cpu, "peak_kib": usage.max_rss()})
    );
    Ok(())
}

fn program(link: u32, count: u32, plain: bool) -> Result<()> {
    let wire = Wire::open(0)?;
    let mut batch = Batch::default();
    for peer in 0..count {
        push(&mut batch, link, peer, plain);
        if peer % PEERS_A_DATAGRAM == PEERS_A_DATAGRAM - 1 || peer == count - 1 {
            batch.acknowledge_last();
            wire.exchange(&batch, batch.len(), "program the peers")?;
            batch = Batch::default();
        }
    }
    Ok(())
}

fn push(batch: &mut Batch, link: u32, peer: u32, plain: bool) {
    let subnet = Ipv4Addr::from_bits(0x0a00_0000 + ((peer + FIRST_SUBNET) << 8)).octets();
    let public = Ipv4Addr::from_bits(0xac10_000a + peer).octets();
    let mac = [&[0x0a, 0x42], peer.to_be_bytes().as_slice()].concat();
    let on = link.to_ne_bytes();
    batch.push(NEWNEIGH, REPLACE, &neighbour_header(2, link, 0), &[attribute(1, &subnet), attribute(2, &mac)]);
    batch.push(NEWNEIGH, REPLACE, &neighbour_header(7, link, SELF), &[attribute(1, &public), attribute(2, &mac)]);
    if plain {
        let attributes = [attribute(1, &subnet), attribute(5, &subnet), attribute(4, &on)];
        batch.push(NEWROUTE, REPLACE, &route_header(ON_LINK), &attributes);
    } else {
        let id = (FIRST_NEXTHOP + peer).to_ne_bytes();
        let header = [[2, 0, 3, 0], ON_LINK.to_ne_bytes()].concat();
        batch.push(NEWNEXTHOP, REPLACE, &header, &[attribute(1, &id), attribute(5, &on), attribute(6, &subnet)]);
        batch.push(NEWROUTE, REPLACE, &route_header(0), &[attribute(1, &subnet), attribute(30, &id)]);
    }
}

/// `struct ndmsg` of a permanent entry.
fn neighbour_header(family: u8, link: u32, flags: u8) -> Vec<u8> {
    let [low, high] = PERMANENT.to_ne_bytes();
    [[family, 0, 0, 0], link.to_ne_bytes(), [low, high, flags, 1]].concat()
}

/// `struct rtmsg` of a /24 of the main table.
fn route_header(flags: u32) -> Vec<u8> {
    [[2, 24, 0, 0], [254, 3, 0, 1], flags.to_ne_bytes()].concat()
}
