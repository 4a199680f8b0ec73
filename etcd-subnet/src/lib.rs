//! Who owns which pod subnet: the subnet manager over etcd and over files.
//!
//! An overlay network is described by one text, the [network configuration](config::NetworkConfig). Every node of it owns one
//! [lease](lease::Lease): a pod subnet together with what peers must know to reach it. A [`SubnetManager`] keeps both, and there are two:
//! [`etcd::EtcdManager`], key for key and byte for byte what flannel keeps in etcd, and [`file::FileManager`], the same in a directory for
//! a machine, a lab or a shared file system that has no etcd. What a node does for as long as it belongs to a network (take a lease, renew it,
//! get it back when it was lost, hear of its peers) is [`membership`], written once over the trait.
//!
//! This crate sees neither the kernel's network nor a cluster. [`mod@env`] is the text by which a node tells its plugins which subnet it got.

#![forbid(unsafe_code)]

mod allocate;
mod backoff;
pub mod config;
pub mod env;
pub mod etcd;
mod fields;
pub mod file;
pub mod init;
mod known;
pub mod lease;
pub mod manager;
pub mod membership;
mod skipped;

pub use config::NetworkConfig;
pub use lease::{Attributes, Lease, SubnetKey, VxlanData};
pub use manager::{AcquireRequest, Event, SubnetManager};
pub use membership::{Membership, Notice};
