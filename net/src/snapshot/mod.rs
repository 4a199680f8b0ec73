//! What is there: links, addresses, routes, neighbours, forwarding entries and next hops as plain comparable values.
//!
//! Planning looks up single links, CHECK and the reconcilers read tables, and tests compare whole namespaces before and after.

mod address;
mod link;
mod neighbour;
mod nexthop;
mod route;
mod whole;

pub use address::{AddressFacts, Family, addresses};
pub use link::{BridgeFacts, LinkFacts, PortFacts, VxlanFacts, link_by_index, link_by_name, links};
pub use neighbour::{ForwardingFacts, NeighbourFacts, forwarding, neighbours};
pub use nexthop::{NexthopFacts, nexthops};
pub use route::{RouteFacts, RouteFilter, route_towards, routes};
pub use whole::{Difference, Snapshot};
