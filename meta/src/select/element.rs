//! What one element of the annotation asks for, turned into what its network's plugins are called with. An element
//! that asks for something no plugin of its network can do is refused (multi-net-spec 4.1.2.1): a pod that starts
//! without the address it was promised is worse than one that does not start.

use super::Attachment;
use cni::{Error, NetworkList};
use delegates::DefaultRoute;
use netattach_crd::Selection;
use serde_json::{Map, Value, json};

impl Attachment {
    /// The attachment of an element to its network.
    ///
    /// # Errors
    /// A wish that no plugin of the network declares the capability for, by the element's key.
    pub(super) fn from_element(element: &Selection, list: NetworkList) -> Result<Self, Error> {
        let name = format!("{}/{}", element.namespace, element.name);
        if element.ipam_claim.is_some() {
            return Err(Error::config(format!(
                "network {name}: `ipam-claim-reference` is not supported yet: remove it from the annotation"
            )));
        }
        let mut runtime_config = Map::new();
        for (key, capability, value) in wishes(element) {
            if !list.declares(capability) {
                return Err(Error::config(format!(
                    "network {name}: the annotation asks for `{key}`, but no plugin of the network declares the capability {capability:?}"
                )));
            }
            runtime_config.insert(capability.to_owned(), value);
        }
        Ok(Self {
            ifname: element.interface.clone().unwrap_or_default(),
            runtime_config,
            cni_args: element.cni_args.clone(),
            extra_args: extra_args(element),
            default_route: match &element.default_route {
                Some(gateways) if !gateways.is_empty() => DefaultRoute::Via(gateways.clone()),
                _ => DefaultRoute::Keep,
            },
            claims_default_route: element.default_route.is_some(),
            ..Self::plain(name, list)
        })
    }
}

/// The wishes that need a plugin with the capability: the element's key, the capability, its argument.
fn wishes(element: &Selection) -> Vec<(&'static str, &'static str, Value)> {
    let mut wishes = Vec::new();
    if !element.ips.is_empty() {
        wishes.push(("ips", "ips", json!(element.ips)));
    }
    if let Some(mac) = &element.mac {
        wishes.push(("mac", "mac", json!(mac.to_string())));
    }
    if let Some(guid) = &element.infiniband_guid {
        wishes.push(("infiniband-guid", "infinibandGUID", json!(guid.to_string())));
    }
    if !element.port_mappings.is_empty() {
        wishes.push(("portMappings", "portMappings", json!(element.port_mappings)));
    }
    if let Some(bandwidth) = &element.bandwidth {
        wishes.push(("bandwidth", "bandwidth", json!(bandwidth)));
    }
    if let Some(device) = &element.device_id {
        wishes.push(("deviceID", "deviceID", json!(device)));
    }
    wishes
}

/// Address and MAC also go out in `CNI_ARGS`, where plugins looked for them before there were capabilities.
fn extra_args(element: &Selection) -> Vec<(String, String)> {
    let mut args = Vec::new();
    if let Some(mac) = &element.mac {
        args.push(("MAC".to_owned(), mac.to_string()));
    }
    if !element.ips.is_empty() {
        let ips: Vec<_> = element.ips.iter().map(ToString::to_string).collect();
        args.push(("IP".to_owned(), ips.join(",")));
    }
    args
}
