//! Which network the pod's default route goes through.
//!
//! Bundled delegates plan it right from the start. What executed plugins did on their own is put right here: default
//! routes that a secondary network may not bring along are taken out of the pod and out of the result, and gateways
//! that an element's `default-route` names are put in.

use crate::chain::Link;
use crate::node::Node;
use cni::{CniResult, Error, Route};
use delegates::{DefaultRoute, Plan};
use ipnet::IpNet;
use net::op::{Op, RouteSpec};
use std::net::IpAddr;

/// Plans the corrections for attachments that executed plugins have made.
///
/// # Errors
/// An interface that the result names but the pod does not have.
pub fn settle(
    links: &[Link<'_>],
    results: &mut [CniResult],
    node: &mut Node<'_>,
    plan: &mut Plan,
) -> Result<(), Error> {
    for (link, result) in links.iter().zip(results) {
        let policy = &link.attachment.default_route;
        let own: Vec<_> = result.routes.iter().filter(|route| route.dst.prefix_len() == 0).cloned().collect();
        let wanted = match policy {
            DefaultRoute::Keep => continue,
            DefaultRoute::Strip => &[][..],
            DefaultRoute::Via(gateways) => gateways,
        };
        if own.iter().filter_map(|route| route.gw).eq(wanted.iter().copied()) {
            continue;
        }
        let ifname = &link.attachment.ifname;
        let index = node.pod_link(ifname)?;
        result.routes.retain(|route| route.dst.prefix_len() != 0);
        for route in own {
            let op = Op::DeleteRoute(spec(index, ifname, route.dst, route.gw, route.priority));
            plan.pod(op, None, "a default route through a network that was not asked for it");
        }
        for gateway in wanted {
            let dst = default_of(gateway);
            plan.pod(
                Op::AddRoute(spec(index, ifname, dst, Some(*gateway), None)),
                None,
                "the annotation's default-route",
            );
            result.routes.push(Route::new(dst, Some(*gateway)));
        }
    }
    Ok(())
}

fn spec(index: u32, name: &str, dst: IpNet, gateway: Option<IpAddr>, priority: Option<u32>) -> RouteSpec {
    RouteSpec {
        index,
        dst,
        gateway,
        priority,
        table: None,
        mtu: None,
        advmss: None,
        scope: None,
        on_link: false,
        name: name.to_owned(),
    }
}

fn default_of(like: &IpAddr) -> IpNet {
    match like {
        IpAddr::V4(_) => ipnet::Ipv4Net::default().into(),
        IpAddr::V6(_) => ipnet::Ipv6Net::default().into(),
    }
}
