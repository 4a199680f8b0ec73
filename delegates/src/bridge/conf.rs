//! bridge's configuration: the reference plugin's keys, and what is refused of them.

use crate::Call;
use cni::error::code;
use cni::{Dns, Error};
use net::Mac;
use serde::Deserialize;

/// What a conf of type `bridge` may say.
#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Conf {
    pub(super) bridge: String,
    pub(super) is_gateway: bool,
    pub(super) is_default_gateway: bool,
    pub(super) force_address: bool,
    pub(super) ip_masq: bool,
    pub(super) mtu: u32,
    pub(super) hairpin_mode: bool,
    pub(super) promisc_mode: bool,
    vlan: u16,
    vlan_trunk: Vec<serde_json::Value>,
    macspoofchk: bool,
    disable_container_interface: bool,
    pub(super) port_isolation: bool,
    mac: String,
    pub(super) dns: DnsConf,
    runtime_config: Runtime,
    args: Arguments,
}

impl Default for Conf {
    fn default() -> Self {
        Self {
            bridge: "cni0".to_owned(),
            is_gateway: false,
            is_default_gateway: false,
            force_address: false,
            ip_masq: false,
            mtu: 0,
            hairpin_mode: false,
            promisc_mode: false,
            vlan: 0,
            vlan_trunk: Vec::new(),
            macspoofchk: false,
            disable_container_interface: false,
            port_isolation: false,
            mac: String::new(),
            dns: DnsConf::default(),
            runtime_config: Runtime::default(),
            args: Arguments::default(),
        }
    }
}

/// `dns` of the conf.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DnsConf {
    nameservers: Vec<String>,
    domain: String,
    search: Vec<String>,
    options: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Runtime {
    mac: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Arguments {
    cni: Runtime,
}

/// Reads the conf; refuses what cannot be done here, by key.
pub(super) fn load(call: &Call<'_>) -> Result<Conf, Error> {
    let mut conf: Conf = call.conf.decode()?;
    conf.is_gateway |= conf.is_default_gateway;
    let unsupported = [
        ("vlan", conf.vlan != 0),
        ("vlanTrunk", !conf.vlan_trunk.is_empty()),
        ("macspoofchk", conf.macspoofchk),
        ("disableContainerInterface", conf.disable_container_interface),
    ];
    if let Some((key, _)) = unsupported.iter().find(|(_, given)| *given) {
        return Err(Error::new(
            code::UNSUPPORTED_FIELD,
            format!(
                "network {:?}: the bundled bridge does not support {key:?}; list \"bridge\" under `executedDelegates` to run the plugin of that name from binDir instead",
                call.network()
            ),
        ));
    }
    if conf.hairpin_mode && conf.promisc_mode {
        return Err(Error::new(code::INVALID_CONFIG, "bridge: hairpinMode and promiscMode exclude each other"));
    }
    cni::names::interface(&conf.bridge).map_err(|error| error.context("bridge name"))?;
    Ok(conf)
}

/// The MAC asked for: by capability, by `args.cni`, by `CNI_ARGS`, by the conf, in this order.
pub(super) fn requested_mac(call: &Call<'_>, conf: &Conf) -> Result<Option<Mac>, Error> {
    let from_args = call.args.get("MAC").unwrap_or_default();
    let texts = [conf.runtime_config.mac.as_str(), conf.args.cni.mac.as_str(), from_args, conf.mac.as_str()];
    match texts.into_iter().find(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|error| Error::new(code::INVALID_CONFIG, format!("requested MAC address {text:?}: {error}"))),
    }
}

impl DnsConf {
    /// Whether nothing was given: then IPAM's counts.
    pub(super) fn is_empty(&self) -> bool {
        self.nameservers.is_empty() && self.domain.is_empty() && self.search.is_empty() && self.options.is_empty()
    }
}

impl From<DnsConf> for Dns {
    fn from(conf: DnsConf) -> Self {
        let DnsConf { nameservers, domain, search, options } = conf;
        Self { nameservers, domain, search, options }
    }
}
