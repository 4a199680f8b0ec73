//! A made-up node for tests of delegates: what planning may see, set by hand. No root, no kernel.

use crate::{Call, DefaultRoute, Plan, World};
use cni::args::Args;
use cni::{CniResult, Error, PluginConf};
use ipnet::IpNet;
use net::snapshot::LinkFacts;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The made-up node.
#[derive(Default)]
pub(crate) struct MadeUp {
    pub(crate) links: BTreeMap<String, (LinkFacts, Vec<IpNet>)>,
    pub(crate) files: BTreeMap<PathBuf, String>,
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) executed: Vec<String>,
    pub(crate) answers: BTreeMap<String, CniResult>,
    pub(crate) locked: Vec<PathBuf>,
    drawn: u64,
}

impl World for MadeUp {
    fn link(&mut self, name: &str) -> Result<Option<LinkFacts>, Error> {
        Ok(self.links.get(name).map(|(link, _)| link.clone()))
    }

    fn addresses(&mut self, index: u32) -> Result<Vec<IpNet>, Error> {
        Ok(self
            .links
            .values()
            .find(|(link, _)| link.index == index)
            .map(|(_, addresses)| addresses.clone())
            .unwrap_or_default())
    }

    fn sysctl(&mut self, key: &str) -> Option<String> {
        self.sysctls.get(key).cloned()
    }

    fn read(&mut self, path: &Path) -> Result<Option<String>, Error> {
        Ok(self.files.get(path).cloned())
    }

    fn exists(&mut self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn list(&mut self, directory: &Path) -> Result<Vec<String>, Error> {
        let inside = self.files.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn lock(&mut self, directory: &Path) -> Result<(), Error> {
        self.locked.push(directory.to_owned());
        Ok(())
    }

    fn random(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn << 8
    }

    fn executes(&self, kind: &str) -> bool {
        self.executed.iter().any(|executed| executed == kind)
    }

    fn execute(&mut self, _call: &Call<'_>, kind: &str, _plan: &mut Plan) -> Result<CniResult, Error> {
        self.answers.get(kind).cloned().ok_or_else(|| Error::not_available(format!("no plugin {kind}")))
    }

    fn execute_del(&mut self, _call: &Call<'_>, _kind: &str, _plan: &mut Plan) -> Result<(), Error> {
        Ok(())
    }

    fn execute_status(&mut self, _call: &Call<'_>, _kind: &str) -> Result<(), Error> {
        Ok(())
    }
}

/// A call's inputs, owned.
pub(crate) struct Inputs {
    pub(crate) conf: PluginConf,
    pub(crate) ifname: String,
    pub(crate) args: Args,
    pub(crate) default_route: DefaultRoute,
    pub(crate) previous: Option<CniResult>,
}

impl Inputs {
    pub(crate) fn new(conf: Value) -> Self {
        Self {
            conf: PluginConf::from_value(conf).unwrap(),
            ifname: "eth0".into(),
            args: Args::parse("").unwrap(),
            default_route: DefaultRoute::Keep,
            previous: None,
        }
    }

    pub(crate) fn call(&self) -> Call<'_> {
        Call {
            conf: &self.conf,
            container: "c0ffee",
            netns: Some(Path::new("/run/netns/c0ffee")),
            ifname: &self.ifname,
            args: &self.args,
            previous: self.previous.as_ref(),
            default_route: &self.default_route,
        }
    }

    /// Plans the ADD; the plan as lines.
    pub(crate) fn add(&self, world: &mut MadeUp) -> Result<(CniResult, Vec<String>, Plan), Error> {
        let mut plan = Plan::new();
        let result = crate::add(&self.call(), world, &mut plan)?;
        let lines = plan.records.iter().chain(&plan.steps).map(|step| step.op.to_string()).collect();
        Ok((result, lines, plan))
    }
}
