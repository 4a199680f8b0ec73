//! What can happen to etcd and the way to it: members die, servers come back without their past or with less of it, certificates do not fit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test what cannot be is a failure"
)]

mod support;

use etcd_client::{Client, CompactionOptions, PermissionType};
use etcd_subnet::etcd::{EtcdManager, EtcdSettings};
use etcd_subnet::manager::Error;
use etcd_subnet::{Event, Membership, Notice, SubnetManager};
use std::sync::Arc;
use std::time::Duration;
use support::certificates::Certificates;
use support::etcd::{Etcd, Security};
use support::{CONFIG, attributes, event, key, notice, request, snapshot, soon, with_mac};

fn manager(settings: EtcdSettings) -> Arc<dyn SubnetManager> {
    Arc::new(EtcdManager::new(settings).unwrap())
}

async fn put(client: &mut Client, name: &str, value: &str) {
    client.put(format!("/coreos.com/network/subnets/{name}"), value, None).await.unwrap();
}

async fn delete(client: &mut Client, name: &str) {
    client.delete(format!("/coreos.com/network/subnets/{name}"), None).await.unwrap();
}

#[tokio::test]
async fn the_value_in_etcd_is_flannels_and_hangs_on_a_lease_of_a_day() {
    let Some(etcd) = Etcd::start(1, Security::Plain).await else { return };
    let manager = manager(etcd.settings());
    let lease = manager.acquire(&request(CONFIG, 1, Some("10.5.7.0/24"))).await.unwrap();
    let mut client = etcd.client(0).await;
    let got = client.get("/coreos.com/network/subnets/10.5.7.0-24", None).await.unwrap();
    let kv = &got.kvs()[0];
    let expected = r#"{"PublicIP":"192.168.7.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0a:00:00:00:00:01"}}"#;
    assert_eq!(kv.value_str().unwrap(), expected);
    assert_eq!(client.lease_time_to_live(kv.lease(), None).await.unwrap().granted_ttl(), 86_400);
    manager.renew(&lease).await.unwrap();
    // renewing leaves one etcd lease, not a trail of them
    assert_eq!(client.leases().await.unwrap().leases().len(), 1);
}

#[tokio::test]
async fn lost_races_leave_no_unused_etcd_leases() {
    let Some(etcd) = Etcd::start(1, Security::Plain).await else { return };
    let config = r#"{"Network":"10.5.0.0/28","Backend":{"Type":"vxlan"}}"#;
    let nodes = (1..=6).map(|node| {
        let manager = manager(etcd.settings());
        async move { manager.acquire(&request(config, node, Some("10.5.0.8/30"))).await.is_ok() }
    });
    let won = futures::future::join_all(nodes).await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 3);
    assert_eq!(etcd.client(0).await.leases().await.unwrap().leases().len(), 3);
}

#[tokio::test]
async fn a_watch_goes_on_when_its_member_dies() {
    let Some(mut etcd) = Etcd::start(3, Security::ClientCertificates).await else { return };
    let manager = manager(etcd.settings());
    let mut events = manager.watch();
    assert!(snapshot(&mut events).await.is_empty());
    let mut client = etcd.client(2).await;
    // one after the other the two members the manager may be talking to, never both at once: that would end the quorum
    for (index, name) in ["10.5.1.0-24", "10.5.2.0-24"].iter().enumerate() {
        etcd.kill(index);
        soon(async {
            let name = format!("/coreos.com/network/subnets/{name}");
            while client.put(name.clone(), attributes(9).to_json(), None).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        assert!(matches!(event(&mut events).await, Event::Added(lease) if lease.key() == key(name)));
        soon(manager.acquire(&request(CONFIG, 1, Some("10.5.9.0/24")))).await.unwrap();
        if index == 0 {
            assert!(matches!(event(&mut events).await, Event::Added(lease) if lease.key() == key("10.5.9.0-24")));
        }
        etcd.restart(index).await;
    }
}

#[tokio::test]
async fn after_a_restart_the_watch_tells_only_what_was_missed() {
    let Some(mut etcd) = Etcd::start(1, Security::Plain).await else { return };
    let mut client = etcd.client(0).await;
    put(&mut client, "10.5.1.0-24", &attributes(1).to_json()).await;
    let mut events = manager(etcd.settings()).watch();
    snapshot(&mut events).await;
    etcd.kill(0);
    let port = etcd.restart_elsewhere(0).await;
    put(&mut etcd.client(0).await, "10.5.2.0-24", &attributes(2).to_json()).await;
    etcd.kill(0);
    etcd.move_to(0, port);
    etcd.restart(0).await;
    assert!(matches!(event(&mut events).await, Event::Added(lease) if lease.key() == key("10.5.2.0-24")));
    put(&mut etcd.client(0).await, "10.5.3.0-24", &attributes(3).to_json()).await;
    assert!(matches!(event(&mut events).await, Event::Added(lease) if lease.key() == key("10.5.3.0-24")));
}

#[tokio::test]
async fn after_a_compaction_the_differences_are_told_and_nothing_else() {
    let Some(mut etcd) = Etcd::start(1, Security::Plain).await else { return };
    let mut client = etcd.client(0).await;
    for node in 1..=4 {
        put(&mut client, &format!("10.5.{node}.0-24"), &attributes(node).to_json()).await;
    }
    let mut events = manager(etcd.settings()).watch();
    assert_eq!(snapshot(&mut events).await.len(), 4);
    etcd.kill(0);

    // while nobody watches: one removed, one changed, one the same again, one added, and the past forgotten
    let port = etcd.restart_elsewhere(0).await;
    let mut client = etcd.client(0).await;
    delete(&mut client, "10.5.1.0-24").await;
    put(&mut client, "10.5.2.0-24", &with_mac(2, "0a:ff:ff:ff:ff:ff").to_json()).await;
    put(&mut client, "10.5.3.0-24", &attributes(3).to_json()).await;
    put(&mut client, "10.5.5.0-24", &attributes(5).to_json()).await;
    let now = client.get("x", None).await.unwrap().header().unwrap().revision();
    client.compact(now, Some(CompactionOptions::new().with_physical())).await.unwrap();
    etcd.kill(0);
    etcd.move_to(0, port);
    etcd.restart(0).await;

    assert_eq!(event(&mut events).await, Event::Removed(key("10.5.1.0-24")));
    let mut told = Vec::new();
    for _ in 0..2 {
        told.push(match event(&mut events).await {
            Event::Added(lease) => format!("added {}", lease.key()),
            Event::Changed(lease) => format!("changed {}", lease.key()),
            other => panic!("{other:?}"),
        });
    }
    told.sort();
    assert_eq!(told, ["added 10.5.5.0-24", "changed 10.5.2.0-24"]);
    put(&mut etcd.client(0).await, "10.5.6.0-24", &attributes(6).to_json()).await;
    assert!(matches!(event(&mut events).await, Event::Added(lease) if lease.key() == key("10.5.6.0-24")));
}

#[tokio::test]
async fn peers_stay_while_etcd_is_away_and_a_member_joins_its_emptied_successor() {
    let Some(mut etcd) = Etcd::start(1, Security::Plain).await else { return };
    let mut client = etcd.client(0).await;
    for _ in 0..20 {
        put(&mut client, "10.5.2.0-24", &attributes(2).to_json()).await;
    }
    let request = request(CONFIG, 1, Some("10.5.1.0/24"));
    let (_, mut membership) =
        Membership::join(manager(etcd.settings()), request, Duration::from_secs(3600)).await.unwrap();
    assert!(matches!(notice(&mut membership).await, Notice::Peers(Event::Snapshot(_))));
    etcd.kill(0);
    etcd.wipe(0);
    etcd.restart(0).await;
    // the first word after the outage comes from a listing of the new store, which really is empty
    let mut notices = [notice(&mut membership).await, notice(&mut membership).await];
    notices.sort_by_key(|notice| format!("{notice:?}"));
    assert_eq!(notices[0], Notice::Lost(key("10.5.1.0-24")));
    assert_eq!(notices[1], Notice::Peers(Event::Removed(key("10.5.2.0-24"))));
    assert!(matches!(notice(&mut membership).await, Notice::Own(lease) if lease.key() == key("10.5.1.0-24")));
}

#[tokio::test]
async fn a_ca_file_is_enough_where_no_client_certificate_is_wanted() {
    let Some(etcd) = Etcd::start(1, Security::Tls).await else { return };
    assert!(etcd.settings().cert_file.is_none());
    manager(etcd.settings()).acquire(&request(CONFIG, 1, None)).await.unwrap();
    let by_name = etcd.endpoint(0).replace("127.0.0.1", "localhost");
    let settings = EtcdSettings { endpoints: vec![by_name], ..etcd.settings() };
    manager(settings).acquire(&request(CONFIG, 1, None)).await.unwrap();
    // without a scheme the CA file says that it is https
    let bare = etcd.endpoint(0).replace("https://", "");
    let settings = EtcdSettings { endpoints: vec![bare], ..etcd.settings() };
    manager(settings).acquire(&request(CONFIG, 1, None)).await.unwrap();
}

#[tokio::test]
async fn a_missing_client_certificate_and_a_wrong_ca_are_named() {
    let Some(etcd) = Etcd::start(1, Security::ClientCertificates).await else { return };
    manager(etcd.settings()).acquire(&request(CONFIG, 1, None)).await.unwrap();

    let without = EtcdSettings { cert_file: None, key_file: None, ..etcd.settings() };
    let error = soon(manager(without).find_config()).await.unwrap_err().to_string();
    assert!(error.contains("client certificate"), "{error}");

    let home = tempfile::tempdir().unwrap();
    let strangers = Certificates::make(home.path());
    let wrong = EtcdSettings { ca_file: Some(strangers.ca.clone()), ..etcd.settings() };
    let error = soon(manager(wrong).find_config()).await.unwrap_err().to_string();
    assert!(error.contains("the CA file does not vouch for this server"), "{error}");

    let strange =
        EtcdSettings { cert_file: Some(strangers.client), key_file: Some(strangers.client_key), ..etcd.settings() };
    let error = soon(manager(strange).find_config()).await.unwrap_err().to_string();
    assert!(error.contains("client certificate"), "{error}");
}

#[tokio::test]
async fn user_and_password_are_used_and_a_wrong_one_is_not_retried() {
    let Some(etcd) = Etcd::start(1, Security::Plain).await else { return };
    let with = |name: &str, password: &str| EtcdSettings {
        username: Some(name.into()),
        password: Some(password.into()),
        ..etcd.settings()
    };
    // a user name is no fault where none is asked for
    manager(with("node", "secret")).acquire(&request(CONFIG, 1, None)).await.unwrap();

    let mut client = etcd.client(0).await;
    for name in ["root", "node"] {
        client.user_add(name, "secret", None).await.unwrap();
    }
    client.user_grant_role("root", "root").await.unwrap();
    client.role_add("nodes").await.unwrap();
    let below = etcd_client::Permission::new(PermissionType::Readwrite, "/coreos.com/network/").with_prefix();
    client.role_grant_permission("nodes", below).await.unwrap();
    client.user_grant_role("node", "nodes").await.unwrap();
    client.auth_enable().await.unwrap();

    let let_in = manager(with("node", "secret"));
    let lease = let_in.acquire(&request(CONFIG, 1, None)).await.unwrap();
    let_in.renew(&lease).await.unwrap();
    let mut events = let_in.watch();
    assert_eq!(snapshot(&mut events).await.len(), 1);

    let error = manager(with("node", "wrong-password")).find_config().await.unwrap_err();
    assert!(matches!(error, Error::Settings { .. }), "{error}");
    assert!(!error.to_string().contains("wrong-password"), "{error}");
    let error = manager(etcd.settings()).find_config().await.unwrap_err();
    assert!(matches!(error, Error::Settings { .. }), "{error}");
    let elsewhere = EtcdSettings { prefix: "/other".into(), ..with("node", "secret") };
    let error = manager(elsewhere).find_config().await.unwrap_err();
    assert!(matches!(error, Error::Settings { .. }) && error.to_string().contains("permission denied"), "{error}");
}

#[tokio::test]
async fn dead_endpoints_are_passed_over() {
    let Some(etcd) = Etcd::start(1, Security::Plain).await else { return };
    let mut endpoints = vec!["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()];
    let dead = EtcdSettings { endpoints: endpoints.clone(), ..etcd.settings() };
    let error = manager(dead).find_config().await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:") && error.contains("refused"), "{error}");
    endpoints.push(etcd.endpoint(0));
    let settings = EtcdSettings { endpoints, ..etcd.settings() };
    manager(settings).acquire(&request(CONFIG, 1, None)).await.unwrap();
}

#[test]
fn settings_that_cannot_work_are_refused_at_once() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file.pem");
    std::fs::write(&file, "not a certificate").unwrap();
    let refused = |settings: EtcdSettings| EtcdManager::new(settings).unwrap_err().to_string();
    let https = || EtcdSettings { endpoints: vec!["https://127.0.0.1:2379".into()], ..EtcdSettings::default() };

    let none = EtcdSettings { endpoints: vec![" ".into()], ..EtcdSettings::default() };
    assert!(refused(none).contains("no endpoint given"));
    let inside = EtcdSettings { prefix: "/coreos.com/network/subnets/mine".into(), ..EtcdSettings::default() };
    assert!(refused(inside).contains("where another network would keep its leases"));
    let named = EtcdSettings { endpoints: vec!["http://me:secret@127.0.0.1".into()], ..EtcdSettings::default() };
    assert!(!refused(named).contains("secret"));
    let plain = EtcdSettings { ca_file: Some(file.clone()), ..EtcdSettings::default() };
    assert!(refused(plain).contains("http://127.0.0.1:4001 is not https"));
    assert!(refused(EtcdSettings { cert_file: Some(file.clone()), ..https() }).contains("key file"));
    let missing = EtcdSettings { ca_file: Some(home.path().join("missing.pem")), ..https() };
    assert!(refused(missing).contains("missing.pem"));
    assert!(refused(EtcdSettings { ca_file: Some(file), ..https() }).contains("holds no PEM CERTIFICATE"));
    let nameless = EtcdSettings { password: Some("secret".into()), ..EtcdSettings::default() };
    assert!(!format!("{nameless:?}").contains("secret"));
    assert!(refused(nameless).contains("without a user name"));
}

/// Not a test of anything: prints what a start beside ten thousand leases costs.
#[tokio::test]
#[ignore = "a measurement, to be run by hand and in release mode"]
async fn measure_a_start_beside_ten_thousand_leases() {
    let Some(etcd) = Etcd::start(1, Security::ClientCertificates).await else { return };
    let mut client = etcd.client(0).await;
    let config = r#"{"Network":"10.0.0.0/8","Backend":{"Type":"vxlan"}}"#;
    client.put("/coreos.com/network/config", config, None).await.unwrap();
    for high in 0..100 {
        let puts: Vec<_> = (0..100)
            .map(|low| {
                let name = format!("/coreos.com/network/subnets/10.{}.{}.0-24", high + 1, low);
                let mut attributes = attributes(1);
                attributes.public_ip = [172, 16, high, low].into();
                etcd_client::TxnOp::put(name, attributes.to_json(), None)
            })
            .collect();
        client.txn(etcd_client::Txn::new().and_then(puts)).await.unwrap();
    }
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let manager = manager(etcd.settings());
        manager.network_config().await.unwrap();
        let configured = start.elapsed();
        let request = request(config, 1, None);
        let (_, mut membership) = Membership::join(manager, request, Duration::from_secs(60)).await.unwrap();
        let acquired = start.elapsed();
        assert!(
            matches!(notice(&mut membership).await, Notice::Peers(Event::Snapshot(peers)) if peers.len() == 10_000)
        );
        println!("configuration {configured:?}, own lease {acquired:?}, ten thousand peers {:?}", start.elapsed());
    }
}
