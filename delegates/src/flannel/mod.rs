//! flannel: a network whose subnet the overlay agent (or flanneld) has leased for this node, attached by another
//! plugin, `bridge` unless the conf says otherwise.
//!
//! The subnet comes from the file the agent writes (`subnetFile`). The configuration made for the delegate is kept in
//! `dataDir` until the delegate's DEL has succeeded, one file per container, interface and network: flannel's own
//! files are named by the container alone, so that two networks with one `dataDir` overwrite each other. Those old
//! files are still read by DEL.

use crate::{Call, Delegate, Plan, World};
use cni::error::code;
use cni::{CniResult, Error, PluginConf, gojson};
use net::op::Op;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

mod subnet;
#[cfg(test)]
mod tests;
use subnet::Subnet;

/// The bundled `flannel`.
pub struct Flannel;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Conf {
    subnet_file: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    delegate: Map<String, Value>,
    ipam: Map<String, Value>,
    runtime_config: Option<Value>,
}

impl Conf {
    fn subnet_file(&self) -> &Path {
        self.subnet_file.as_deref().unwrap_or(Path::new("/run/flannel/subnet.env"))
    }

    fn data_dir(&self) -> &Path {
        self.data_dir.as_deref().unwrap_or(Path::new("/var/lib/cni/flannel"))
    }
}

impl Delegate for Flannel {
    fn kind(&self) -> &'static str {
        "flannel"
    }

    fn add(&self, call: &Call<'_>, world: &mut dyn World, plan: &mut Plan) -> Result<CniResult, Error> {
        let conf: Conf = call.conf.decode()?;
        let subnet = read_subnet(&conf, world)?;
        let delegate = delegate_conf(call, &conf, &subnet)?;
        let path = path_text(&state_file(call, &conf))?;
        plan.record(
            Op::CreateFile { path: path.clone(), contents: delegate.to_text(), mode: 0o600, make_dirs: true },
            Some(Op::RemoveFile { path, only_if: None }),
            "what the delegate is called with, for its DEL",
        );
        crate::add(&call.with_conf(&delegate), world, plan).map_err(|error| error.context("failed to delegate add"))
    }

    fn del(&self, call: &Call<'_>, world: &mut dyn World, plan: &mut Plan) -> Result<(), Error> {
        let conf: Conf = call.conf.decode()?;
        let old = conf.data_dir().join(call.container);
        for path in [state_file(call, &conf), old] {
            let Some(text) = world.read(&path)? else { continue };
            let saved = PluginConf::from_stdin(text.as_bytes())
                .map_err(|error| error.context(format!("flannel's state file {}", path.display())))?;
            // flannel's own file does not say which of the pod's interfaces it is about; its delegate's network does
            if saved.name() != call.network() {
                continue;
            }
            crate::del(&call.with_conf(&saved), world, plan)?;
            let path = path_text(&path)?;
            plan.host(Op::RemoveFile { path, only_if: None }, None, "the delegate's DEL has succeeded");
        }
        Ok(())
    }

    fn status(&self, call: &Call<'_>, world: &mut dyn World) -> Result<(), Error> {
        let conf: Conf = call.conf.decode()?;
        let subnet = read_subnet(&conf, world).map_err(|error| Error::new(code::NOT_AVAILABLE, error.msg))?;
        let delegate = delegate_conf(call, &conf, &subnet)?;
        crate::status(&call.with_conf(&delegate), world)
    }

    fn stores(&self, call: &Call<'_>) -> Vec<PathBuf> {
        // the delegate's IPAM keeps its reservations under the network's name, whatever the subnet
        let Ok(conf) = call.conf.decode::<Conf>() else { return Vec::new() };
        match with_ipam(call, &conf, Map::new()) {
            Ok(delegate) => crate::ipam::stores(&call.with_conf(&delegate)),
            Err(_) => Vec::new(),
        }
    }
}

/// Where flannel's own plugin keeps its state of a container; none for confs of another type.
pub fn old_state_file(conf: &PluginConf, container: &str) -> Option<PathBuf> {
    let own = conf.kind() == Flannel.kind();
    own.then(|| conf.decode::<Conf>().ok()).flatten().map(|conf| conf.data_dir().join(container))
}

/// `<dataDir>/<container>:<interface>:<network>`. The parts hold no colon and no slash: validated at the door.
fn state_file(call: &Call<'_>, conf: &Conf) -> PathBuf {
    conf.data_dir().join(format!("{}:{}:{}", call.container, call.ifname, call.network()))
}

fn path_text(path: &Path) -> Result<String, Error> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::new(code::INVALID_CONFIG, format!("path {} is not UTF-8", path.display())))
}

fn read_subnet(conf: &Conf, world: &mut dyn World) -> Result<Subnet, Error> {
    let path = conf.subnet_file();
    let text = world.read(path)?.ok_or_else(|| {
        Error::new(
            code::TRY_AGAIN_LATER,
            format!(
                "failed to load flannel 'subnet.env' file: {} does not exist; the overlay agent of this network has no lease yet: see its log on this node",
                path.display()
            ),
        )
    })?;
    Subnet::parse(&text)
        .map_err(|what| Error::new(code::TRY_AGAIN_LATER, format!("subnet file {}: {what}", path.display())))
}

/// The delegate's configuration: what the user gave, and the rest from the lease.
fn delegate_conf(call: &Call<'_>, conf: &Conf, subnet: &Subnet) -> Result<PluginConf, Error> {
    let mut delegate = with_ipam(call, conf, conf.delegate.clone())?.raw().clone();
    let mut absent = |key: &str, value: Value| {
        if gojson::lookup(&delegate, key).is_none() {
            delegate.insert(key.to_owned(), value);
        }
    };
    absent("ipMasq", json!(!subnet.ip_masq));
    absent("mtu", json!(subnet.mtu));
    if gojson::lookup(&delegate, "type").and_then(Value::as_str) == Some("bridge")
        && gojson::lookup(&delegate, "isGateway").is_none()
    {
        delegate.insert("isGateway".to_owned(), json!(true));
    }
    if let Some(runtime) = &conf.runtime_config {
        delegate.insert("runtimeConfig".to_owned(), runtime.clone());
    }
    if let Some(Value::Object(ipam)) = delegate.get_mut("ipam") {
        let ranges: Vec<_> = subnet.subnets.iter().map(|subnet| json!([{ "subnet": subnet.trunc() }])).collect();
        ipam.insert("ranges".to_owned(), Value::Array(ranges));
        let mut routes = gojson::lookup(ipam, "routes").and_then(Value::as_array).cloned().unwrap_or_default();
        routes.extend(subnet.networks.iter().map(|network| json!({ "dst": network })));
        ipam.insert("routes".to_owned(), Value::Array(routes));
    }
    PluginConf::from_value(Value::Object(delegate))
}

/// The parts of the delegate's configuration that do not depend on the lease.
fn with_ipam(call: &Call<'_>, conf: &Conf, mut delegate: Map<String, Value>) -> Result<PluginConf, Error> {
    for key in ["name", "ipam"] {
        if gojson::lookup(&delegate, key).is_some() {
            return Err(Error::new(
                code::INVALID_CONFIG,
                format!(
                    "network {:?}: 'delegate' dictionary must not have '{key}' field, it'll be set by flannel",
                    call.network()
                ),
            ));
        }
    }
    match gojson::lookup(&delegate, "type") {
        None => {
            delegate.insert("type".to_owned(), json!("bridge"));
        }
        Some(Value::String(_)) => {}
        Some(_) => {
            return Err(Error::new(
                code::INVALID_CONFIG,
                "'delegate' dictionary, if present, must have (string) 'type' field".to_owned(),
            ));
        }
    }
    let mut ipam = conf.ipam.clone();
    if gojson::lookup(&ipam, "type").is_none() {
        ipam.insert("type".to_owned(), json!("host-local"));
    }
    delegate.insert("name".to_owned(), json!(call.network()));
    delegate.insert("cniVersion".to_owned(), json!(call.conf.cni_version().to_string()));
    delegate.insert("ipam".to_owned(), Value::Object(ipam));
    PluginConf::from_value(Value::Object(delegate))
}
