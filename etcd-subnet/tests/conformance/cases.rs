//! The cases, each a sentence about any store.

use crate::harness::Harness;
use crate::support::{CONFIG, attributes, event, key, notice, request, snapshot, soon, with_mac};
use etcd_subnet::init::{InitError, Initialized, initialize};
use etcd_subnet::manager::{Error, LEASE_TTL};
use etcd_subnet::{Attributes, Event, Membership, Notice};
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

/// flannel's hour.
const MARGIN: Duration = Duration::from_secs(3600);

async fn subnet(harness: &dyn Harness, node: u8, previous: Option<&str>) -> String {
    let lease = harness.manager().acquire(&request(CONFIG, node, previous)).await.unwrap();
    lease.key().to_string()
}

async fn names(harness: &dyn Harness) -> Vec<String> {
    harness.all().await.into_iter().map(|(name, _)| name).collect()
}

pub(crate) async fn a_configuration_is_waited_for_and_its_faults_are_named(harness: &dyn Harness) {
    let manager = harness.manager();
    assert!(matches!(manager.find_config().await, Err(Error::NoConfig { .. })));
    harness.configure(r#"{"Network":"10.5.0.0/16","SubnetLen":31}"#).await;
    let error = manager.find_config().await.unwrap_err().to_string();
    assert!(error.contains("config") && error.contains("SubnetLen"), "{error}");
    let waiting = tokio::spawn(async move { manager.network_config().await });
    tokio::task::yield_now().await;
    harness.configure(CONFIG).await;
    let config = soon(waiting).await.unwrap().unwrap();
    assert_eq!(config.supported().unwrap().network.to_string(), "10.5.0.0/16");
}

pub(crate) async fn writing_the_configuration_is_idempotent_and_never_replaces_unasked(harness: &dyn Harness) {
    let manager = harness.manager();
    assert!(matches!(initialize(&*manager, "{}", false).await, Err(InitError::Store(Error::Config { .. }))));
    assert_eq!(initialize(&*manager, CONFIG, false).await.unwrap(), Initialized::Created);
    let spelled = r#"{ "Backend": {"Type": "vxlan"}, "Network": "10.5.0.0/16" }"#;
    assert_eq!(initialize(&*manager, spelled, false).await.unwrap(), Initialized::Unchanged);
    let other = r#"{"Network":"10.6.0.0/16"}"#;
    let error = initialize(&*manager, other, false).await.unwrap_err();
    assert!(matches!(&error, InitError::Differs { present, .. } if present == CONFIG), "{error}");
    let replaced = initialize(&*manager, other, true).await.unwrap();
    assert!(matches!(replaced, Initialized::Replaced { previous } if previous.trim() == CONFIG));
    assert_eq!(manager.find_config().await.unwrap().ipv4.unwrap().network.to_string(), "10.6.0.0/16");
}

pub(crate) async fn a_new_node_gets_a_subnet_of_the_network_for_a_day(harness: &dyn Harness) {
    let request = request(CONFIG, 1, None);
    let lease = harness.manager().acquire(&request).await.unwrap();
    assert!(request.pool.fits(lease.subnet), "{}", lease.subnet);
    assert!(lease.expires.unwrap() > SystemTime::now() + LEASE_TTL - MARGIN);
    let all = harness.all().await;
    let [(name, value)] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(*name, lease.key().to_string());
    assert_eq!(Attributes::from_json(value.as_bytes()).unwrap(), attributes(1));
}

pub(crate) async fn a_restarted_node_gets_its_subnet_again(harness: &dyn Harness) {
    let first = subnet(harness, 1, None).await;
    subnet(harness, 2, None).await;
    assert_eq!(subnet(harness, 1, Some("10.5.77.0/24")).await, first);
    assert_eq!(names(harness).await.len(), 2);
}

pub(crate) async fn the_remembered_subnet_is_given_when_it_is_free_and_fits(harness: &dyn Harness) {
    assert_eq!(subnet(harness, 1, Some("10.5.77.0/24")).await, "10.5.77.0-24");
    assert_ne!(subnet(harness, 2, Some("10.5.77.0/24")).await, "10.5.77.0-24");
    assert!(subnet(harness, 3, Some("10.9.1.0/24")).await.starts_with("10.5."));
    assert!(subnet(harness, 4, Some("10.5.78.0/25")).await.ends_with("-24"));
}

pub(crate) async fn a_lease_outside_the_network_is_replaced(harness: &dyn Harness) {
    let old = r#"{"Network":"10.9.0.0/16","Backend":{"Type":"vxlan"}}"#;
    let lease = harness.manager().acquire(&request(old, 1, None)).await.unwrap();
    let new = subnet(harness, 1, Some(&lease.subnet.to_string())).await;
    assert_eq!(names(harness).await, [new]);
}

pub(crate) async fn fifty_nodes_starting_together_get_fifty_subnets(harness: &dyn Harness) {
    let config = r#"{"Network":"10.5.0.0/24","SubnetLen":30,"SubnetMin":"10.5.0.0","Backend":{"Type":"vxlan"}}"#;
    let nodes = (1..=50).map(|node| {
        let manager = harness.manager();
        // all remember the same subnet, so that they collide whatever they draw
        let request = request(config, node, Some("10.5.0.128/30"));
        async move { manager.acquire(&request).await.unwrap().subnet }
    });
    let subnets = soon(futures::future::join_all(nodes)).await;
    assert_eq!(subnets.iter().collect::<HashSet<_>>().len(), 50);
    assert_eq!(names(harness).await.len(), 50);
}

pub(crate) async fn a_full_network_says_so(harness: &dyn Harness) {
    let config = r#"{"Network":"10.5.0.0/28","Backend":{"Type":"vxlan"}}"#;
    for node in 1..=3 {
        harness.manager().acquire(&request(config, node, None)).await.unwrap();
    }
    let error = harness.manager().acquire(&request(config, 4, None)).await.unwrap_err();
    assert_eq!(error.to_string(), "no free subnet of /30 between 10.5.0.4 and 10.5.0.12");
    assert!(harness.manager().acquire(&request(config, 3, None)).await.is_ok());
}

pub(crate) async fn a_watch_tells_a_snapshot_and_then_every_difference(harness: &dyn Harness) {
    subnet(harness, 1, Some("10.5.1.0/24")).await;
    let mut events = harness.manager().watch();
    assert_eq!(snapshot(&mut events).await, ["10.5.1.0-24"]);
    subnet(harness, 2, Some("10.5.2.0/24")).await;
    assert!(matches!(event(&mut events).await, Event::Added(lease) if lease.attributes == attributes(2)));
    let changed = with_mac(2, "0a:ff:ff:ff:ff:ff");
    harness.put("10.5.2.0-24", &changed.to_json()).await;
    assert!(matches!(event(&mut events).await, Event::Changed(lease) if lease.attributes == changed));
    harness.delete("10.5.1.0-24").await;
    assert_eq!(event(&mut events).await, Event::Removed(key("10.5.1.0-24")));
}

pub(crate) async fn a_renewal_is_no_news_and_keeps_the_lease(harness: &dyn Harness) {
    let manager = harness.manager();
    let lease = manager.acquire(&request(CONFIG, 1, Some("10.5.1.0/24"))).await.unwrap();
    let mut events = harness.manager().watch();
    snapshot(&mut events).await;
    for _ in 0..3 {
        let renewed = manager.renew(&lease).await.unwrap();
        assert!(renewed.expires >= lease.expires);
    }
    // a manager that knows nothing of the lease, as after a restart
    harness.manager().renew(&lease).await.unwrap();
    subnet(harness, 2, Some("10.5.2.0/24")).await;
    assert!(matches!(event(&mut events).await, Event::Added(lease) if lease.key() == key("10.5.2.0-24")));
}

pub(crate) async fn another_nodes_lease_is_never_overwritten(harness: &dyn Harness) {
    let manager = harness.manager();
    let lease = manager.acquire(&request(CONFIG, 1, Some("10.5.1.0/24"))).await.unwrap();
    harness.delete("10.5.1.0-24").await;
    subnet(harness, 2, Some("10.5.1.0/24")).await;
    assert!(matches!(manager.renew(&lease).await, Err(Error::Lost(_))));
    manager.release(&lease).await.unwrap();
    let all = harness.all().await;
    assert_eq!(Attributes::from_json(all[0].1.as_bytes()).unwrap(), attributes(2));
    assert_ne!(subnet(harness, 1, Some("10.5.1.0/24")).await, "10.5.1.0-24");
}

async fn join(harness: &dyn Harness, node: u8, previous: &str) -> Membership {
    let request = request(CONFIG, node, Some(previous));
    let (_, mut membership) = Membership::join(harness.manager(), request, MARGIN).await.unwrap();
    assert!(matches!(notice(&mut membership).await, Notice::Peers(Event::Snapshot(_))));
    membership
}

pub(crate) async fn a_lost_lease_is_taken_again_under_the_same_subnet(harness: &dyn Harness) {
    let mut membership = join(harness, 1, "10.5.1.0/24").await;
    // again as soon as it is back, before a watch may have seen that
    for _ in 0..5 {
        harness.delete("10.5.1.0-24").await;
        assert_eq!(notice(&mut membership).await, Notice::Lost(key("10.5.1.0-24")));
        assert!(matches!(notice(&mut membership).await, Notice::Own(lease) if lease.key() == key("10.5.1.0-24")));
        assert_eq!(names(harness).await, ["10.5.1.0-24"]);
    }
}

pub(crate) async fn a_node_whose_subnet_was_taken_moves_and_sees_the_other_as_a_peer(harness: &dyn Harness) {
    let mut membership = join(harness, 1, "10.5.1.0/24").await;
    harness.put("10.5.1.0-24", &attributes(2).to_json()).await;
    assert_eq!(notice(&mut membership).await, Notice::Lost(key("10.5.1.0-24")));
    assert!(matches!(notice(&mut membership).await, Notice::Own(lease) if lease.key() != key("10.5.1.0-24")));
    let Notice::Peers(Event::Added(peer)) = notice(&mut membership).await else { panic!("the peer is not told") };
    assert_eq!((peer.key(), peer.attributes), (key("10.5.1.0-24"), attributes(2)));
}

pub(crate) async fn the_own_lease_is_not_told_as_a_peer(harness: &dyn Harness) {
    subnet(harness, 2, Some("10.5.2.0/24")).await;
    let request = request(CONFIG, 1, Some("10.5.1.0/24"));
    let (own, mut membership) = Membership::join(harness.manager(), request, MARGIN).await.unwrap();
    assert_eq!(own.key(), key("10.5.1.0-24"));
    let Notice::Peers(Event::Snapshot(peers)) = notice(&mut membership).await else { panic!("no snapshot") };
    assert_eq!(peers.iter().map(|lease| lease.key()).collect::<Vec<_>>(), [key("10.5.2.0-24")]);
    harness.delete("10.5.2.0-24").await;
    assert_eq!(notice(&mut membership).await, Notice::Peers(Event::Removed(key("10.5.2.0-24"))));
}

pub(crate) async fn new_attributes_reach_the_peers(harness: &dyn Harness) {
    let mut membership = join(harness, 1, "10.5.1.0/24").await;
    let mut events = harness.manager().watch();
    snapshot(&mut events).await;
    let changed = with_mac(1, "0a:ff:ff:ff:ff:ff");
    membership.publish(changed.clone());
    assert!(matches!(event(&mut events).await, Event::Changed(lease) if lease.attributes == changed));
    assert!(matches!(notice(&mut membership).await, Notice::Own(lease) if lease.attributes == changed));
}

pub(crate) async fn bad_keys_and_values_are_skipped_and_harm_nobody(harness: &dyn Harness) {
    subnet(harness, 1, Some("10.5.1.0/24")).await;
    harness.put("junk", "{}").await;
    let manager = harness.manager();
    let mut events = manager.watch();
    assert_eq!(snapshot(&mut events).await, ["10.5.1.0-24"]);
    harness.put("10.5.9.0-24x", &attributes(9).to_json()).await;
    harness.put("10.5.9.0-24", "{broken").await;
    // a known peer's value becomes unreadable: what was last known holds
    harness.put("10.5.1.0-24", "null").await;
    harness.put("10.5.2.0-24", &attributes(2).to_json()).await;
    assert!(matches!(event(&mut events).await, Event::Added(lease) if lease.key() == key("10.5.2.0-24")));
    assert_eq!(manager.skipped(), 4);
    // what cannot be read still has an owner
    assert_ne!(subnet(harness, 3, Some("10.5.9.0/24")).await, "10.5.9.0-24");
}

pub(crate) async fn a_reservation_is_used_by_its_node_and_stays_one(harness: &dyn Harness) {
    harness.put("10.5.50.0-24", r#"{"PublicIP":"192.168.7.1"}"#).await;
    assert_ne!(subnet(harness, 2, Some("10.5.50.0/24")).await, "10.5.50.0-24");
    let manager = harness.manager_with(Duration::from_secs(2));
    let lease = manager.acquire(&request(CONFIG, 1, Some("10.5.60.0/24"))).await.unwrap();
    assert_eq!((lease.key(), lease.expires), (key("10.5.50.0-24"), None));
    assert_eq!(manager.renew(&lease).await.unwrap().expires, None);
    assert_eq!(harness.manager().renew(&lease).await.unwrap().expires, None);
    manager.release(&lease).await.unwrap();
    let kept = harness.all().await.into_iter().find(|(name, _)| name == "10.5.50.0-24").unwrap();
    assert_eq!(Attributes::from_json(kept.1.as_bytes()).unwrap(), attributes(1));
}

pub(crate) async fn a_lease_that_is_not_renewed_runs_out_and_its_subnet_is_free(harness: &dyn Harness) {
    let short = harness.manager_with(Duration::from_secs(2));
    short.acquire(&request(CONFIG, 1, Some("10.5.1.0/24"))).await.unwrap();
    let mut events = harness.manager().watch();
    assert_eq!(snapshot(&mut events).await, ["10.5.1.0-24"]);
    assert_eq!(event(&mut events).await, Event::Removed(key("10.5.1.0-24")));
    assert_eq!(subnet(harness, 2, Some("10.5.1.0/24")).await, "10.5.1.0-24");
}

pub(crate) async fn a_member_outlives_its_first_lease(harness: &dyn Harness) {
    let mut events = harness.manager().watch();
    assert!(snapshot(&mut events).await.is_empty());
    let short = harness.manager_with(Duration::from_secs(4));
    let other = harness.manager_with(Duration::from_secs(6));
    let request_1 = request(CONFIG, 1, Some("10.5.1.0/24"));
    let (_, _membership) = Membership::join(short, request_1, MARGIN).await.unwrap();
    assert!(matches!(event(&mut events).await, Event::Added(_)));
    // longer than the member's first lease: had that run out, it would be told first
    other.acquire(&request(CONFIG, 2, Some("10.5.2.0/24"))).await.unwrap();
    assert!(matches!(event(&mut events).await, Event::Added(_)));
    assert_eq!(event(&mut events).await, Event::Removed(key("10.5.2.0-24")));
}

pub(crate) async fn a_released_lease_is_gone(harness: &dyn Harness) {
    let manager = harness.manager();
    let lease = manager.acquire(&request(CONFIG, 1, None)).await.unwrap();
    manager.release(&lease).await.unwrap();
    manager.release(&lease).await.unwrap();
    assert!(names(harness).await.is_empty());
}
