//! Requests to the kernel, by kind of object. Each function is one message; what it means to the kernel is said beside it.

pub mod address;
pub mod link;
pub mod neighbour;
pub mod nexthop;
pub mod route;

/// Flags of a request that creates and must not find anything.
pub(crate) const CREATE_NEW: u16 = netlink_packet_core::NLM_F_CREATE | netlink_packet_core::NLM_F_EXCL;
/// Flags of a request that creates behind what is there, except for the very same.
pub(crate) const APPEND_NEW: u16 = netlink_packet_core::NLM_F_CREATE | netlink_packet_core::NLM_F_APPEND;
/// Flags of a request that creates or replaces.
pub(crate) const CREATE_OR_REPLACE: u16 = netlink_packet_core::NLM_F_CREATE | netlink_packet_core::NLM_F_REPLACE;
