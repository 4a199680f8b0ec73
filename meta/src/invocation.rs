//! As what the binary was called: the meta-plugin, or one of the bundled plugins by its own name. Both run through the
//! same engine; this is where they differ.

use crate::config::Config;
use crate::journal::{Journal, Key};
use crate::log::Log;
use crate::source::{self, Source};
use cni::{CniResult, Error, NetworkList, PluginConf, Request};
use net::apply::{Context, Executor, Kernel};

/// The program a call is for, with its configuration read.
pub struct Invocation {
    /// `plexus`, or the bundled plugin's name: entries of different plugins never meet.
    pub plugin: &'static str,
    /// The configuration; for a bundled plugin all defaults but name and version.
    pub config: Config,
    /// A bundled plugin's own configuration, as the list it alone makes up.
    pub bundled: Option<NetworkList>,
    /// What the plugins before it have made, and on DEL and CHECK the final result.
    pub previous: Option<CniResult>,
    /// Where pods and NADs come from.
    pub source: Box<dyn Source>,
    /// Where messages go.
    pub log: Log,
    /// What carries operations out; tests put one here that fails where they want.
    pub executor: MakeExecutor,
    /// The object on stdin: CHECK and GC find their own keys in it.
    pub stdin: serde_json::Map<String, serde_json::Value>,
}

/// Makes an executor for a request.
pub type MakeExecutor = Box<dyn Fn(Context) -> Box<dyn Executor>>;

fn kernel() -> MakeExecutor {
    Box::new(|context| Box::new(Kernel::new(context)))
}

/// The meta-plugin's name in the journal, whatever the binary is called.
const META: &str = "plexus";

impl Invocation {
    /// Reads the configuration for the program called `name`.
    ///
    /// # Errors
    /// A configuration that cannot be read or cannot work.
    pub fn read(name: &str, stdin: &[u8]) -> Result<Self, Error> {
        let conf = PluginConf::from_stdin(stdin)?;
        match delegates::find(name) {
            Some(delegate) => Self::bundled(delegate.kind(), &conf),
            None => Self::meta(&conf, stdin),
        }
    }

    fn meta(conf: &PluginConf, stdin: &[u8]) -> Result<Self, Error> {
        let config = Config::parse(stdin)?;
        let log = Log::new(&config);
        let settings = source::Settings {
            manifest_dir: config.manifest_dir.clone(),
            kubeconfig: config.kubeconfig.clone(),
            deadline: None,
            runtime_config: config.runtime_config.clone(),
        };
        let source = source::open(settings).map_err(crate::select::source_error)?;
        Ok(Self {
            plugin: META,
            previous: conf.prev_result()?,
            config,
            bundled: None,
            source,
            log,
            executor: kernel(),
            stdin: conf.raw().clone(),
        })
    }

    fn bundled(kind: &'static str, conf: &PluginConf) -> Result<Self, Error> {
        let mut config = Config::default();
        config.name = conf.name().to_owned();
        config.cni_version = conf.cni_version().to_string();
        // its own delegates come from CNI_PATH alone
        config.bin_dir = std::path::PathBuf::new();
        let log = Log::new(&config);
        let mut own = conf.raw().clone();
        // an IPAM plugin is handed the whole configuration of its caller, whose name stands under `type`
        cni::gojson::remove(&mut own, "type");
        own.insert("type".to_owned(), kind.into());
        Ok(Self {
            plugin: kind,
            previous: conf.prev_result()?,
            config,
            bundled: Some(NetworkList::from_value(serde_json::Value::Object(own), None)?),
            source: source::none(),
            log,
            executor: kernel(),
            stdin: conf.raw().clone(),
        })
    }

    /// Takes the lock of the request's container.
    ///
    /// # Errors
    /// As [`crate::lock::container`].
    pub fn lock(&self, container: &str) -> Result<net::lock::Guard, Error> {
        crate::lock::container(&self.config, container)
    }

    /// The journal of this node.
    pub fn journal(&self) -> Journal {
        Journal::new(&self.config.cni_dir)
    }

    /// The entry a request is about.
    pub fn key(&self, request: &Request) -> Key {
        Key {
            container: request.container_id.clone(),
            ifname: request.ifname.clone(),
            network: self.config.name.clone(),
            plugin: self.plugin.to_owned(),
        }
    }

    /// Whether a DEL without a journal entry looks for what the plugin of the same name by somebody else has left.
    pub fn stateless_del(&self) -> bool {
        self.bundled.is_some()
    }
}
