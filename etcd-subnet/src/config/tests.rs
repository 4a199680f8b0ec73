//! Cases of flannel's own configuration checks, written anew.

use super::*;
use proptest::prelude::*;

fn pool(text: &str) -> Ipv4Pool {
    NetworkConfig::parse(text).unwrap().ipv4.unwrap()
}

fn refusal(text: &str) -> String {
    NetworkConfig::parse(text).unwrap_err().to_string()
}

#[test]
fn the_smallest_configuration_gets_all_defaults() {
    let config = NetworkConfig::parse(r#"{"Network":"10.5.3.9/16"}"#).unwrap();
    let pool = config.ipv4.unwrap();
    assert_eq!(pool.network.to_string(), "10.5.0.0/16");
    assert_eq!(pool.subnet_len, 24);
    assert_eq!(pool.subnet_min.to_string(), "10.5.1.0");
    assert_eq!(pool.subnet_max.to_string(), "10.5.255.0");
    assert_eq!((config.backend.kind.as_str(), config.backend.vni, config.backend.udp_port()), ("udp", 1, 8472));
    assert!(config.ipv6.is_none() && !config.enable_nftables);
}

#[test]
fn names_match_whatever_their_case_and_null_is_absent() {
    let text = r#"{"network":"10.5.0.0/16","SUBNETLEN":26,"subnetmin":null,"backend":{"TYPE":"VXLAN","vni":2,"directrouting":true,"MacPrefix":"0E-2A"}}"#;
    let config = NetworkConfig::parse(text).unwrap();
    assert_eq!(config.supported().unwrap().subnet_len, 26);
    assert_eq!((config.backend.vni, config.backend.direct_routing), (2, true));
    assert_eq!(config.backend.other.keys().collect::<Vec<_>>(), ["MacPrefix"]);
}

#[test]
fn a_narrow_network_is_cut_two_bits_further() {
    let pool = pool(r#"{"Network":"10.5.0.0/28"}"#);
    assert_eq!(
        (pool.subnet_len, pool.subnet_min.to_string(), pool.subnet_max.to_string()),
        (30, "10.5.0.4".into(), "10.5.0.12".into())
    );
    assert_eq!(pool.subnets().count(), 3);
}

#[test]
fn the_last_address_of_all_does_not_overflow() {
    let pool = pool(r#"{"Network":"255.255.0.0/16"}"#);
    assert_eq!(pool.subnets().last().unwrap().to_string(), "255.255.255.0/24");
    let all = super::tests::pool(r#"{"Network":"0.0.0.0/0","SubnetLen":2}"#);
    assert_eq!(all.subnets().count(), 3);
}

#[test]
fn each_bad_field_is_named() {
    for (text, part) in [
        (r#"[]"#, "not a JSON object"),
        (r#"{"#, "not valid JSON"),
        (r#"{}"#, "field Network: is missing"),
        (r#"{"Network":5}"#, "field Network: 5 is not a string"),
        (r#"{"Network":"10.5.0.0"}"#, "field Network: `10.5.0.0` is not an IPv4 network"),
        (r#"{"Network":"10.5.0.0/29"}"#, "field Network: /29 is too small"),
        (r#"{"Network":"10.5.0.0/16","SubnetLen":31}"#, "field SubnetLen: 31 is too long"),
        (r#"{"Network":"10.5.0.0/16","SubnetLen":17}"#, "field SubnetLen: 17 leaves fewer"),
        (r#"{"Network":"10.5.0.0/16","SubnetLen":-1}"#, "field SubnetLen: -1 is not a whole number"),
        (r#"{"Network":"10.5.0.0/16","SubnetMin":"10.6.0.0"}"#, "field SubnetMin: 10.6.0.0 is outside"),
        (r#"{"Network":"10.5.0.0/16","SubnetMax":"10.5.4.1"}"#, "field SubnetMax: 10.5.4.1 is not the start of a /24"),
        (
            r#"{"Network":"10.5.0.0/16","SubnetMin":"10.5.9.0","SubnetMax":"10.5.4.0"}"#,
            "field SubnetMin: is above SubnetMax",
        ),
        (r#"{"Network":"10.5.0.0/16","Backend":"vxlan"}"#, "field Backend: \"vxlan\" is not an object"),
        (r#"{"Network":"10.5.0.0/16","Backend":{"VNI":16777216}}"#, "field Backend.VNI: 16777216"),
        (r#"{"Network":"10.5.0.0/16","Backend":{"Port":65536}}"#, "field Backend.Port: 65536"),
        (r#"{"Network":"10.5.0.0/16","EnableIPv4":false}"#, "field EnableIPv4"),
        (r#"{"Network":"10.5.0.0/16","EnableIPv6":true}"#, "field IPv6Network: is missing"),
    ] {
        assert!(refusal(text).contains(part), "{text}: {}", refusal(text));
    }
}

#[test]
fn ipv6_fields_are_read_with_their_own_defaults() {
    let config =
        NetworkConfig::parse(r#"{"Network":"10.7.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:7::/48"}"#).unwrap();
    let pool = config.ipv6.unwrap();
    assert_eq!((pool.subnet_len, pool.subnet_min.to_string()), (64, "fd00:7:0:1::".into()));
    assert_eq!(pool.subnet_max.to_string(), "fd00:7:0:ffff::");
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let refused = |text| NetworkConfig::parse(text).unwrap().supported().unwrap_err().to_string();
    assert!(refused(r#"{"Network":"10.5.0.0/16"}"#).contains("Backend.Type `udp`"));
    let v6 = r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:7::/48","Backend":{"Type":"vxlan"}}"#;
    assert!(refused(v6).contains("IPv6-only"));
    let dual = r#"{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:7::/48","Backend":{"Type":"vxlan"}}"#;
    assert!(refused(dual).contains("dual-stack"));
}

#[test]
fn only_subnets_of_the_pool_fit() {
    let pool = pool(r#"{"Network":"10.5.0.0/16"}"#);
    for (subnet, fits) in [
        ("10.5.1.0/24", true),
        ("10.5.0.0/24", false),
        ("10.5.1.0/25", false),
        ("10.6.1.0/24", false),
        ("10.5.1.1/24", false),
    ] {
        assert_eq!(pool.fits(subnet.parse().unwrap()), fits, "{subnet}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = NetworkConfig::parse(&text);
    }

    #[test]
    fn whatever_is_accepted_hands_out_subnets_of_the_network_only(
        address in any::<u32>(), prefix in 8_u8..=32, len in proptest::option::of(0_u8..=32),
    ) {
        let len = len.map_or("null".into(), |len| len.to_string());
        let text = format!(r#"{{"Network":"{}/{prefix}","SubnetLen":{len}}}"#, std::net::Ipv4Addr::from(address));
        if let Ok(config) = NetworkConfig::parse(&text) {
            let pool = config.ipv4.unwrap();
            prop_assert!(pool.subnets().count() >= 3);
            for subnet in pool.subnets().take(50).chain(pool.subnets().last()) {
                prop_assert!(pool.fits(subnet) && pool.network.contains(&subnet), "{text}: {subnet}");
            }
        }
    }
}
