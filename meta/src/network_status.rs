//! The pod's network-status out of the results of its networks.

use crate::chain::Link;
use cni::{CniResult, Interface, Ip};
use netattach_crd::status::{self, Attached, Dns, Entry};
use std::net::IpAddr;

/// One entry for each interface, in the order of attachment.
pub fn entries(links: &[Link<'_>], results: &[CniResult]) -> Vec<Entry> {
    status::entries(links.iter().zip(results).map(|(link, result)| attached(link, result)))
}

fn attached(link: &Link<'_>, result: &CniResult) -> Attached {
    let inside = result.interfaces.iter().enumerate().filter(|(_, interface)| !interface.sandbox.is_empty());
    let dns = &result.dns;
    Attached {
        name: link.attachment.name.clone(),
        ifname: link.attachment.ifname.clone(),
        interfaces: inside.map(|(index, interface)| of_interface(index, interface, &result.ips)).collect(),
        ips: result.ips.iter().filter(|ip| ip.interface.is_none()).map(|ip| ip.address.addr()).collect(),
        gateways: gateways(result),
        default: link.attachment.is_default,
        dns: Dns {
            nameservers: dns.nameservers.clone(),
            domain: dns.domain.clone(),
            search: dns.search.clone(),
            options: dns.options.clone(),
        },
        device_info: None,
    }
}

fn of_interface(index: usize, interface: &Interface, ips: &[Ip]) -> status::Interface {
    let own: Vec<_> = ips.iter().filter(|ip| ip.interface == Some(index)).collect();
    status::Interface {
        name: interface.name.clone(),
        mac: interface.mac.clone(),
        mtu: interface.mtu.unwrap_or_default(),
        ips: own.iter().map(|ip| ip.address.addr()).collect(),
        has_gateway: own.iter().any(|ip| ip.gateway.is_some()),
    }
}

fn gateways(result: &CniResult) -> Vec<IpAddr> {
    result.routes.iter().filter(|route| route.dst.prefix_len() == 0).filter_map(|route| route.gw).collect()
}
