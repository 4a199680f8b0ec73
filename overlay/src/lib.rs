//! What a node does once leases are known: backends, reconciliation, masquerading.

pub mod desired;
pub mod device;
pub mod diff;
