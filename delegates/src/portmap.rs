//! portmap: ports of the node that lead to the pod. Chained behind whatever made the pod's interface, on every
//! attachment: the elements are keyed by port, and owned by container, interface and network, so that two networks of
//! one pod have their own.
//!
//! One map element for each port; two pods that want the same port are an error of the second one.

use crate::{Call, DefaultRoute, Delegate, Plan, World};
use cni::error::code;
use cni::{CniResult, Error};
use ipnet::IpNet;
use net::nft::rulesets::hostports::{self, HostPort, Masquerade};
use net::op::Op;
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;

/// IP protocol numbers (<https://www.iana.org/assignments/protocol-numbers>).
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// The bundled `portmap`.
pub struct PortMap;

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Conf {
    snat: bool,
    masq_all: bool,
    backend: String,
    conditions_v4: Vec<Value>,
    conditions_v6: Vec<Value>,
    external_set_mark_chain: Option<String>,
    runtime_config: Runtime,
}

impl Default for Conf {
    fn default() -> Self {
        Self {
            snat: true,
            masq_all: false,
            backend: String::new(),
            conditions_v4: Vec::new(),
            conditions_v6: Vec::new(),
            external_set_mark_chain: None,
            runtime_config: Runtime::default(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Runtime {
    port_mappings: Vec<Mapping>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Mapping {
    host_port: i64,
    container_port: i64,
    protocol: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
}

impl Delegate for PortMap {
    fn kind(&self) -> &'static str {
        "portmap"
    }

    fn add(&self, call: &Call<'_>, _world: &mut dyn World, plan: &mut Plan) -> Result<CniResult, Error> {
        let conf = load(call)?;
        let Some(previous) = call.previous else {
            return Err(Error::new(
                code::INVALID_CONFIG,
                "portmap must be called as a chained plugin: put it behind the plugin that makes the interface",
            ));
        };
        if !conf.runtime_config.port_mappings.is_empty() {
            map(call, &conf, previous, plan)?;
        }
        Ok(previous.clone())
    }

    fn del(&self, call: &Call<'_>, _world: &mut dyn World, plan: &mut Plan) -> Result<(), Error> {
        let conf = load(call)?;
        let Some(previous) = call.previous else { return Ok(()) };
        for address in addresses(previous, call.ifname) {
            for port in ports(call, &conf, address)? {
                plan.host(remove(call, &[port]), None, "the pod's host ports");
            }
        }
        Ok(())
    }

    fn status(&self, call: &Call<'_>, _world: &mut dyn World) -> Result<(), Error> {
        load(call).map(|_| ())
    }
}

/// Plans the mappings of one attachment.
fn map(call: &Call<'_>, conf: &Conf, previous: &CniResult, plan: &mut Plan) -> Result<(), Error> {
    let mut mapped = false;
    for address in addresses(previous, call.ifname) {
        let ports = ports(call, conf, address)?;
        if ports.is_empty() {
            continue;
        }
        mapped = true;
        if conf.snat && address.addr().is_ipv4() {
            route_localhost(previous, plan);
        }
        let add = Op::Nft {
            transaction: hostports::add(&ports, &call.owner()),
            foundation: Some(hostports::base(address.trunc())),
            owner: None,
        };
        plan.host(add, Some(remove(call, &ports)), format!("host ports of {}", address.addr()));
        for port in ports.iter().filter(|port| port.protocol == UDP) {
            // a client that kept sending before the pod was there is remembered as not translated
            let op = Op::DeleteConntrack { protocol: UDP, port: port.host_port };
            plan.host(op, None, "UDP flows from before the mapping");
        }
    }
    if mapped {
        return Ok(());
    }
    Err(Error::new(
        code::INVALID_CONFIG,
        format!(
            "portmap: network {:?} gave {} no address that the port mappings could lead to",
            call.network(),
            call.ifname
        ),
    ))
}

/// Connections from the node to its own 127.0.0.1 leave through the pod's side of the node.
fn route_localhost(previous: &CniResult, plan: &mut Plan) {
    if let Some(interface) = previous.interfaces.iter().find(|interface| interface.sandbox.is_empty()) {
        let key = format!("net/ipv4/conf/{}/route_localnet", interface.name);
        plan.host(
            Op::Sysctl { key, value: "1".to_owned() },
            None,
            "host ports are reachable from the node's localhost",
        );
    }
}

fn load(call: &Call<'_>) -> Result<Conf, Error> {
    let conf: Conf = call.conf.decode()?;
    for (key, given) in [
        ("conditionsV4", !conf.conditions_v4.is_empty()),
        ("conditionsV6", !conf.conditions_v6.is_empty()),
        ("externalSetMarkChain", conf.external_set_mark_chain.as_ref().is_some_and(|chain| !chain.is_empty())),
    ] {
        if given {
            return Err(Error::new(
                code::UNSUPPORTED_FIELD,
                format!(
                    "portmap: {key} is not supported by the bundled plugin; list \"portmap\" under `executedDelegates` to run the plugin of that name from binDir instead"
                ),
            ));
        }
    }
    if !["", "iptables", "nftables"].contains(&conf.backend.as_str()) {
        return Err(Error::new(
            code::INVALID_CONFIG,
            format!("portmap: backend {:?} is unknown: iptables or nftables", conf.backend),
        ));
    }
    Ok(conf)
}

fn remove(call: &Call<'_>, ports: &[HostPort]) -> Op {
    Op::Nft { transaction: hostports::remove(ports), foundation: None, owner: Some(call.owner()) }
}

/// The first address of each family on the pod's interface.
fn addresses(result: &CniResult, ifname: &str) -> Vec<IpNet> {
    let inside = |ip: &&cni::Ip| match ip.interface.and_then(|index| result.interfaces.get(index)) {
        Some(interface) => interface.name == ifname && !interface.sandbox.is_empty(),
        None => true,
    };
    let of_family =
        |v4: bool| result.ips.iter().filter(inside).map(|ip| ip.address).find(|address| address.addr().is_ipv4() == v4);
    [of_family(true), of_family(false)].into_iter().flatten().collect()
}

/// The mappings that apply to an address: those without a host address, or with one of its family.
///
/// On a network without the pod's default route everybody is masqueraded, at the price of the client's address. The pod's own
/// connections arrive there under its address on the network that has the route, which it takes for forged; and answers to
/// strangers leave by another interface than their packets came in by, which a strict reverse path filter (RFC 3704) drops.
fn ports(call: &Call<'_>, conf: &Conf, pod: IpNet) -> Result<Vec<HostPort>, Error> {
    let answers_elsewhere = matches!(call.default_route, DefaultRoute::Strip);
    let masquerade = match (conf.snat, conf.masq_all || answers_elsewhere) {
        (false, _) => Masquerade::Nobody,
        (true, false) => Masquerade::Neighbours,
        (true, true) => Masquerade::Everybody,
    };
    let mut ports = Vec::new();
    for mapping in &conf.runtime_config.port_mappings {
        let host_address = match mapping.host_ip.as_str() {
            "" => None,
            text => {
                let address: IpAddr = text.parse().map_err(|_| refused(format!("hostIP {text:?} is no address")))?;
                (!address.is_unspecified()).then_some(address)
            }
        };
        let host_port = port("hostPort", mapping.host_port)?;
        let container_port = port("containerPort", mapping.container_port)?;
        let protocol = match mapping.protocol.to_ascii_lowercase().as_str() {
            "" | "tcp" => TCP,
            "udp" => UDP,
            "sctp" => SCTP,
            other => return Err(refused(format!("protocol {other:?} is unknown: tcp, udp or sctp"))),
        };
        if host_address.is_none_or(|address| address.is_ipv4() == pod.addr().is_ipv4()) {
            ports.push(HostPort { protocol, host_address, host_port, pod, pod_port: container_port, masquerade });
        }
    }
    Ok(ports)
}

fn port(key: &str, value: i64) -> Result<u16, Error> {
    match u16::try_from(value) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(refused(format!("{key} {value} is not between 1 and 65535"))),
    }
}

fn refused(message: String) -> Error {
    Error::new(code::INVALID_CONFIG, format!("portmap: {message}"))
}
