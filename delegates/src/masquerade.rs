//! Masquerading of single pods (`ipMasq`): what leaves the network goes out under the node's address.
//!
//! One set element for each pod, whatever the number of pods; the chain behind it belongs to the subnet and is made
//! with the first pod.

use crate::{Call, Plan};
use cni::Ip;
use net::nft::rulesets::masquerade;
use net::op::Op;

/// Plans the masquerading of a pod's addresses.
pub(crate) fn plan(call: &Call<'_>, ips: &[Ip], plan: &mut Plan) {
    for ip in ips {
        let (address, subnet) = (ip.address.addr(), ip.address.trunc());
        let owner = call.owner();
        let add = Op::Nft {
            transaction: masquerade::add_pod(address, subnet, &owner),
            foundation: Some(masquerade::base(subnet)),
            owner: None,
        };
        let remove =
            Op::Nft { transaction: masquerade::remove_pod(address, subnet), foundation: None, owner: Some(owner) };
        plan.host(add, Some(remove), format!("masquerade {address}"));
    }
}

/// Plans the end of a pod's masquerading.
pub(crate) fn plan_del(call: &Call<'_>, ips: &[Ip], plan: &mut Plan) {
    for ip in ips {
        let transaction = masquerade::remove_pod(ip.address.addr(), ip.address.trunc());
        let op = Op::Nft { transaction, foundation: None, owner: Some(call.owner()) };
        plan.host(op, None, "the pod's masquerading");
    }
}
