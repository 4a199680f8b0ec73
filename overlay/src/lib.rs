//! What a node does once leases are known: backends, reconciliation, masquerading.

pub mod desired;
pub mod device;
pub mod diff;
pub mod drift;
pub mod lease;
pub mod masquerade;
pub mod network;
pub mod reconcile;
pub mod retry;
pub mod underlay;
pub mod vxlan;
