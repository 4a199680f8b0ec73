//! Reading from the kernel what `diff` and `device` compare, reduced at once to their small values.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use net::message::route::TABLE_MAIN;
use net::netlink::{NetlinkError, Socket};
use net::snapshot::{self, Family, LinkFacts, RouteFacts, RouteFilter, VxlanFacts};

use crate::desired::ROUTE_PROTOCOL;
use crate::device::{ObservedDevice, ObservedVxlan};
use crate::diff::{Forward, Neighbour, NextHop, Observed, Route};

/// `RTN_UNICAST` (linux/rtnetlink.h).
const UNICAST: u8 = 1;

/// The link named `name` with its IPv4 addresses, if there is one.
///
/// # Errors
/// The kernel's refusal, or a failure of the socket.
pub(super) fn device(socket: &mut Socket, name: &str) -> Result<Option<ObservedDevice>, NetlinkError> {
    let Some(link) = snapshot::link_by_name(socket, name)? else { return Ok(None) };
    let addresses = match snapshot::addresses(socket, link.index, Family::V4) {
        Ok(found) => found.into_iter().filter_map(|facts| v4_net(facts.address)).collect(),
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(observed_device(link, addresses)))
}

fn observed_device(link: LinkFacts, addresses: Vec<Ipv4Net>) -> ObservedDevice {
    ObservedDevice {
        index: link.index,
        up: link.up,
        mtu: link.mtu,
        mac: link.mac.unwrap_or_default(),
        vxlan: link.vxlan.as_ref().map(observed_vxlan),
        addresses,
    }
}

fn observed_vxlan(facts: &VxlanFacts) -> ObservedVxlan {
    ObservedVxlan {
        vni: facts.id,
        port: facts.port,
        local: facts.local.and_then(v4).unwrap_or(Ipv4Addr::UNSPECIFIED),
        underlay: facts.lower.unwrap_or(0),
        learning: facts.learning,
        gbp: facts.gbp,
    }
}

/// Everything on the VXLAN device `index`, and our routes elsewhere.
///
/// # Errors
/// The kernel's refusal (`ENODEV` when the device is gone), or a failure of the socket.
pub(super) fn state(socket: &mut Socket, index: u32) -> Result<Observed, NetlinkError> {
    let neighbours = snapshot::neighbours(socket, index, Family::V4)?
        .into_iter()
        .filter(|facts| facts.index == index)
        .filter_map(|facts| {
            let mac = facts.mac.unwrap_or_default();
            Some(Neighbour { address: v4(facts.address)?, mac, permanent: facts.permanent })
        })
        .collect();
    let forwards = snapshot::forwarding(socket, index)?
        .into_iter()
        .filter(|facts| facts.index == index && facts.own)
        .filter_map(|facts| {
            Some(Forward { mac: facts.mac, destination: v4(facts.remote?)?, permanent: facts.permanent })
        })
        .collect();
    let nexthops = snapshot::nexthops(socket)?
        .into_iter()
        .map(|facts| NextHop {
            id: facts.id,
            device: facts.index.unwrap_or(0),
            gateway: facts.gateway.and_then(v4),
            protocol: facts.protocol,
            on_link: facts.on_link,
        })
        .collect();
    Ok(Observed { device: index, neighbours, forwards, nexthops, routes: routes(socket, index)? })
}

/// The routes on the device, whoever made them, and those with our protocol number on others.
fn routes(socket: &mut Socket, index: u32) -> Result<Vec<Route>, NetlinkError> {
    let main = RouteFilter { family: Family::V4, table: Some(TABLE_MAIN), ..RouteFilter::default() };
    let on_device = snapshot::routes(socket, &RouteFilter { index: Some(index), ..main })?;
    let mut found: Vec<Route> = on_device.into_iter().filter_map(|facts| route(&facts)).collect();
    let ours = snapshot::routes(socket, &RouteFilter { protocol: Some(ROUTE_PROTOCOL), ..main })?;
    found.extend(ours.iter().filter(|facts| facts.index != Some(index)).filter_map(route));
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn route(facts: &RouteFacts) -> Option<Route> {
    (facts.kind == UNICAST).then_some(())?;
    Some(Route {
        destination: v4_net(facts.dst)?,
        device: facts.index.unwrap_or(0),
        gateway: facts.gateway.and_then(v4),
        nexthop: facts.nexthop,
        protocol: facts.protocol,
        priority: facts.priority,
    })
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
