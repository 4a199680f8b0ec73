//! A node with the two overlays' subnet files, a directory of manifests, and the program installed under all its names.

use lab::runtime::Verb;
use lab::{Lab, Node, Pod, Snapshot, command, inspect};
use serde_json::{Map, Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the node has the manifests of pods and networks.
pub(crate) const MANIFESTS: &str = "/etc/cni/manifests";
/// Where the distribution has the reference plugins.
pub(crate) const REFERENCE: &str = "/usr/lib/cni";
/// Bridges, which the first pod of a node makes and no pod takes away.
const BRIDGES: [&str; 5] = ["kbr0", "kbr1", "br-a", "br-b", "br-c"];

/// The bench of one test.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) node: Node,
}

/// What one execution left.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    #[allow(dead_code, reason = "shown by the message of a failed test")]
    pub(crate) stderr: String,
}

impl Answer {
    /// The result of a call that must have succeeded.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        assert!(self.success, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON document: {self:?}"))
    }

    /// Code and message of a call that must have failed.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u64, String) {
        assert!(!self.success, "{self:?}");
        let document: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no document: {self:?}"));
        (document["code"].as_u64().unwrap(), document["msg"].as_str().unwrap().to_owned())
    }

    /// A call that must have been refused with this code, for a reason that holds these words.
    #[track_caller]
    pub(crate) fn is_refused(&self, code: u64, words: &str) {
        let (got, message) = self.refusal();
        assert!(got == code && message.contains(words), "expected {code} and {words:?}: {got} {message}");
    }

    /// A call without an answer that must have succeeded.
    #[track_caller]
    pub(crate) fn is_done(&self) {
        assert!(self.success && self.stdout.is_empty(), "{self:?}");
    }
}

impl Stage {
    /// A node on an underlay.
    pub(crate) fn new(name: &str) -> Self {
        let mut lab = Lab::new(name, &lab::program::built().unwrap()).unwrap();
        for kind in ["bridge", "host-local", "flannel", "portmap", "loopback"] {
            lab.install(kind).unwrap();
        }
        let node = lab.node("node").unwrap();
        let stage = Self { lab, node };
        stage.lease("/run/flannel/subnet.env", "10.42.0.0/16", "10.42.15.1/24");
        stage.lease("/run/flannel/flannel2.env", "10.5.0.0/16", "10.5.22.1/24");
        for file in ["nad-flannel.2.yaml", "overlay1pod.yaml", "overlay2pod.yaml"] {
            stage.node.write(format!("{MANIFESTS}/{file}"), &article(file)).unwrap();
        }
        stage
    }

    /// What an overlay's agent writes when it has a lease.
    pub(crate) fn lease(&self, path: &str, network: &str, subnet: &str) {
        let text =
            format!("FLANNEL_NETWORK={network}\nFLANNEL_SUBNET={subnet}\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n");
        self.node.write(path, &text).unwrap();
    }

    /// A network of the namespace `default`; a configuration of `null` is an empty one.
    pub(crate) fn network(&self, name: &str, config: &Value) {
        self.network_in("default", name, config);
    }

    /// A network.
    pub(crate) fn network_in(&self, namespace: &str, name: &str, config: &Value) {
        let mut manifest = json!({
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": namespace},
        });
        if !config.is_null() {
            manifest["spec"] = json!({"config": config.to_string()});
        }
        self.node.write(format!("{MANIFESTS}/nad-{namespace}-{name}.json"), &manifest.to_string()).unwrap();
    }

    /// A pod of the article: `overlay2pod` is on both networks.
    pub(crate) fn pod(&self, name: &str) -> Pod {
        self.node.pod("default", name).unwrap()
    }

    /// A pod that asks for these networks.
    pub(crate) fn pod_with(&self, name: &str, networks: &str) -> Pod {
        let pod = self.pod(name);
        let annotations = json!({"k8s.v1.cni.cncf.io/networks": networks});
        let manifest = pod.manifest(annotations.as_object().unwrap()).to_string();
        self.node.write(format!("{MANIFESTS}/pod-{name}.json"), &manifest).unwrap();
        pod
    }

    /// The environment of a call.
    pub(crate) fn environment(&self, verb: Verb, pod: &Pod) -> Vec<(&'static str, String)> {
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
            pod.namespace, pod.name, pod.container, pod.uid
        );
        vec![
            ("CNI_COMMAND", verb.to_string()),
            ("CNI_CONTAINERID", pod.container.clone()),
            ("CNI_NETNS", pod.netns().to_str().unwrap().to_owned()),
            ("CNI_IFNAME", pod.ifname.clone()),
            ("CNI_ARGS", arguments),
            ("CNI_PATH", self.lab.plugins().to_str().unwrap().to_owned()),
        ]
    }

    /// Executes a program of the node with this environment and configuration.
    pub(crate) fn execute(&self, program: &Path, environment: &[(&str, String)], conf: &Value) -> Answer {
        let mut command = self.node.space().command_with(environment, program);
        let output = command::command_output(&mut command, &conf.to_string()).unwrap();
        Answer {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The program as it is installed under the configuration's `type`.
    pub(crate) fn installed(&self, conf: &Value) -> PathBuf {
        self.lab.plugins().join(conf["type"].as_str().unwrap())
    }

    /// One call for a pod.
    pub(crate) fn call(&self, verb: Verb, pod: &Pod, conf: &Value) -> Answer {
        self.execute(&self.installed(conf), &self.environment(verb, pod), conf)
    }

    /// One call with parts of the environment changed; an empty value takes the variable away.
    pub(crate) fn call_with(&self, verb: Verb, pod: &Pod, conf: &Value, changes: &[(&'static str, String)]) -> Answer {
        let mut environment = self.environment(verb, pod);
        environment.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        environment.extend(changes.iter().filter(|(_, value)| !value.is_empty()).cloned());
        self.execute(&self.installed(conf), &environment, conf)
    }

    /// An ADD that must succeed.
    #[track_caller]
    pub(crate) fn add(&self, pod: &Pod, conf: &Value) -> Value {
        self.call(Verb::Add, pod, conf).result()
    }

    /// A DEL that must succeed.
    #[track_caller]
    pub(crate) fn del(&self, pod: &Pod, conf: &Value) {
        self.call(Verb::Del, pod, conf).is_done();
    }

    /// The node as it is.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.node.snapshot().unwrap()
    }

    /// Nothing has changed at all.
    #[track_caller]
    pub(crate) fn is_as(&self, before: &Snapshot) {
        let changes = self.snapshot().changes_since(before);
        assert!(changes.is_empty(), "changed:\n{}", lab::snapshot::text(&changes));
    }

    /// Nothing of the pod is left on the node, nor in its sandbox while that exists.
    #[track_caller]
    pub(crate) fn nothing_left(&self, before: &Snapshot, pod: &Pod, addresses: &[&str]) {
        let names: Vec<_> = addresses.iter().copied().chain([pod.container.as_str()]).collect();
        let left = self.snapshot().leftovers_since(before, &BRIDGES, &names);
        assert!(left.is_empty(), "left behind:\n{}", lab::snapshot::text(&left));
        if self.node.exists(pod.netns()) {
            assert_eq!(self.interfaces(pod), [""; 0]);
        }
    }

    /// Names of the pod's interfaces in the kernel's order, without `lo`.
    pub(crate) fn interfaces(&self, pod: &Pod) -> Vec<String> {
        let links = inspect::links_in(&self.node, pod).unwrap();
        links.into_iter().map(|link| link.ifname).filter(|name| name != "lo").collect()
    }

    /// `address/length mtu` of an interface of the pod.
    pub(crate) fn interface(&self, pod: &Pod, name: &str) -> String {
        let links = inspect::links_in(&self.node, pod).unwrap();
        let link = links.iter().find(|link| link.ifname == name).unwrap_or_else(|| panic!("no interface {name}"));
        let addresses: Vec<_> = link.ipv4().iter().map(ToString::to_string).collect();
        format!("{} mtu {}", addresses.join(" "), link.mtu)
    }

    /// The pod's IPv4 routes as `ip` prints them, sorted.
    pub(crate) fn routes(&self, pod: &Pod) -> Vec<String> {
        let text = self.node.run_in(pod, ["ip", "-4", "route"]).unwrap();
        let mut routes: Vec<_> = text.lines().map(|line| line.trim().to_owned()).collect();
        routes.sort();
        routes
    }

    /// The hardware address of an interface, of the pod or of the node.
    pub(crate) fn mac(&self, pod: Option<&Pod>, name: &str) -> String {
        let words = ["ip", "-j", "link", "show", name];
        let text = pod.map_or_else(|| self.node.run(words), |pod| self.node.run_in(pod, words)).unwrap();
        let links: Value = serde_json::from_str(&text).unwrap();
        links[0]["address"].as_str().unwrap().to_owned()
    }

    /// The ruleset of the node.
    pub(crate) fn ruleset(&self) -> String {
        self.node.run(["nft", "list", "ruleset"]).unwrap()
    }

    /// Names of the files in a directory of the node, sorted.
    pub(crate) fn files(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.node.host_path(Path::new(directory))) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Installs a script as a plugin of the node, in its default plugin directory.
    pub(crate) fn script(&self, name: &str, text: &str) {
        let path = PathBuf::from("/opt/cni/bin").join(name);
        self.node.write(&path, text).unwrap();
        std::fs::set_permissions(self.node.host_path(&path), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A subcommand of the program on the node.
    pub(crate) fn program(&self, words: &[&str]) -> Command {
        let mut command = self.node.command(self.lab.program());
        command.args(words);
        command
    }

    /// The journal's entry of a pod, as `plexus show` prints it.
    pub(crate) fn shown(&self, pod: &Pod) -> Value {
        let text = command::run(&mut self.program(&["show", "--json", &format!("{}/{}", pod.namespace, pod.name)]));
        let entries: Value = serde_json::from_str(&text.unwrap()).unwrap();
        entries[0].clone()
    }
}

/// A file of the article.
pub(crate) fn article(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/article").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The article's configuration of a node, with the manifests from the directory of this stage instead of an API server.
pub(crate) fn conf() -> Value {
    let mut conf: Value = serde_json::from_str(&article("plexus.conf")).unwrap();
    conf.as_object_mut().unwrap().remove("kubeconfig").unwrap();
    with(conf, json!({"manifestDir": MANIFESTS}))
}

/// An object with more keys.
pub(crate) fn with(object: Value, more: Value) -> Value {
    let (Value::Object(object), Value::Object(more)) = (object, more) else { panic!("objects only") };
    Value::Object(object.into_iter().chain(more).collect::<Map<_, _>>())
}

/// A bridge network on 10.77.0.0/24 without a gateway of its own.
pub(crate) fn bridge(version: &str, name: &str) -> Value {
    json!({
        "cniVersion": version, "name": name, "type": "bridge", "bridge": "br-a",
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24"}]]},
    })
}

/// The same as a list, its bridge a gateway that masquerades, with a port mapper behind it.
pub(crate) fn bridge_with_ports(version: &str, name: &str) -> Value {
    let bridge = with(bridge(version, name), json!({"isGateway": true, "ipMasq": true}));
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    json!({"cniVersion": version, "name": name, "plugins": [bridge, portmap]})
}

/// Whether a reference plugin is there; says so when it is not.
pub(crate) fn has_reference(name: &str) -> bool {
    let there = Path::new(REFERENCE).join(name).exists();
    if !there {
        println!("SKIPPED: {REFERENCE}/{name} is not installed");
    }
    there
}
