//! One attachment after the other, one plugin after the other: threads results through the plugins of each list.

use crate::node::Node;
use crate::select::Attachment;
use cni::args::Args;
use cni::{CniResult, Error, PluginConf, Request};
use delegates::{Call, Plan, World};
use serde_json::Value;
use std::path::PathBuf;

/// An attachment with everything its plugins are called with.
pub struct Link<'a> {
    /// What was selected.
    pub attachment: &'a Attachment,
    /// The plugins' configurations with everything injected that does not depend on a result.
    pub confs: Vec<PluginConf>,
    /// `CNI_ARGS` for these plugins.
    pub args: Args,
}

impl<'a> Link<'a> {
    /// Injects what the runtime and the annotation ask for into the configurations.
    ///
    /// # Errors
    /// A configuration whose `args` cannot take the annotation's `cni-args`.
    pub fn new(attachment: &'a Attachment, request: &Request) -> Result<Self, Error> {
        let list = &attachment.list;
        let confs = list
            .plugins
            .iter()
            .map(|conf| {
                let conf = conf
                    .clone()
                    .with_name(&list.name)?
                    .with_version(list.cni_version)?
                    .with_runtime_config(&attachment.runtime_config);
                match &attachment.cni_args {
                    Some(args) => conf.with_args(args),
                    None => Ok(conf),
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut args = Args::parse(&request.args)?;
        for (key, value) in &attachment.extra_args {
            args = args.with(key, value)?;
        }
        Ok(Self { attachment, confs, args })
    }

    /// The call of one plugin of this attachment.
    pub fn call<'b>(&'b self, conf: &'b PluginConf, request: &'b Request, previous: Option<&'b CniResult>) -> Call<'b> {
        Call {
            conf,
            container: &request.container_id,
            netns: request.netns.as_deref(),
            ifname: &self.attachment.ifname,
            args: &self.args,
            previous,
            default_route: &self.attachment.default_route,
        }
    }

    /// The configurations as the journal keeps them.
    pub fn plugins(&self) -> Vec<Value> {
        self.confs.iter().map(|conf| Value::Object(conf.raw().clone())).collect()
    }
}

/// Plans the ADD of every attachment, in order. Foreign plugins are executed on the way; everything else is still a
/// plan when this returns.
///
/// # Errors
/// The first refusal or failure, with the network's name before it and the plugin's code kept.
pub fn add(
    links: &[Link<'_>],
    request: &Request,
    node: &mut Node<'_>,
    plan: &mut Plan,
) -> Result<Vec<CniResult>, Error> {
    node.address_stores(stores(links, request, node));
    let mut results = Vec::with_capacity(links.len());
    for (position, link) in links.iter().enumerate() {
        let result = add_one(link, request, node, plan).map_err(|error| {
            error.context(format!("network {:?} ({})", link.attachment.name, link.attachment.ifname))
        })?;
        node.attached(position, &result, plan)?;
        results.push(result);
    }
    Ok(results)
}

fn add_one(link: &Link<'_>, request: &Request, node: &mut Node<'_>, plan: &mut Plan) -> Result<CniResult, Error> {
    let mut result = link.attachment.previous.clone();
    for conf in &link.confs {
        result = Some(delegates::add(&link.call(conf, request, result.as_ref()), node, plan)?);
    }
    Ok(result.unwrap_or_default())
}

/// Plans the DEL of attachments that no journal entry knows, in reverse; what cannot be planned is reported and the
/// rest goes on.
pub fn del(
    links: &[Link<'_>],
    request: &Request,
    previous: Option<&CniResult>,
    node: &mut Node<'_>,
    plan: &mut Plan,
) -> Vec<Error> {
    let mut errors = Vec::new();
    for link in links.iter().rev() {
        for conf in link.confs.iter().rev() {
            if let Err(error) = delegates::del(&link.call(conf, request, previous), node, plan) {
                errors.push(error.context(format!("network {:?}", link.attachment.name)));
            }
        }
    }
    errors
}

/// Whether every plugin could do an ADD now.
///
/// # Errors
/// The first one's reason why not.
pub fn status(links: &[Link<'_>], request: &Request, node: &mut Node<'_>) -> Result<(), Error> {
    for link in links {
        for conf in &link.confs {
            delegates::status(&link.call(conf, request, None), node)
                .map_err(|error| error.context(format!("network {:?}", link.attachment.name)))?;
        }
    }
    Ok(())
}

/// Every address store that planning may lock: known beforehand, so that all of them are locked in one order by
/// everybody and two pods with the same networks in another order never wait for each other.
fn stores(links: &[Link<'_>], request: &Request, world: &dyn World) -> Vec<PathBuf> {
    let mut stores: Vec<_> = links
        .iter()
        .flat_map(|link| link.confs.iter().flat_map(|conf| delegates::stores(&link.call(conf, request, None), world)))
        .collect();
    stores.sort();
    stores.dedup();
    stores
}
