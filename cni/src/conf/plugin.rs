//! The configuration of one plugin (spec section 1, "Plugin configuration objects").

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::result::CniResult;
use crate::version::Version;
use crate::{gojson, names};

/// A plugin's configuration object, with the keys that every plugin has already checked.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginConf {
    raw: Map<String, Value>,
    version: Version,
}

/// An attachment that is still in use, as GC names it (spec section 2, "GC").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub struct Attachment {
    /// ID of the container.
    #[serde(rename = "containerID", default)]
    pub container_id: String,
    /// Name of the interface in it.
    #[serde(default)]
    pub ifname: String,
}

/// The keys this crate depends on, read only to be checked.
#[derive(Deserialize)]
struct Checked<'a> {
    #[serde(rename = "cniVersion", default)]
    cni_version: &'a str,
    #[serde(rename = "type", default)]
    kind: &'a str,
    #[serde(default)]
    #[allow(dead_code, reason = "reading it is the check")]
    name: &'a str,
    #[serde(default)]
    #[allow(dead_code, reason = "reading it is the check")]
    capabilities: std::collections::BTreeMap<String, bool>,
    #[serde(rename = "runtimeConfig")]
    #[allow(dead_code, reason = "reading it is the check")]
    runtime_config: Option<Map<String, Value>>,
}

impl PluginConf {
    /// Takes over a configuration object.
    ///
    /// # Errors
    /// Code 6 when a common key has the wrong type, 7 for a bad `type`, 1 for a `cniVersion` that is none or
    /// that is not spoken here.
    pub fn from_value(value: Value) -> Result<Self, Error> {
        let Value::Object(raw) = value else {
            return Err(Error::decode("a plugin configuration must be a JSON object"));
        };
        Self::from_object(raw)
    }

    /// The same for an object at hand.
    ///
    /// # Errors
    /// As [`PluginConf::from_value`].
    pub fn from_object(raw: Map<String, Value>) -> Result<Self, Error> {
        let version = Version::parse(check(&raw)?)?.supported()?;
        Ok(Self { raw, version })
    }

    /// Takes over a member of a list, whose version goes before the member's own.
    pub(super) fn from_listed(raw: Map<String, Value>, version: Version) -> Result<Self, Error> {
        check(&raw)?;
        Ok(Self { raw, version })
    }

    /// Reads what a plugin was given on standard input, where the name is mandatory.
    ///
    /// # Errors
    /// Code 6 for empty input or anything but a JSON object, 7 without a name, else as [`PluginConf::from_value`].
    pub fn from_stdin(text: &[u8]) -> Result<Self, Error> {
        if text.trim_ascii().is_empty() {
            return Err(Error::decode("no network configuration on standard input"));
        }
        let value: Value = serde_json::from_slice(text)
            .map_err(|cause| Error::decode(format!("the network configuration is no JSON: {cause}")))?;
        let conf = Self::from_value(value)?;
        names::network(conf.name())?;
        Ok(conf)
    }

    /// The whole object.
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }

    /// The text to hand to the plugin on standard input.
    pub fn to_text(&self) -> String {
        Value::Object(self.raw.clone()).to_string()
    }

    /// `type`: the name of the plugin's executable.
    pub fn kind(&self) -> &str {
        self.text("type")
    }

    /// `name` of the network; empty while none was given.
    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// The version to work in: the list's, else `cniVersion`, else 0.1.0.
    pub fn cni_version(&self) -> Version {
        self.version
    }

    /// Names of the capabilities declared true. They keep their case (they are keys of a map).
    pub fn capabilities(&self) -> impl Iterator<Item = &str> {
        let declared = self.object("capabilities").into_iter().flatten();
        declared.filter(|(_, declared)| declared.as_bool() == Some(true)).map(|(name, _)| name.as_str())
    }

    /// Whether this capability is declared true.
    pub fn declares(&self, capability: &str) -> bool {
        self.capabilities().any(|declared| declared == capability)
    }

    /// `runtimeConfig`: the capability arguments as the runtime injected them.
    pub fn runtime_config(&self) -> Option<&Map<String, Value>> {
        self.object("runtimeConfig")
    }

    /// The value of any key, in any case; `null` is absent.
    pub fn get(&self, key: &str) -> Option<&Value> {
        gojson::lookup(&self.raw, key)
    }

    /// Reads the plugin's own type out of the object.
    ///
    /// # Errors
    /// Code 7, with the path of the key.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        gojson::from_object(&self.raw)
            .map_err(|error| Error::config(error.msg).context(format!("plugin {:?}", self.kind())))
    }

    /// `prevResult`: what the plugin before this one answered.
    ///
    /// # Errors
    /// As [`CniResult::from_json`].
    pub fn prev_result(&self) -> Result<Option<CniResult>, Error> {
        let Some(document) = self.get("prevResult") else { return Ok(None) };
        CniResult::from_json(document, self.version).map(Some).map_err(|error| error.context("prevResult"))
    }

    /// `cni.dev/valid-attachments` of a GC. `None` when the key is missing, which is not the same as an empty list:
    /// the empty list says that nothing is in use.
    ///
    /// # Errors
    /// Code 6, with the path of the key.
    pub fn valid_attachments(&self) -> Result<Option<Vec<Attachment>>, Error> {
        const KEY: &str = "cni.dev/valid-attachments";
        let Some(list) = self.get(KEY) else { return Ok(None) };
        gojson::from_ref(list).map(Some).map_err(|error: Error| error.context(KEY))
    }

    /// The same configuration with the network's name, as every plugin of a list gets it.
    ///
    /// # Errors
    /// Code 7 for a bad name.
    pub fn with_name(mut self, name: &str) -> Result<Self, Error> {
        names::network(name)?;
        self.set("name", name.into());
        Ok(self)
    }

    /// The same configuration in the list's version.
    ///
    /// # Errors
    /// Code 1 for a version not spoken here.
    pub fn with_version(mut self, version: Version) -> Result<Self, Error> {
        self.version = version.supported()?;
        self.set("cniVersion", version.to_string().into());
        Ok(self)
    }

    /// The same configuration with those of the runtime's capability arguments that the plugin declares. When it
    /// declares none of them nothing changes, not even a `runtimeConfig` that somebody wrote into the configuration.
    #[must_use]
    pub fn with_runtime_config(mut self, arguments: &Map<String, Value>) -> Self {
        let wanted = self.capabilities().filter_map(|name| Some((name.to_owned(), arguments.get(name)?.clone())));
        let wanted: Map<String, Value> = wanted.collect();
        if !wanted.is_empty() {
            self.set("runtimeConfig", wanted.into());
        }
        self
    }

    /// The same configuration with the result of the plugin before it, written in this configuration's version; so set
    /// the version first.
    ///
    /// # Errors
    /// As [`CniResult::to_json`].
    pub fn with_prev_result(mut self, result: &CniResult) -> Result<Self, Error> {
        let document = result.to_json(self.version).map_err(|error| error.context("prevResult"))?;
        self.set("prevResult", document);
        Ok(self)
    }

    /// The same configuration with `arguments` merged over its `args.cni` (the `cni-args` of a network selection).
    ///
    /// # Errors
    /// Code 7 when `args` or `args.cni` is there and is not an object.
    pub fn with_args(mut self, arguments: &Map<String, Value>) -> Result<Self, Error> {
        if arguments.is_empty() {
            return Ok(self);
        }
        let mut args = owned_object(self.get("args"), "args")?;
        let mut cni = owned_object(gojson::lookup(&args, "cni"), "args.cni")?;
        cni.extend(arguments.iter().map(|(key, value)| (key.clone(), value.clone())));
        gojson::remove(&mut args, "cni");
        args.insert("cni".into(), cni.into());
        self.set("args", args.into());
        Ok(self)
    }

    /// The same configuration with any key set, for what a delegating plugin derives (`deviceID`, `ipam`, …).
    ///
    /// # Errors
    /// As [`PluginConf::from_value`], when it is one of the common keys.
    pub fn with(mut self, key: &str, value: Value) -> Result<Self, Error> {
        self.set(key, value);
        let written = check(&self.raw)?;
        if key.eq_ignore_ascii_case("cniVersion") {
            self.version = Version::parse(written)?.supported()?;
        }
        Ok(self)
    }

    /// Another spelling of the key must go: a reader that ignores case might prefer it.
    fn set(&mut self, key: &str, value: Value) {
        let spellings = self.raw.keys().filter(|other| other.eq_ignore_ascii_case(key)).count();
        if spellings > 1 || !self.raw.contains_key(key) {
            gojson::remove(&mut self.raw, key);
        }
        self.raw.insert(key.to_owned(), value);
    }

    fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn object(&self, key: &str) -> Option<&Map<String, Value>> {
        self.get(key).and_then(Value::as_object)
    }
}

/// Checks the keys every plugin has and returns `cniVersion` as written.
fn check(raw: &Map<String, Value>) -> Result<&str, Error> {
    let checked: Checked<'_> = gojson::from_object(raw)?;
    names::plugin_type(checked.kind)?;
    Ok(checked.cni_version)
}

fn owned_object(value: Option<&Value>, key: &str) -> Result<Map<String, Value>, Error> {
    match value {
        None => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => Err(Error::config(format!("{key}: not an object, so that no arguments can be merged into it"))),
    }
}

impl Serialize for PluginConf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PluginConf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_object(Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
