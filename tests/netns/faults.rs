//! Every operation made to fail, one at a time: a failed ADD leaves the node as it was, a failed DEL is finished by the next one.
//!
//! The plugin is called as a library here, with an executor that fails where the test wants, on a thread that has namespaces of
//! its own.

use crate::stage::{article, bridge, with};
use cni::{Command, Error, Request};
use net::apply::{Applied, Context, Executor, FailAt, Failed, Kernel, UndoError};
use net::netlink::{Protocol, Socket};
use net::ns::Namespace;
use net::op::{PlacedOp, Step};
use net::snapshot::Snapshot;
use nix::libc::{EEXIST, ENOSPC, EPERM};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use plexus::invocation::{Invocation, MakeExecutor};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

/// A network namespace with the directories of a node, for as long as the thread lives.
fn on_a_node(task: impl FnOnce() + Send + 'static) {
    let node = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        for path in ["/run", "/var/lib"] {
            mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("mode=0755")).unwrap();
        }
        for directory in ["/run/netns", "/run/flannel", "/run/manifests"] {
            fs::create_dir_all(directory).unwrap();
        }
        for (file, network, subnet) in
            [("subnet.env", "10.42.0.0/16", "10.42.15.1/24"), ("flannel2.env", "10.5.0.0/16", "10.5.22.1/24")]
        {
            let text =
                format!("FLANNEL_NETWORK={network}\nFLANNEL_SUBNET={subnet}\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n");
            fs::write(Path::new("/run/flannel").join(file), text).unwrap();
        }
        for file in ["nad-flannel.2.yaml", "overlay2pod.yaml"] {
            fs::write(Path::new("/run/manifests").join(file), article(file)).unwrap();
        }
        task();
    });
    if let Err(panic) = node.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A sandbox of the node.
struct Sandbox {
    container: &'static str,
    netns: PathBuf,
}

impl Sandbox {
    fn new(container: &'static str) -> Self {
        let netns = Path::new("/run/netns").join(container);
        fs::write(&netns, "").unwrap();
        let bind = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            mount(Some("/proc/thread-self/ns/net"), &netns, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        };
        thread::scope(|scope| scope.spawn(bind).join().unwrap());
        Self { container, netns }
    }

    /// One call; without an executor of its own it is the kernel's.
    fn call(&self, command: &str, conf: &Value, executor: Option<MakeExecutor>) -> Result<Option<Value>, Error> {
        let environment = BTreeMap::from([
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", self.container),
            ("CNI_NETNS", self.netns.to_str().unwrap()),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=overlay2pod"),
            ("CNI_PATH", "/opt/cni/bin"),
        ]);
        let request = Request::from_lookup(|name| environment.get(name).map(Into::into)).unwrap().unwrap();
        assert_ne!(request.command, Command::Version);
        let mut invocation = Invocation::read("plexus", conf.to_string().as_bytes()).unwrap();
        if let Some(executor) = executor {
            invocation.executor = executor;
        }
        plexus::handle::handle(&request, &invocation)
    }

    #[track_caller]
    fn done(&self, command: &str, conf: &Value) {
        self.call(command, conf, None).unwrap();
    }

    /// Everything a call could change.
    fn state(&self) -> State {
        let inside = Namespace::open(&self.netns).unwrap();
        let mut files = BTreeMap::new();
        collect(Path::new("/var/lib/cni"), &mut files);
        let ruleset = std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap();
        assert!(ruleset.status.success(), "{ruleset:?}");
        State {
            node: Snapshot::take(&mut Socket::open(Protocol::Route).unwrap()).unwrap(),
            pod: Snapshot::take(&mut Socket::open_in(Protocol::Route, &inside).unwrap()).unwrap(),
            ruleset: String::from_utf8(ruleset.stdout).unwrap(),
            files,
        }
    }
}

#[derive(Debug, PartialEq)]
struct State {
    node: Snapshot,
    pod: Snapshot,
    ruleset: String,
    files: BTreeMap<PathBuf, String>,
}

impl State {
    #[track_caller]
    fn is(&self, before: &Self, when: &str) {
        let changes = format!("{}{}", self.node.since(&before.node), self.pod.since(&before.pod));
        assert!(changes.is_empty(), "{when}:\n{changes}");
        assert_eq!(self.ruleset, before.ruleset, "{when}");
        assert_eq!(self.files, before.files, "{when}");
    }
}

/// Files with their contents, except those that locks and cursors are kept in.
fn collect(directory: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, files);
        } else if name != "lock" && !name.starts_with("last_reserved_ip.") {
            let contents = fs::read_to_string(&path).unwrap();
            files.insert(path, contents);
        }
    }
}

/// The article's pod.
fn article_conf(_port: u16) -> Value {
    let mut conf: Value = serde_json::from_str(&article("plexus.conf")).unwrap();
    conf.as_object_mut().unwrap().remove("kubeconfig").unwrap();
    with(conf, json!({"manifestDir": "/run/manifests"}))
}

/// A masquerading bridge with two ports of the node.
fn ports_conf(port: u16) -> Value {
    let bridge = with(bridge("1.0.0", ""), json!({"isDefaultGateway": true, "ipMasq": true, "hairpinMode": true}));
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    json!({
        "cniVersion": "1.0.0", "name": "plexus", "type": "plexus", "capabilities": {"portMappings": true},
        "delegates": [{"cniVersion": "1.0.0", "name": "web", "plugins": [bridge, portmap]}],
        "runtimeConfig": {"portMappings": [
            {"hostPort": port, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": port, "containerPort": 80, "protocol": "udp"},
        ]},
    })
}

/// A kernel that leaves out one operation of an undo and says that it failed.
struct UndoFailsAt {
    kernel: Kernel,
    n: usize,
}

impl Executor for UndoFailsAt {
    fn apply(&mut self, steps: &[Step]) -> Result<Applied, Box<Failed>> {
        self.kernel.apply(steps)
    }

    fn undo(&mut self, ops: &[PlacedOp]) -> Vec<UndoError> {
        let Some(left_out) = ops.get(self.n) else { return self.kernel.undo(ops) };
        let others: Vec<_> = ops.iter().enumerate().filter(|(position, _)| *position != self.n).collect();
        let others: Vec<PlacedOp> = others.into_iter().map(|(_, op)| op.clone()).collect();
        let mut errors = self.kernel.undo(&others);
        errors.push(UndoError {
            position: self.n,
            op: left_out.op.to_string(),
            errno: Some(EPERM),
            cause: "on purpose".into(),
            exec: None,
        });
        errors
    }
}

/// On a node that has a pod already, and with it what pods share.
fn with_a_first_pod(conf: fn(u16) -> Value) -> (Sandbox, State) {
    Sandbox::new("first").done("ADD", &conf(8080));
    let second = Sandbox::new("second");
    let before = second.state();
    (second, before)
}

fn each_failing_operation_of_an_add_is_taken_back(conf: fn(u16) -> Value, at_least: usize) {
    on_a_node(move || {
        let (pod, before) = with_a_first_pod(conf);
        for errno in [ENOSPC, EPERM, EEXIST] {
            for n in 0.. {
                let executor: MakeExecutor =
                    Box::new(move |context: Context| Box::new(FailAt::new(Kernel::new(context), n, errno)));
                match pod.call("ADD", &conf(9090), Some(executor)) {
                    Ok(_) => {
                        assert!(n >= at_least, "only {n} operations were tried");
                        break;
                    }
                    Err(error) => {
                        assert!(error.msg.contains("on purpose") && error.details.is_empty(), "{n}: {error:?}");
                        pod.state().is(&before, &error.msg);
                    }
                }
            }
            pod.done("CHECK", &with(conf(9090), json!({"cniVersion": "1.0.0"})));
            pod.done("DEL", &conf(9090));
            pod.state().is(&before, "DEL");
        }
    });
}

fn each_failing_operation_of_a_del_is_repeated_by_the_next(conf: fn(u16) -> Value, at_least: usize) {
    on_a_node(move || {
        let (pod, before) = with_a_first_pod(conf);
        for n in 0.. {
            pod.done("ADD", &conf(9090));
            let executor: MakeExecutor =
                Box::new(move |context: Context| Box::new(UndoFailsAt { kernel: Kernel::new(context), n }));
            match pod.call("DEL", &conf(9090), Some(executor)) {
                Ok(_) => {
                    assert!(n >= at_least, "only {n} operations were tried");
                    pod.state().is(&before, "DEL");
                    break;
                }
                Err(error) => {
                    assert!(error.msg.contains("on purpose"), "{n}: {error:?}");
                    assert_eq!(
                        fs::read_dir("/var/lib/cni/plexus/journal").unwrap().count(),
                        2,
                        "{n}: the entry is kept"
                    );
                    pod.done("DEL", &conf(9090));
                    pod.state().is(&before, &error.msg);
                }
            }
        }
    });
}

#[test]
fn each_failing_operation_of_the_articles_add_is_taken_back() {
    each_failing_operation_of_an_add_is_taken_back(article_conf, 14);
}

#[test]
fn each_failing_operation_of_an_add_with_masquerading_and_ports_is_taken_back() {
    each_failing_operation_of_an_add_is_taken_back(ports_conf, 8);
}

#[test]
fn each_failing_operation_of_the_articles_del_is_repeated_by_the_next() {
    each_failing_operation_of_a_del_is_repeated_by_the_next(article_conf, 6);
}

#[test]
fn each_failing_operation_of_a_del_with_masquerading_and_ports_is_repeated_by_the_next() {
    each_failing_operation_of_a_del_is_repeated_by_the_next(ports_conf, 4);
}
