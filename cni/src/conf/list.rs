//! A network: an ordered list of plugins (spec section 1, "Configuration format" and "Version
//! considerations").

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::PluginConf;
use crate::error::Error;
use crate::result::CniResult;
use crate::version::Version;
use crate::{gojson, names};

/// A network configuration. A single plugin's configuration is a list of one.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkList {
    /// Name of the network.
    pub name: String,
    /// The version to work in: the highest one of `cniVersion` and `cniVersions` that is spoken here.
    pub cni_version: Version,
    /// `cniVersions` as written, unknown ones included.
    pub cni_versions: Vec<Version>,
    /// Answer CHECK with success, without asking the plugins.
    pub disable_check: bool,
    /// Do not hand GC to the plugins.
    pub disable_gc: bool,
    /// Do not append the configurations found in the directory named after the network.
    pub load_only_inlined_plugins: bool,
    /// The plugins in the order of ADD.
    pub plugins: Vec<PluginConf>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    name: String,
    #[serde(rename = "cniVersion", default)]
    cni_version: String,
    #[serde(rename = "cniVersions", default)]
    cni_versions: Vec<String>,
    #[serde(rename = "disableCheck", default, deserialize_with = "flag")]
    disable_check: bool,
    #[serde(rename = "disableGC", default, deserialize_with = "flag")]
    disable_gc: bool,
    #[serde(rename = "loadOnlyInlinedPlugins", default, deserialize_with = "flag")]
    load_only_inlined_plugins: bool,
    plugins: Option<Vec<Map<String, Value>>>,
}

impl NetworkList {
    /// Reads a list or a single plugin's configuration. `default_name` stands in for a `name` that is missing or empty,
    /// as the name of a NetworkAttachmentDefinition does.
    ///
    /// # Errors
    /// Code 6 for keys of the wrong type, 7 for a missing or bad name, no plugins or a bad `type`, 1 when none of the
    /// versions is spoken here.
    pub fn from_value(value: Value, default_name: Option<&str>) -> Result<Self, Error> {
        let list = Self::from_value_or_directory(value, default_name)?;
        if list.plugins.is_empty() {
            return Err(Error::config(format!("network {:?} has neither a 'type' nor 'plugins'", list.name)));
        }
        Ok(list)
    }

    /// The same from text.
    ///
    /// # Errors
    /// As [`NetworkList::from_value`]; code 6 for text that is not JSON.
    pub fn from_slice(text: &[u8], default_name: Option<&str>) -> Result<Self, Error> {
        Self::from_value(parse(text)?, default_name)
    }

    /// As [`NetworkList::from_value`], but there may be no plugins: they can come from a directory.
    pub(super) fn from_value_or_directory(value: Value, default_name: Option<&str>) -> Result<Self, Error> {
        let Value::Object(object) = value else {
            return Err(Error::decode("a network configuration must be a JSON object"));
        };
        if gojson::lookup(&object, "plugins").is_none() && gojson::lookup(&object, "type").is_some() {
            Self::from_single(object, default_name)
        } else {
            Self::from_list(&object, default_name)
        }
    }

    fn from_single(object: Map<String, Value>, default_name: Option<&str>) -> Result<Self, Error> {
        let conf = PluginConf::from_object(object)?;
        Ok(Self {
            name: required_name(conf.name(), default_name)?,
            cni_version: conf.cni_version(),
            cni_versions: Vec::new(),
            disable_check: false,
            disable_gc: false,
            load_only_inlined_plugins: true,
            plugins: vec![conf],
        })
    }

    fn from_list(object: &Map<String, Value>, default_name: Option<&str>) -> Result<Self, Error> {
        let document: Document = gojson::from_object(object)?;
        let name = required_name(&document.name, default_name)?;
        let named = |error: Error| error.context(format!("network {name:?}"));
        let cni_versions: Result<Vec<_>, _> = document.cni_versions.iter().map(|text| Version::parse(text)).collect();
        let cni_versions = cni_versions.map_err(named)?;
        let cni_version = select_version(&document.cni_version, &cni_versions).map_err(named)?;
        let inlined = document.plugins.as_ref().map(Vec::len);
        if inlined == Some(0) || inlined.is_none() && document.load_only_inlined_plugins {
            return Err(named(Error::config("no plugins in the list")));
        }
        let mut plugins = Vec::with_capacity(inlined.unwrap_or_default());
        for (place, plugin) in document.plugins.into_iter().flatten().enumerate() {
            let conf = PluginConf::from_listed(plugin, cni_version);
            plugins.push(conf.map_err(|error| named(error.context(format!("plugins[{place}]"))))?);
        }
        Ok(Self {
            name,
            cni_version,
            cni_versions,
            disable_check: document.disable_check,
            disable_gc: document.disable_gc,
            load_only_inlined_plugins: document.load_only_inlined_plugins,
            plugins,
        })
    }

    /// Whether any plugin of the list declares this capability.
    pub fn declares(&self, capability: &str) -> bool {
        self.plugins.iter().any(|plugin| plugin.declares(capability))
    }

    /// The configuration to execute one of the list's plugins with: the network's name and version, what the plugin
    /// before it answered, and the capability arguments it declares.
    ///
    /// # Errors
    /// As [`CniResult::to_json`].
    pub fn conf_for(
        &self,
        plugin: &PluginConf,
        previous: Option<&CniResult>,
        capability_arguments: &Map<String, Value>,
    ) -> Result<PluginConf, Error> {
        let conf = plugin.clone().with_name(&self.name)?.with_version(self.cni_version)?;
        let conf = conf.with_runtime_config(capability_arguments);
        match previous {
            Some(result) => conf.with_prev_result(result),
            None => Ok(conf),
        }
    }

    /// The list as a `.conflist` document, which reads back to the same list.
    pub fn to_json(&self) -> Value {
        let mut document = Map::new();
        document.insert("cniVersion".into(), self.cni_version.to_string().into());
        if !self.cni_versions.is_empty() {
            let versions: Vec<Value> = self.cni_versions.iter().map(|version| version.to_string().into()).collect();
            document.insert("cniVersions".into(), versions.into());
        }
        document.insert("name".into(), self.name.as_str().into());
        for (key, flag) in [
            ("disableCheck", self.disable_check),
            ("disableGC", self.disable_gc),
            ("loadOnlyInlinedPlugins", self.load_only_inlined_plugins),
        ] {
            if flag {
                document.insert(key.into(), flag.into());
            }
        }
        let plugins: Vec<Value> = self.plugins.iter().map(|plugin| plugin.raw().clone().into()).collect();
        document.insert("plugins".into(), plugins.into());
        document.into()
    }
}

/// JSON of a configuration file or of a NetworkAttachmentDefinition.
pub(super) fn parse(text: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(text)
        .map_err(|cause| Error::decode(format!("the network configuration is no JSON: {cause}")))
}

fn required_name(name: &str, default_name: Option<&str>) -> Result<String, Error> {
    let name = if name.is_empty() { default_name.unwrap_or_default() } else { name };
    names::network(name)?;
    Ok(name.to_owned())
}

/// The highest version spoken here; what we do not know is passed over as long as something else is offered.
fn select_version(cni_version: &str, cni_versions: &[Version]) -> Result<Version, Error> {
    let single = Version::parse(cni_version)?;
    let offered = cni_versions.iter().copied();
    let offered = offered.chain((!cni_version.is_empty() || cni_versions.is_empty()).then_some(single));
    match offered.filter(|version| version.is_supported()).max() {
        Some(version) => Ok(version),
        None => cni_versions.iter().copied().max().unwrap_or(single).supported(),
    }
}

/// A boolean, or the text of one in any case.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(D::Error::custom("neither a boolean nor \"true\" or \"false\"")),
    }
}

impl Serialize for NetworkList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NetworkList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?, None).map_err(D::Error::custom)
    }
}
