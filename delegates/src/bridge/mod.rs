//! bridge: a veth pair whose host end is a port of a Linux bridge.
//!
//! Configuration and result are the reference plugin's. What it cannot do here (VLAN filtering, MAC spoof checks) is
//! refused by name before anything is touched.

use crate::{Call, DefaultRoute, Delegate, Plan, World, ipam, masquerade, naming};
use cni::error::code;
use cni::{CniResult, Error, Interface, Ip, Route};
use ipnet::IpNet;
use net::Mac;
use net::op::{Op, RouteSpec, VethEnd};
use std::net::IpAddr;
use std::path::PathBuf;

mod conf;
use conf::{Conf, load, requested_mac};

/// The bundled `bridge`.
pub struct Bridge;

impl Delegate for Bridge {
    fn kind(&self) -> &'static str {
        "bridge"
    }

    fn add(&self, call: &Call<'_>, world: &mut dyn World, plan: &mut Plan) -> Result<CniResult, Error> {
        let conf = load(call)?;
        let requested_mac = requested_mac(call, &conf)?;
        let mut result = ipam::add(call, world, plan)?;
        default_gateways(&mut result.ips)?;
        add_default_routes(call, &conf, &mut result)?;

        let bridge_mac = plan_bridge(&conf, &result.ips, world, plan)?;
        let pod = plan_veth(call, &conf, requested_mac, bridge_mac, &mut result, world, plan)?;
        plan_pod(&pod, &result, plan);
        if conf.is_gateway {
            plan_forwarding(&result.ips, world, plan);
        }
        if conf.ip_masq {
            masquerade::plan(call, &result.ips, plan);
        }
        if !conf.dns.is_empty() {
            result.dns = conf.dns.into();
        }
        Ok(result)
    }

    fn del(&self, call: &Call<'_>, world: &mut dyn World, plan: &mut Plan) -> Result<(), Error> {
        let names = vec![naming::host_veth(call)];
        plan.host(Op::DeleteLinks { group: 0, names }, None, "the pod's veth, by the name this plugin gives");
        if call.netns.is_some() {
            let names = vec![call.ifname.to_owned()];
            plan.pod(Op::DeleteLinks { group: 0, names }, None, "the pod's veth, by the name inside the pod");
        }
        if let Some(previous) = call.previous {
            masquerade::plan_del(call, &previous.ips, plan);
        }
        ipam::del(call, world, plan)
    }

    fn status(&self, call: &Call<'_>, world: &mut dyn World) -> Result<(), Error> {
        let conf = load(call)?;
        if let Some(link) = world.link(&conf.bridge)? {
            must_be_bridge(&conf.bridge, link.kind.as_deref())
                .map_err(|error| Error::new(code::NOT_AVAILABLE, error.msg))?;
        }
        ipam::status(call, world)
    }

    fn stores(&self, call: &Call<'_>) -> Vec<PathBuf> {
        ipam::stores(call)
    }
}

/// An address without a gateway gets the first one of its network.
fn default_gateways(ips: &mut [Ip]) -> Result<(), Error> {
    for ip in ips {
        if ip.gateway.is_none() {
            let first = ip.address.hosts().next();
            ip.gateway = Some(first.ok_or_else(|| {
                Error::new(code::INVALID_CONFIG, format!("network of address {} has no room for a gateway", ip.address))
            })?);
        }
    }
    Ok(())
}

fn is_default(dst: &IpNet) -> bool {
    dst.prefix_len() == 0
}

fn default_of(like: IpAddr) -> IpNet {
    match like {
        IpAddr::V4(_) => ipnet::Ipv4Net::default().into(),
        IpAddr::V6(_) => ipnet::Ipv6Net::default().into(),
    }
}

/// `isDefaultGateway` adds a default route per family unless IPAM gave one; the attachment's rule on default routes
/// then has the last word.
fn add_default_routes(call: &Call<'_>, conf: &Conf, result: &mut CniResult) -> Result<(), Error> {
    if conf.is_default_gateway {
        for gateway in result.ips.iter().filter_map(|ip| ip.gateway).collect::<Vec<_>>() {
            let dst = default_of(gateway);
            if !result.routes.iter().any(|route| route.dst == dst && route.gw.is_some()) {
                result.routes.retain(|route| route.dst != dst);
                result.routes.push(Route::new(dst, Some(gateway)));
            }
        }
    }
    match call.default_route {
        DefaultRoute::Keep => {}
        DefaultRoute::Strip => result.routes.retain(|route| !is_default(&route.dst)),
        DefaultRoute::Via(gateways) => {
            result.routes.retain(|route| !is_default(&route.dst));
            for gateway in gateways {
                if !result.ips.iter().any(|ip| ip.address.contains(gateway)) {
                    return Err(Error::new(
                        code::INVALID_CONFIG,
                        format!("default-route {gateway} is in no network of {} on {}", call.ifname, call.network()),
                    ));
                }
                let dst = default_of(*gateway);
                result.routes.push(Route::new(dst, Some(*gateway)));
            }
        }
    }
    Ok(())
}

fn must_be_bridge(name: &str, kind: Option<&str>) -> Result<(), Error> {
    match kind {
        Some("bridge") => Ok(()),
        other => Err(Error::new(
            code::INVALID_CONFIG,
            format!(
                "{name:?} exists but is not a bridge (kind {}): choose another `bridge` name",
                other.unwrap_or("none")
            ),
        )),
    }
}

/// Makes sure of the bridge and its gateway addresses; returns its MAC.
fn plan_bridge(conf: &Conf, ips: &[Ip], world: &mut dyn World, plan: &mut Plan) -> Result<Mac, Error> {
    let (mac, present) = match world.link(&conf.bridge)? {
        Some(link) => {
            must_be_bridge(&conf.bridge, link.kind.as_deref())?;
            let present = if conf.is_gateway { world.addresses(link.index)? } else { Vec::new() };
            let mac = link.mac.unwrap_or_default();
            if !link.up || (conf.promisc_mode && !link.promisc) {
                ensure_bridge(conf, mac, plan);
            }
            (mac, present)
        }
        None => {
            let mac = naming::local_mac(world.random());
            ensure_bridge(conf, mac, plan);
            (mac, Vec::new())
        }
    };
    if conf.is_gateway {
        for ip in ips {
            plan_gateway(conf, ip, &present, plan)?;
        }
    }
    Ok(mac)
}

fn ensure_bridge(conf: &Conf, mac: Mac, plan: &mut Plan) {
    let mtu = (conf.mtu != 0).then_some(conf.mtu);
    let op =
        Op::EnsureBridge { name: conf.bridge.clone(), mtu, mac, vlan_filtering: false, promisc: conf.promisc_mode };
    plan.host(op, None, format!("the network's bridge {}", conf.bridge));
}

/// The bridge carries the gateway's address. Another IPv4 address means that the node has been given another subnet:
/// an error, unless `forceAddress` allows to replace it. IPv6 addresses stand side by side unless their networks meet.
fn plan_gateway(conf: &Conf, ip: &Ip, present: &[IpNet], plan: &mut Plan) -> Result<(), Error> {
    let Some(gateway) = ip.gateway else { return Ok(()) };
    let wanted = IpNet::new(gateway, ip.address.prefix_len()).unwrap_or_else(|_| IpNet::from(gateway));
    let is_there = present.contains(&wanted);
    let in_the_way = present.iter().filter(|_| !is_there).filter(|other| match (other, &wanted) {
        (IpNet::V4(_), IpNet::V4(_)) => true,
        (IpNet::V6(other), IpNet::V6(wanted)) => other.contains(&wanted.trunc()) || wanted.contains(&other.trunc()),
        _ => false,
    });
    for other in in_the_way {
        if !conf.force_address {
            return Err(Error::new(
                code::INVALID_CONFIG,
                format!(
                    "failed to set bridge addr: {:?} already has an IP address different from {wanted} ({other}); delete the bridge when no pod uses it, or set `forceAddress`",
                    conf.bridge
                ),
            ));
        }
        let op = Op::RemoveAddress { link: conf.bridge.clone(), address: *other };
        plan.host(op, None, "forceAddress: the bridge's address of another subnet");
    }
    // planned even where it is there already, so that the journal knows of it and CHECK looks for it
    let op = Op::EnsureAddress { link: conf.bridge.clone(), address: wanted };
    plan.host(op, None, "the pods' gateway");
    Ok(())
}

/// The veth pair, and the interfaces of the result; returns the pod's end.
fn plan_veth(
    call: &Call<'_>,
    conf: &Conf,
    requested: Option<Mac>,
    bridge_mac: Mac,
    result: &mut CniResult,
    world: &mut dyn World,
    plan: &mut Plan,
) -> Result<VethEnd, Error> {
    let addresses: Vec<_> = result.ips.iter().map(|ip| ip.address).collect();
    let (host_index, pod_index) = plan.next_indexes().unwrap_or_else(|| naming::veth_indexes(world.random()));
    let host = VethEnd { name: naming::host_veth(call), index: host_index, mac: naming::local_mac(world.random()) };
    let mac = requested.unwrap_or_else(|| naming::pod_mac(&addresses, world.random()));
    let pod = VethEnd { name: call.ifname.to_owned(), index: pod_index, mac };
    let mtu = (conf.mtu != 0).then_some(conf.mtu);

    let sandbox = call
        .netns
        .ok_or_else(|| Error::new(code::INVALID_ENVIRONMENT, "bridge: ADD without a network namespace"))?
        .to_string_lossy()
        .into_owned();
    let interface = |name: &str, mac: Mac, mtu, sandbox| Interface {
        name: name.into(),
        mac: mac.to_string(),
        mtu,
        sandbox,
        ..Interface::default()
    };
    result.interfaces = vec![
        interface(&conf.bridge, bridge_mac, mtu, String::new()),
        interface(&host.name, host.mac, mtu, String::new()),
        interface(&pod.name, pod.mac, mtu, sandbox),
    ];
    for ip in &mut result.ips {
        ip.interface = Some(2);
    }

    let group = plan.link_group().unwrap_or(host_index);
    let undo = Op::DeleteLinks { group, names: vec![host.name.clone()] };
    let op = Op::CreateVeth {
        host,
        pod: pod.clone(),
        mtu,
        bridge: Some(conf.bridge.clone()),
        group,
        hairpin: conf.hairpin_mode,
        isolated: conf.port_isolation,
    };
    plan.host(op, Some(undo), format!("{} of network {}", call.ifname, call.network()));
    Ok(pod)
}

/// Addresses and routes inside the pod. They go with the link.
fn plan_pod(pod: &VethEnd, result: &CniResult, plan: &mut Plan) {
    let name = &pod.name;
    if result.ips.iter().any(|ip| matches!(ip.address, IpNet::V6(_))) {
        for key in [format!("net/ipv6/conf/{name}/disable_ipv6"), "net/ipv6/conf/lo/disable_ipv6".to_owned()] {
            plan.pod(Op::Sysctl { key, value: "0".into() }, None, "the pod has IPv6 addresses");
        }
        let key = format!("net/ipv6/conf/{name}/keep_addr_on_down");
        plan.pod(Op::Sysctl { key, value: "1".into() }, None, "IPv6 addresses survive a link that is set down");
    }
    plan.pod(Op::LinkUp { index: pod.index, arp_notify: true, name: name.clone() }, None, "the pod's interface");
    for ip in &result.ips {
        let op = Op::AddAddress { index: pod.index, address: ip.address, name: name.clone() };
        plan.pod(op, None, "the address given by IPAM");
    }
    for route in &result.routes {
        // a route without a gateway goes through the first one of its family, as the reference does
        let gateway = route.gw.or_else(|| {
            result
                .ips
                .iter()
                .filter_map(|ip| ip.gateway)
                .find(|gateway| gateway.is_ipv4() == route.dst.addr().is_ipv4())
        });
        let op = Op::AddRoute(RouteSpec {
            index: pod.index,
            dst: route.dst,
            gateway,
            priority: route.priority,
            table: route.table,
            mtu: route.mtu,
            advmss: route.advmss,
            scope: route.scope,
            on_link: false,
            name: name.clone(),
        });
        plan.pod(op, None, "a route of the network");
    }
}

/// A gateway forwards.
fn plan_forwarding(ips: &[Ip], world: &mut dyn World, plan: &mut Plan) {
    for (key, needed) in [
        ("net/ipv4/ip_forward", ips.iter().any(|ip| matches!(ip.address, IpNet::V4(_)))),
        ("net/ipv6/conf/all/forwarding", ips.iter().any(|ip| matches!(ip.address, IpNet::V6(_)))),
    ] {
        if needed && world.sysctl(key).is_some_and(|value| value != "1") {
            plan.host(
                Op::Sysctl { key: key.to_owned(), value: "1".to_owned() },
                None,
                "the bridge is the pods' gateway",
            );
        }
    }
}
