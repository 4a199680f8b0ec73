//! A container runtime as a plugin sees it: executes the plugins of a network configuration for the pods of a node.
//!
//! What a plugin is given follows the CNI specification (section 3, "Execution Protocol"): the parameters in the environment, the
//! configuration with `cniVersion` and `name` of its list, `runtimeConfig` for the capabilities it declares and `prevResult` on its
//! standard input. Pods are named in CNI_ARGS as containerd and CRI-O name them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use crate::{Node, Pod, command};

/// A network configuration with the plugins it names, on one node.
#[derive(Debug)]
pub struct Runtime<'a> {
    node: &'a Node,
    name: String,
    version: String,
    plugins: Vec<Plugin>,
    path: Vec<PathBuf>,
}

#[derive(Debug)]
struct Plugin {
    program: PathBuf,
    conf: Map<String, Value>,
}

/// What a runtime can ask of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Attach.
    Add,
    /// Detach.
    Del,
    /// Is it still as ADD left it?
    Check,
    /// Could an ADD succeed?
    Status,
    /// Remove what belongs to no listed attachment.
    Gc,
    /// Which versions are spoken?
    Version,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Gc => "GC",
            Self::Version => "VERSION",
        })
    }
}

/// What an executed plugin left.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The plugin, for messages.
    pub plugin: String,
    /// Whether it exited with 0.
    pub success: bool,
    /// Its standard output: a result or an error object.
    pub stdout: String,
    /// Its standard error: a log.
    pub stderr: String,
    /// From before it was started until it had ended.
    pub took: Duration,
}

/// A successful ADD.
#[derive(Debug, Clone)]
pub struct Added {
    /// The last plugin's result.
    pub result: Value,
    /// How long the plugins ran.
    pub took: Duration,
}

impl Answer {
    /// The standard output as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("{} printed no JSON but {:?}", self.plugin, self.stdout))
    }

    /// Code and message (with details, if there are any) of the error object, when the plugin failed and printed one.
    #[must_use]
    pub fn error(&self) -> Option<(u64, String)> {
        let printed: Value = serde_json::from_str(&self.stdout).ok()?;
        let text = |key: &str| printed.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let code = printed.get("code")?.as_u64()?;
        let message: Vec<_> = [text("msg"), text("details")].into_iter().flatten().collect();
        (!self.success).then(|| (code, message.join(": ")))
    }

    /// The answer, unless the plugin failed.
    ///
    /// # Errors
    /// With everything the plugin wrote.
    pub fn succeeded(self) -> Result<Self> {
        if self.success {
            return Ok(self);
        }
        match self.error() {
            Some((code, message)) => bail!("{} failed with code {code}: {message}", self.plugin),
            None => bail!("{} failed: {} {}", self.plugin, self.stdout.trim(), self.stderr.trim()),
        }
    }
}

impl<'a> Runtime<'a> {
    pub(crate) fn new(node: &'a Node, conf: &Value, path: Vec<PathBuf>) -> Result<Self> {
        let text = |key: &str| conf.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let confs = match conf.get("plugins") {
            Some(list) => list.as_array().context("`plugins` of the configuration is no array")?.iter().collect(),
            None => vec![conf],
        };
        let plugins = confs.into_iter().map(|conf| plugin(node, conf, &path)).collect::<Result<_>>()?;
        Ok(Self { node, name: text("name"), version: text("cniVersion"), plugins, path })
    }

    /// Attaches `pod`: every plugin in order, each with the result of the one before. The result is kept in `pod`.
    ///
    /// # Errors
    /// With the first plugin's error; a runtime then calls DEL.
    pub fn add(&self, pod: &mut Pod) -> Result<Added> {
        let mut took = Duration::ZERO;
        let mut result = None;
        for plugin in &self.plugins {
            let answer = self.execute(plugin, Verb::Add, Some(pod), result.as_ref())?.succeeded()?;
            took += answer.took;
            result = Some(answer.json()?);
        }
        let result = result.context("the configuration names no plugin")?;
        pod.result = Some(result.clone());
        Ok(Added { result, took })
    }

    /// Detaches `pod`: every plugin, last first, each with the result of ADD. Gives the time the plugins ran.
    ///
    /// # Errors
    /// With the first error.
    pub fn del(&self, pod: &mut Pod) -> Result<Duration> {
        let took = self.each(self.plugins.iter().rev(), Verb::Del, pod)?;
        pod.result = None;
        Ok(took)
    }

    /// Asks every plugin whether `pod` is as ADD left it.
    ///
    /// # Errors
    /// With the first error.
    pub fn check(&self, pod: &Pod) -> Result<Duration> {
        self.each(self.plugins.iter(), Verb::Check, pod)
    }

    fn each<'p>(&self, plugins: impl Iterator<Item = &'p Plugin>, verb: Verb, pod: &Pod) -> Result<Duration> {
        let mut took = Duration::ZERO;
        for plugin in plugins {
            took += self.execute(plugin, verb, Some(pod), pod.result.as_ref())?.succeeded()?.took;
        }
        Ok(took)
    }

    /// Executes the first plugin once and gives what it left, whatever that is.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn call(&self, verb: Verb, pod: Option<&Pod>) -> Result<Answer> {
        let plugin = self.plugins.first().context("the configuration names no plugin")?;
        self.execute(plugin, verb, pod, pod.and_then(|pod| pod.result.as_ref()))
    }

    /// Has every plugin remove what belongs to none of `pods`.
    ///
    /// # Errors
    /// With the first error.
    pub fn collect_garbage(&self, pods: &[&Pod]) -> Result<()> {
        let valid: Vec<_> =
            pods.iter().map(|pod| json!({"containerID": pod.container, "ifname": pod.ifname})).collect();
        for plugin in &self.plugins {
            let mut conf = self.conf(plugin, None, None);
            conf.insert("cni.dev/valid-attachments".to_owned(), Value::Array(valid.clone()));
            self.start(plugin, Verb::Gc, None, &conf)?.succeeded()?;
        }
        Ok(())
    }

    fn execute(&self, plugin: &Plugin, verb: Verb, pod: Option<&Pod>, previous: Option<&Value>) -> Result<Answer> {
        self.start(plugin, verb, pod, &self.conf(plugin, pod, previous))
    }

    fn conf(&self, plugin: &Plugin, pod: Option<&Pod>, previous: Option<&Value>) -> Map<String, Value> {
        let mut conf = plugin.conf.clone();
        conf.insert("cniVersion".to_owned(), self.version.clone().into());
        conf.insert("name".to_owned(), self.name.clone().into());
        let declared =
            |name: &str| plugin.conf.get("capabilities").and_then(|all| all.get(name)) == Some(&Value::Bool(true));
        let offered: Map<_, _> = pod
            .into_iter()
            .flat_map(|pod| &pod.runtime_config)
            .filter(|(name, _)| declared(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !offered.is_empty() {
            conf.insert("runtimeConfig".to_owned(), offered.into());
        }
        if let Some(previous) = previous {
            conf.insert("prevResult".to_owned(), previous.clone());
        }
        conf
    }

    fn start(&self, plugin: &Plugin, verb: Verb, pod: Option<&Pod>, conf: &Map<String, Value>) -> Result<Answer> {
        let mut command = self.node.space().command_with(&self.parameters(verb, pod), &plugin.program);
        let input = serde_json::to_string(conf).context("write the configuration")?;
        let start = Instant::now();
        let output = command::command_output(&mut command, &input)?;
        let took = start.elapsed();
        let plugin =
            format!("{verb} of {} on {}", pod.map_or_else(|| self.name.clone(), Pod::to_string), self.node.name());
        Ok(Answer {
            plugin,
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took,
        })
    }

    /// The environment of a call, for running something else of the product for the same pod.
    #[must_use]
    pub fn parameters(&self, verb: Verb, pod: Option<&Pod>) -> Vec<(&'static str, String)> {
        let path: Vec<_> = self.path.iter().map(|directory| directory.to_string_lossy()).collect();
        let mut parameters = vec![("CNI_COMMAND", verb.to_string()), ("CNI_PATH", path.join(":"))];
        if let Some(pod) = pod {
            parameters.extend([
                ("CNI_CONTAINERID", pod.container.clone()),
                ("CNI_NETNS", pod.netns().to_string_lossy().into_owned()),
                ("CNI_IFNAME", pod.ifname.clone()),
                ("CNI_ARGS", arguments(pod)),
            ]);
        }
        parameters
    }

    /// The configuration the first plugin is given for `pod`.
    ///
    /// # Errors
    /// When the configuration names no plugin.
    pub fn stdin(&self, pod: &Pod) -> Result<String> {
        let plugin = self.plugins.first().context("the configuration names no plugin")?;
        serde_json::to_string(&self.conf(plugin, Some(pod), None)).context("write the configuration")
    }
}

fn arguments(pod: &Pod) -> String {
    format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
        pod.namespace, pod.name, pod.container, pod.uid
    )
}

fn plugin(node: &Node, conf: &Value, path: &[PathBuf]) -> Result<Plugin> {
    let conf = conf.as_object().context("a plugin's configuration is no object")?.clone();
    let kind = conf.get("type").and_then(Value::as_str).context("a plugin's configuration has no `type`")?;
    anyhow::ensure!(!kind.contains('/'), "type {kind:?} is no plugin's name");
    let program = path.iter().map(|directory| directory.join(kind)).find(|program| is_there(node, program));
    let Some(program) = program else {
        let looked: Vec<_> = path.iter().map(|directory| directory.display().to_string()).collect();
        bail!("plugin {kind:?} is in none of {}", looked.join(", "));
    };
    Ok(Plugin { program, conf })
}

fn is_there(node: &Node, program: &Path) -> bool {
    program.exists() || node.exists(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_object_is_an_error_only_when_the_plugin_failed() {
        let mut answer = Answer {
            plugin: "ADD".into(),
            success: false,
            stdout: r#"{"code": 7, "msg": "no such network"}"#.into(),
            stderr: String::new(),
            took: Duration::ZERO,
        };
        assert_eq!(answer.error(), Some((7, "no such network".to_owned())));
        answer.success = true;
        assert_eq!(answer.error(), None);
    }

    #[test]
    fn a_pod_is_named_as_container_runtimes_name_it() {
        let pod = Pod::new("default", "pod1");
        assert_eq!(
            arguments(&pod),
            format!(
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod1;K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
                pod.container, pod.uid
            )
        );
    }
}
