//! What is particular to the store in a directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test what cannot be is a failure"
)]

mod support;

use etcd_subnet::file::FileManager;
use etcd_subnet::init::initialize;
use etcd_subnet::{Event, SubnetManager};
use std::time::{Duration, SystemTime};
use support::{CONFIG, attributes, event, key, request, snapshot};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn the_directory_is_made_and_holds_what_the_documentation_says() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("var/plexus/network");
    let manager = FileManager::new(&directory);
    initialize(&manager, CONFIG, false).await.unwrap();
    manager.acquire(&request(CONFIG, 1, Some("10.5.7.0/24"))).await.unwrap();
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    assert_eq!(read("config"), format!("{CONFIG}\n"));
    let value = r#"{"PublicIP":"192.168.7.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0a:00:00:00:00:01"},"TTL":86400}"#;
    assert_eq!(read("subnets/10.5.7.0-24"), format!("{value}\n"));
    let mut names: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config", "lock", "subnets"]);
}

#[tokio::test]
async fn the_files_time_is_the_term_and_renewing_changes_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let manager = FileManager::new(home.path());
    let lease = manager.acquire(&request(CONFIG, 1, Some("10.5.7.0/24"))).await.unwrap();
    let path = home.path().join("subnets/10.5.7.0-24");
    let before = std::fs::read(&path).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - DAY / 2).unwrap();
    let renewed = manager.renew(&lease).await.unwrap();
    assert!(renewed.expires.unwrap() > SystemTime::now() + DAY / 2 + DAY / 4);
    assert_eq!(std::fs::read(&path).unwrap(), before);

    // a lease of yesterday is nobody's: not told, and its subnet is free
    file.set_modified(SystemTime::now() - DAY - Duration::from_secs(1)).unwrap();
    assert!(snapshot(&mut manager.watch()).await.is_empty());
    let taken = FileManager::new(home.path()).acquire(&request(CONFIG, 2, Some("10.5.7.0/24"))).await.unwrap();
    assert_eq!(taken.key(), key("10.5.7.0-24"));
}

#[tokio::test]
async fn peers_written_by_hand_never_run_out() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("subnets")).unwrap();
    let path = home.path().join("subnets/10.5.7.0-24");
    std::fs::write(&path, attributes(7).to_json()).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(snapshot(&mut FileManager::new(home.path()).watch()).await, ["10.5.7.0-24"]);
}

#[tokio::test]
async fn changes_the_kernel_does_not_tell_of_are_found_by_the_scan() {
    let home = tempfile::tempdir().unwrap();
    let manager = FileManager::with_times(home.path(), DAY, Duration::from_millis(50));
    manager.acquire(&request(CONFIG, 1, Some("10.5.1.0/24"))).await.unwrap();
    let mut events = manager.watch();
    snapshot(&mut events).await;
    // a hard link made from outside changes the file without an event of the directory when written through the other name
    let path = home.path().join("subnets/10.5.1.0-24");
    let other = home.path().join("other-name");
    std::fs::hard_link(&path, &other).unwrap();
    std::fs::write(&other, attributes(2).to_json()).unwrap();
    assert!(matches!(event(&mut events).await, Event::Changed(lease) if lease.attributes == attributes(2)));
}

#[tokio::test]
async fn peers_stay_when_the_directory_is_taken_away_and_differences_are_told_when_it_is_back() {
    let home = tempfile::tempdir().unwrap();
    let manager = FileManager::new(home.path());
    for node in 1..=2 {
        manager.acquire(&request(CONFIG, node, Some(&format!("10.5.{node}.0/24")))).await.unwrap();
    }
    let mut events = manager.watch();
    assert_eq!(snapshot(&mut events).await.len(), 2);
    let (subnets, away) = (home.path().join("subnets"), home.path().join("away"));
    std::fs::rename(&subnets, &away).unwrap();
    std::fs::remove_file(away.join("10.5.1.0-24")).unwrap();
    std::fs::write(away.join("10.5.3.0-24"), attributes(3).to_json()).unwrap();
    std::fs::rename(&away, &subnets).unwrap();
    assert_eq!(event(&mut events).await, Event::Removed(key("10.5.1.0-24")));
    assert!(matches!(event(&mut events).await, Event::Added(lease) if lease.key() == key("10.5.3.0-24")));
}

#[tokio::test]
async fn a_writer_that_was_killed_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".new-12345"), "half a le").unwrap();
    FileManager::new(home.path()).acquire(&request(CONFIG, 1, None)).await.unwrap();
    assert!(!home.path().join(".new-12345").exists());
}

#[tokio::test]
async fn what_is_in_the_way_of_one_subnet_keeps_no_node_from_another() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("subnets/10.5.1.0-24")).unwrap();
    let manager = FileManager::new(home.path());
    let lease = manager.acquire(&request(CONFIG, 1, Some("10.5.1.0/24"))).await.unwrap();
    assert_ne!(lease.key(), key("10.5.1.0-24"));
    assert_eq!(snapshot(&mut manager.watch()).await, [lease.key().to_string()]);
    assert_eq!(manager.skipped(), 1);
}

#[tokio::test]
async fn an_unwritable_directory_is_named_in_the_error() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = FileManager::new(&file).acquire(&request(CONFIG, 1, None)).await.unwrap_err().to_string();
    assert!(error.contains("file/subnets"), "{error}");
}
