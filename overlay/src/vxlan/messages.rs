//! One netlink message for each change.

use net::message::{neighbour, nexthop, route};
use net::netlink::Message;

use crate::desired::ROUTE_PROTOCOL;
use crate::diff::{Change, Route};

/// Encodes `change` for the VXLAN device `index` over the interface `underlay`.
pub(super) fn encode(change: &Change, index: u32, underlay: u32) -> Message {
    match *change {
        Change::SetForward { mac, destination } => neighbour::set_forwarding(index, mac, destination.into()),
        Change::SetNeighbour { address, mac } => neighbour::set(index, address.into(), mac),
        Change::SetNextHop { id, gateway, replace } => {
            let wanted =
                nexthop::Nexthop { id, gateway: gateway.into(), index, protocol: ROUTE_PROTOCOL, on_link: true };
            if replace { nexthop::set(&wanted) } else { nexthop::add(&wanted) }
        }
        Change::SetRoute { destination, nexthop } => {
            route::replace(&route::Route::through(destination.into(), nexthop, ROUTE_PROTOCOL))
        }
        Change::SetDirectRoute { destination, gateway } => route::replace(&route::Route {
            gateway: Some(gateway.into()),
            index: Some(underlay),
            protocol: ROUTE_PROTOCOL,
            ..route::Route::to(destination.into())
        }),
        Change::DeleteRoute(ref found) => route::delete(&deleted(found)),
        Change::DeleteNextHop { id } => nexthop::delete(id),
        Change::DeleteNeighbour { address } => neighbour::delete(index, address.into()),
        Change::DeleteForward { mac, destination } => neighbour::delete_forwarding(index, mac, destination.into()),
    }
}

/// A route through a nexthop object is matched by that alone: naming gateway or interface beside it is refused.
fn deleted(found: &Route) -> route::Route {
    let plain = found.nexthop.is_none();
    route::Route {
        gateway: found.gateway.filter(|_| plain).map(Into::into),
        index: Some(found.device).filter(|index| plain && *index != 0),
        nexthop: found.nexthop,
        protocol: found.protocol,
        priority: Some(found.priority).filter(|priority| *priority != 0),
        ..route::Route::to(found.destination.into())
    }
}
