//! What the tests of the stores share: real etcd servers, and words for what the tests say often.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

pub mod certificates;
pub mod etcd;

use etcd_subnet::{AcquireRequest, Attributes, Event, Membership, NetworkConfig, Notice, SubnetKey, VxlanData};
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;

/// A network of 255 subnets.
pub const CONFIG: &str = r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}"#;

/// Far longer than anything takes: waiting this long means that it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What node number `node` publishes.
pub fn attributes(node: u8) -> Attributes {
    with_mac(node, &format!("0a:00:00:00:00:{node:02x}"))
}

/// The same with another MAC address.
pub fn with_mac(node: u8, mac: &str) -> Attributes {
    Attributes::vxlan([192, 168, 7, node].into(), &VxlanData { vni: 1, vtep_mac: mac.into() })
}

/// What node number `node` asks for in a network.
pub fn request(config: &str, node: u8, previous: Option<&str>) -> AcquireRequest {
    AcquireRequest {
        pool: *NetworkConfig::parse(config).unwrap().supported().unwrap(),
        attributes: attributes(node),
        previous_subnet: previous.map(|text| text.parse().unwrap()),
    }
}

pub fn key(text: &str) -> SubnetKey {
    text.parse().unwrap()
}

/// The result of something that must come to an end.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it never came")
}

/// The next event.
pub async fn event(events: &mut mpsc::Receiver<Event>) -> Event {
    soon(events.recv()).await.expect("the watch has ended")
}

/// The next notice.
pub async fn notice(membership: &mut Membership) -> Notice {
    soon(membership.next()).await.expect("the membership has ended")
}

/// The keys of the snapshot a watch begins with, sorted.
pub async fn snapshot(events: &mut mpsc::Receiver<Event>) -> Vec<String> {
    match event(events).await {
        Event::Snapshot(leases) => {
            let mut keys: Vec<String> = leases.iter().map(|lease| lease.key().to_string()).collect();
            keys.sort();
            keys
        }
        other => panic!("{other:?} came before the snapshot"),
    }
}
