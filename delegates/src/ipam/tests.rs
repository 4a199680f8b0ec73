//! host-local's choice of addresses.

use crate::made_up::{Inputs, MadeUp};
use serde_json::{Value, json};

fn conf(ipam: Value) -> Value {
    let mut ipam = ipam;
    ipam["type"] = json!("host-local");
    json!({ "cniVersion": "1.0.0", "name": "net", "type": "host-local", "ipam": ipam })
}

fn ranges() -> Value {
    json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }]] })
}

fn reserved(node: &mut MadeUp, address: &str, owner: &str) {
    node.files.insert(format!("/var/lib/cni/networks/net/{address}").into(), owner.into());
}

fn address(node: &mut MadeUp, conf: Value) -> Result<String, cni::Error> {
    Inputs::new(conf).add(node).map(|(result, _, _)| result.ips[0].address.to_string())
}

#[test]
fn the_first_address_is_the_one_behind_the_gateway() {
    assert_eq!(address(&mut MadeUp::default(), conf(ranges())).unwrap(), "10.1.0.2/24");
}

#[test]
fn the_next_address_is_the_first_free_one_behind_the_cursor() {
    let mut node = MadeUp::default();
    reserved(&mut node, "last_reserved_ip.0", "10.1.0.7");
    reserved(&mut node, "10.1.0.8", "other\r\neth0");
    assert_eq!(address(&mut node, conf(ranges())).unwrap(), "10.1.0.9/24");
}

#[test]
fn far_more_taken_addresses_than_probes_still_lead_to_the_free_one() {
    let mut node = MadeUp::default();
    for last in 2..=254 {
        if last != 200 {
            reserved(&mut node, &format!("10.1.0.{last}"), "other\r\neth0");
        }
    }
    assert_eq!(address(&mut node, conf(ranges())).unwrap(), "10.1.0.200/24");
    reserved(&mut node, "10.1.0.200", "other\r\neth0");
    let error = address(&mut node, conf(ranges())).unwrap_err();
    assert!(error.msg.contains("no IP addresses available in range set: 10.1.0.1-10.1.0.254"), "{error}");
}

#[test]
fn the_same_network_twice_in_one_plan_gives_two_addresses() {
    let mut node = MadeUp::default();
    let inputs = Inputs::new(conf(ranges()));
    let mut plan = crate::Plan::new();
    let first = crate::add(&inputs.call(), &mut node, &mut plan).unwrap();
    let second = crate::add(&inputs.call(), &mut node, &mut plan).unwrap();
    assert_eq!(first.ips[0].address.to_string(), "10.1.0.2/24");
    assert_eq!(second.ips[0].address.to_string(), "10.1.0.3/24");
}

#[test]
fn requested_addresses_are_given_or_refused_by_name() {
    let with = |ips: &[&str]| {
        let mut conf = conf(ranges());
        conf["runtimeConfig"] = json!({ "ips": ips });
        conf
    };
    let mut node = MadeUp::default();
    reserved(&mut node, "10.1.0.50", "other\r\neth0");
    assert_eq!(address(&mut node, with(&["10.1.0.40"])).unwrap(), "10.1.0.40/24");
    assert_eq!(address(&mut node, with(&["10.1.0.41/24"])).unwrap(), "10.1.0.41/24");
    for (ips, message) in [
        (["10.1.0.50"], "requested address 10.1.0.50 is taken"),
        (["10.1.0.1"], "is the gateway"),
        (["10.2.0.1"], "requested address 10.2.0.1 is in no range"),
        (["nonsense"], "neither an address nor a CIDR"),
    ] {
        let error = address(&mut node, with(&ips)).unwrap_err();
        assert!(error.msg.contains(message), "{ips:?}: {error}");
    }
}

#[test]
fn both_families_get_an_address_and_a_cursor_of_their_own() {
    let conf = conf(json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00::/64" }]] }));
    let (result, lines, _) = Inputs::new(conf).add(&mut MadeUp::default()).unwrap();
    assert_eq!(result.ips[1].address.to_string(), "fd00::2/64");
    assert!(lines.contains(&"create /var/lib/cni/networks/net/fd00::2".to_owned()));
    assert!(lines.contains(&"write /var/lib/cni/networks/net/last_reserved_ip.1".to_owned()));
}

#[test]
fn a_del_returns_what_is_the_containers_and_nothing_else() {
    let mut node = MadeUp::default();
    reserved(&mut node, "10.1.0.2", "c0ffee\r\neth0");
    reserved(&mut node, "10.1.0.3", "c0ffee\r\nnet1");
    reserved(&mut node, "10.1.0.4", "c0ffee");
    reserved(&mut node, "last_reserved_ip.0", "10.1.0.4");
    let inputs = Inputs::new(conf(ranges()));
    let mut plan = crate::Plan::new();
    crate::del(&inputs.call(), &mut node, &mut plan).unwrap();
    let lines: Vec<_> = plan.records.iter().map(|step| step.op.to_string()).collect();
    assert_eq!(lines, ["remove /var/lib/cni/networks/net/10.1.0.2", "remove /var/lib/cni/networks/net/10.1.0.4"]);
}
