//! What a delegate is asked to do: the inputs of planning, gathered once by the caller.

use cni::args::Args;
use cni::{CniResult, PluginConf};
use std::path::Path;

/// One plugin's part in one attachment.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The plugin's configuration with `name`, `cniVersion` and `runtimeConfig` already injected.
    pub conf: &'a PluginConf,
    /// `CNI_CONTAINERID`, validated.
    pub container: &'a str,
    /// `CNI_NETNS`; absent on many a DEL.
    pub netns: Option<&'a Path>,
    /// The interface's name inside the pod, validated.
    pub ifname: &'a str,
    /// `CNI_ARGS`.
    pub args: &'a Args,
    /// What the plugins before this one in the chain have made.
    pub previous: Option<&'a CniResult>,
    /// What is to become of default routes on this attachment.
    pub default_route: &'a DefaultRoute,
}

impl<'a> Call<'a> {
    /// The same call for the plugin that `conf` names.
    pub fn with_conf<'b>(&self, conf: &'b PluginConf) -> Call<'b>
    where
        'a: 'b,
    {
        Call { conf, ..*self }
    }

    /// Whose an object is that carries no path or name of its own: the comment of nftables elements.
    pub fn owner(&self) -> String {
        format!("{}/{}/{}", self.container, self.ifname, self.network())
    }

    /// The name of the network, which the conf's loader has made sure of.
    pub fn network(&self) -> &'a str {
        self.conf.name()
    }
}

/// Which default routes an attachment may bring along (multi-net-spec 4.1.2.1.9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DefaultRoute {
    /// The plugin's own: the cluster's default network while nobody else asks for the default route.
    #[default]
    Keep,
    /// None: a secondary network, or the default network when a secondary one has asked for the default route.
    Strip,
    /// These gateways instead of the plugin's own, from the element's `default-route`.
    Via(Vec<std::net::IpAddr>),
}
