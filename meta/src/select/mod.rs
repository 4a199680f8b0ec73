//! Which networks a pod gets: configuration, pod and NADs in, an ordered list of attachments out, validated to the end.
//! Nothing has been touched when a bad annotation is refused.

mod element;
mod resolve;

use crate::invocation::Invocation;
use crate::source::{Pod, PodKey, Source, SourceError};
use cni::args::Args;
use cni::error::code;
use cni::{Error, NetworkList, Request};
use delegates::DefaultRoute;
use netattach_crd::annotation;
use resolve::Resolver;
use serde_json::{Map, Value};

/// The annotation that asks for networks (multi-net-spec 3.2).
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// One network of the pod, with everything that was asked of it.
pub struct Attachment {
    /// Name as the network-status shows it: `namespace/name` of the NAD, or the network's own name.
    pub name: String,
    /// The plugins.
    pub list: NetworkList,
    /// Interface inside the pod.
    pub ifname: String,
    /// `runtimeConfig` of which each plugin gets what it declares as capability.
    pub runtime_config: Map<String, Value>,
    /// `cni-args` of the annotation.
    pub cni_args: Option<Map<String, Value>>,
    /// Additions to `CNI_ARGS`.
    pub extra_args: Vec<(String, String)>,
    /// What is to become of default routes.
    pub default_route: DefaultRoute,
    /// Whether its element has a `default-route`, be it an empty one: then no other network brings a default route.
    pub claims_default_route: bool,
    /// Whether it is the cluster's default network.
    pub is_default: bool,
    /// What the plugins before a bundled one, called by its own name, have made.
    pub previous: Option<cni::CniResult>,
}

/// The outcome.
pub struct Selection {
    /// The networks, the cluster's default one first.
    pub attachments: Vec<Attachment>,
    /// The pod they are for.
    pub pod: Option<PodKey>,
}

/// Selects the networks for an ADD.
///
/// # Errors
/// Everything that is wrong with the annotation, at once; a NAD that does not exist or may not be used; an API server
/// that does not answer (code 11, so that the runtime tries again).
pub fn select(request: &Request, invocation: &Invocation) -> Result<Selection, Error> {
    let mut selection = configured(request, invocation)?;
    if invocation.bundled.is_some() {
        return Ok(selection);
    }
    ready(invocation)?;
    let Some(key) = pod_key(request)? else { return Ok(selection) };
    let pod = find_pod(&key, invocation.source.as_ref())?;
    let resolver = Resolver::new(invocation, &key.namespace);
    if !invocation.config.system_namespaces.contains(&key.namespace) {
        for name in &invocation.config.default_networks {
            selection.attachments.push(Attachment::plain(name.clone(), resolver.by_name(name)?));
        }
    }
    if let Some(text) = pod.as_ref().and_then(|pod| pod.annotations.get(NETWORKS)) {
        for element in annotation::parse(text, &key.namespace)
            .map_err(|faults| Error::config(format!("pod {key}: annotation {NETWORKS}: {faults}")))?
        {
            let list = resolver.nad(&element.namespace, &element.name)?;
            selection.attachments.push(Attachment::from_element(&element, list)?);
        }
    }
    name_interfaces(&mut selection.attachments, request)?;
    settle_default_routes(&mut selection.attachments);
    selection.pod = Some(key);
    Ok(selection)
}

/// The networks that the configuration alone asks for.
///
/// # Errors
/// A delegate that is no valid configuration, or a `clusterNetwork` that cannot be found.
pub fn configured(request: &Request, invocation: &Invocation) -> Result<Selection, Error> {
    let mut attachments = Vec::new();
    if let Some(list) = &invocation.bundled {
        let mut attachment = Attachment::plain(list.name.clone(), list.clone());
        attachment.previous.clone_from(&invocation.previous);
        // the runtime has already put runtimeConfig where it belongs
        attachment.runtime_config =
            invocation.stdin.get("runtimeConfig").and_then(Value::as_object).cloned().unwrap_or_default();
        attachments.push(attachment);
    } else if invocation.config.cluster_network.is_empty() {
        invocation.config.check()?;
        attachments.extend(
            invocation.config.inline_delegates()?.into_iter().map(|list| Attachment::plain(list.name.clone(), list)),
        );
    } else {
        invocation.config.check()?;
        let name = &invocation.config.cluster_network;
        let list = Resolver::new(invocation, &invocation.config.multus_namespace).by_name(name)?;
        attachments.push(Attachment::plain(list.name.clone(), list));
    }
    if let Some(first) = attachments.first_mut() {
        first.is_default = true;
        if invocation.bundled.is_none() {
            // the runtime's wishes concern the cluster's default network only (multi-net-spec 7.5)
            first.runtime_config.clone_from(&invocation.config.runtime_config);
        }
    }
    name_interfaces(&mut attachments, request)?;
    settle_default_routes(&mut attachments);
    Ok(Selection { attachments, pod: None })
}

impl Attachment {
    fn plain(name: String, list: NetworkList) -> Self {
        Self {
            name,
            list,
            ifname: String::new(),
            runtime_config: Map::new(),
            cni_args: None,
            extra_args: Vec::new(),
            default_route: DefaultRoute::Keep,
            claims_default_route: false,
            is_default: false,
            previous: None,
        }
    }
}

/// The default network gets the interface the runtime names; the others `net` and their position, unless the
/// annotation names them.
fn name_interfaces(attachments: &mut [Attachment], request: &Request) -> Result<(), Error> {
    for (position, attachment) in attachments.iter_mut().enumerate() {
        if position == 0 && attachment.ifname.is_empty() {
            attachment.ifname.clone_from(&request.ifname);
        } else if attachment.ifname.is_empty() {
            attachment.ifname = format!("net{position}");
        }
    }
    for (position, attachment) in attachments.iter().enumerate() {
        if let Some(other) = attachments.iter().skip(position + 1).find(|other| other.ifname == attachment.ifname) {
            return Err(Error::config(format!(
                "interface {:?} is asked for twice: by network {:?} and by {:?}",
                attachment.ifname, attachment.name, other.name
            )));
        }
    }
    Ok(())
}

/// One attachment owns the default route: the one whose element names gateways, else the cluster's default network.
fn settle_default_routes(attachments: &mut [Attachment]) {
    let claimed = attachments.iter().any(|attachment| attachment.claims_default_route);
    for attachment in attachments {
        let owner = if claimed { attachment.claims_default_route } else { attachment.is_default };
        if !owner {
            attachment.default_route = DefaultRoute::Strip;
        }
    }
}

/// The pod the runtime is talking about, if it says so.
fn pod_key(request: &Request) -> Result<Option<PodKey>, Error> {
    let args = Args::parse(&request.args)?;
    let (Some(namespace), Some(name)) = (args.get("K8S_POD_NAMESPACE"), args.get("K8S_POD_NAME")) else {
        return Ok(None);
    };
    for part in [namespace, name] {
        netattach_crd::name::check(part).map_err(|error| Error::config(format!("CNI_ARGS: {error}")))?;
    }
    let uid = args.get("K8S_POD_UID").filter(|uid| !uid.is_empty()).map(str::to_owned);
    Ok(Some(PodKey { namespace: namespace.to_owned(), name: name.to_owned(), uid }))
}

fn find_pod(key: &PodKey, source: &dyn Source) -> Result<Option<Pod>, Error> {
    let pod = source.pod(key).map_err(source_error)?;
    if pod.is_none() && source.is_authoritative() {
        return Err(Error::try_again_later(format!("pod {key} is not known to the API server yet")));
    }
    if let (Some(pod), Some(uid)) = (&pod, &key.uid)
        && !pod.has_uid(uid)
        && !pod.is_static()
    {
        return Err(Error::try_again_later(format!("pod {key} has another UID by now than the runtime's {uid}")));
    }
    Ok(pod)
}

fn ready(invocation: &Invocation) -> Result<(), Error> {
    match &invocation.config.readiness_indicator_file {
        Some(path) if !path.exists() => Err(Error::try_again_later(format!(
            "the default network is not ready: readinessindicatorfile {} does not exist yet",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// A source that failed, as the runtime sees it.
pub fn source_error(error: SourceError) -> Error {
    let code = match error {
        SourceError::Settings(_) => code::INVALID_CONFIG,
        _ if error.is_retriable() => code::TRY_AGAIN_LATER,
        _ => code::INTERNAL,
    };
    Error::new(code, error.to_string())
}
