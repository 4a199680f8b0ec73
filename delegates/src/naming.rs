//! Names and numbers that are derived, not drawn: a DEL that has lost its journal finds the same ones again.

use crate::Call;
use ipnet::IpNet;
use net::Mac;
use std::net::IpAddr;

/// FNV-1a, 64 bits (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv-17>): stable across builds and releases,
/// as `std`'s hashers are not, and these values are seen by the next DEL.
fn fnv1a(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain(std::iter::once(0))) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// The host end's name: `veth` and eleven hexadecimal digits (44 bits, so that two of a thousand pods meet once in
/// 10^8 nodes), the fifteen bytes that IFNAMSIZ leaves.
pub(crate) fn host_veth(call: &Call<'_>) -> String {
    format!("veth{:011x}", fnv1a(&[call.container, call.ifname, call.network()]) & 0xfff_ffff_ffff)
}

/// The indexes of a veth pair: host end, pod end.
///
/// Far above what the kernel counts up to by itself, so that nobody else is given them in the meantime; never equal,
/// for then the kernel takes the link for one without a lower device and delays its carrier event by up to a second
/// (net/core/link_watch.c, `linkwatch_urgent_event`).
pub(crate) fn veth_indexes(random: u64) -> (u32, u32) {
    let base = 0x1000_0000 | (u32::try_from(random & 0x0fff_fffe).unwrap_or_default());
    (base, base | 1)
}

/// The pod end's MAC. Where the first address is an IPv4 one it follows from it, so that neighbours who remember the
/// address's last owner are still right about the MAC.
pub(crate) fn pod_mac(addresses: &[IpNet], random: u64) -> Mac {
    match addresses.first().map(IpNet::addr) {
        Some(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            Mac([0x0a, 0x58, a, b, c, d])
        }
        _ => local_mac(random),
    }
}

/// A locally administered unicast MAC.
pub(crate) fn local_mac(random: u64) -> Mac {
    let [a, b, c, d, e, f, ..] = random.to_le_bytes();
    Mac([a & 0xfc | 0x02, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_ends_of_a_veth_never_share_an_index() {
        for random in [0, 1, 2, u64::MAX, 0x0fff_ffff, 0x1234_5678_9abc_def1] {
            let (host, pod) = veth_indexes(random);
            assert_ne!(host, pod);
            assert!(host >= 0x1000_0000 && pod < 0x2000_0000, "{host:#x} {pod:#x}");
        }
    }

    #[test]
    fn local_macs_are_unicast_and_locally_administered() {
        for random in [0, u64::MAX, 0x0101_0101_0101_0101] {
            let Mac([first, ..]) = local_mac(random);
            assert_eq!(first & 0b11, 0b10);
        }
    }

    #[test]
    fn the_pods_mac_follows_from_its_first_ipv4_address() {
        let address = "10.5.22.7/24".parse().unwrap();
        assert_eq!(pod_mac(&[address], 9).to_string(), "0a:58:0a:05:16:07");
        assert_eq!(pod_mac(&["fd00::7/64".parse().unwrap()], 9), local_mac(9));
    }
}
