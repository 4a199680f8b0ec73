//! `bench node`: one subject on a node of its own, a process in fresh network and mount namespaces that takes orders on stdin.

use crate::call::{Plugin, Verb, children_cpu};
use crate::order::{Order, Outcome, Sample};
use crate::subject::{DIRECTORY, Kind, Setup};
use anyhow::{Context, Result, anyhow, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use plexus_tests::fake_api::{Certificate, FakeApi};
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Pods a node may see in its life, each with a number and an address of its own; the subnets have 4094.
const NUMBERS: u32 = 4000;
const FILL_WORKERS: u32 = 2;
const FLOOR_TABLE: &str = "table ip floor {
set pods0 { type ipv4_addr; }
set pods1 { type ipv4_addr; }
chain post {
type nat hook postrouting priority 100;
ip saddr @pods0 ip daddr != 10.42.0.0/16 masquerade
ip saddr @pods1 ip daddr != 10.5.0.0/16 masquerade
}
}
";

struct Node {
    plugin: Plugin,
    api: Option<FakeApi>,
    filled: u32,
    next: u32,
    ready: Vec<String>,
    done: Vec<String>,
}

/// Obey until stdin ends. The first line is the [`Setup`].
pub(crate) fn serve() -> Result<()> {
    let mut lines = io::stdin().lock().lines();
    let setup = serde_json::from_str(&lines.next().context("no setup on stdin")??)?;
    let mut node = Node::new(setup)?;
    let mut stdout = io::stdout().lock();
    for line in lines {
        let order = serde_json::from_str(&line?)?;
        let outcome = node
            .obey(&order)
            .unwrap_or_else(|error| Outcome { error: Some(format!("{error:#}")), ..Outcome::default() });
        writeln!(stdout, "{}", serde_json::to_string(&outcome)?)?;
        stdout.flush()?;
    }
    Ok(())
}

impl Node {
    fn new(setup: Setup) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .context("no namespaces: the benchmarks need root")?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        for directory in ["/run", "/var/lib"] {
            mount(Some("bench"), directory, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
                .with_context(|| format!("cannot mount over {directory}"))?;
        }
        for directory in ["/run/netns", "/run/flannel", "/var/lib/cni", &format!("{DIRECTORY}/manifests")] {
            fs::create_dir_all(directory)?;
        }
        let masquerade = !setup.masquerade; // flannel's own masquerading makes the plugin's unnecessary
        for (file, network) in [("subnet", "10.42.0"), ("flannel2", "10.5.0")] {
            let text = format!(
                "FLANNEL_NETWORK={network}.0/16\nFLANNEL_SUBNET={network}.1/20\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ={masquerade}\n"
            );
            fs::write(format!("/run/flannel/{file}.env"), text)?;
        }
        fs::write(format!("{DIRECTORY}/manifests/{}.json", crate::subject::SECOND), Setup::definition().to_string())?;
        tool("ip", "link set lo up\n")?;
        let api = if setup.kind.asks_api() { Some(start_api(setup.kind)?) } else { None };
        if setup.kind == Kind::Floor {
            let bridge = |name, address| {
                format!("link add {name} type bridge\nlink set {name} up\naddr add {address} dev {name}\n")
            };
            tool("ip", &(bridge("kbr0", "10.42.0.1/20") + &bridge("kbr1", "10.5.0.1/20")))?;
            tool("nft", FLOOR_TABLE)?;
        }
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        let plugin = Plugin::new(&setup, DIRECTORY)?;
        Ok(Self { plugin, api, filled: 0, next: 0, ready: Vec::new(), done: Vec::new() })
    }

    fn obey(&mut self, order: &Order) -> Result<Outcome> {
        match *order {
            Order::Fill(count) => self.fill(count),
            Order::Prepare(count) => self.prepare(count),
            Order::Pair => self.pair(),
            Order::Burst { pods, workers } => self.burst(pods, workers),
            Order::Release => self.release(),
        }
    }

    fn fill(&mut self, count: u32) -> Result<Outcome> {
        let pods = (self.filled..count).map(|_| self.sandbox()).collect::<Result<Vec<_>>>()?;
        in_parallel(&pods, FILL_WORKERS, |pod| self.plugin.call(Verb::Add, pod))?;
        self.filled = self.filled.max(count);
        Ok(Outcome::default())
    }

    fn prepare(&mut self, count: u32) -> Result<Outcome> {
        for _ in 0..count {
            let pod = self.sandbox()?;
            self.ready.insert(0, pod);
        }
        thread::sleep(Duration::from_millis(200));
        Ok(Outcome::default())
    }

    fn pair(&mut self) -> Result<Outcome> {
        let pod = self.ready.pop().context("no sandbox is prepared")?;
        self.forget_requests();
        let add = self.plugin.measure(Verb::Add, &pod)?;
        let (requests, connections) = self.forget_requests();
        let del = self.plugin.measure(Verb::Del, &pod)?;
        self.done.push(pod);
        Ok(Outcome {
            adds: vec![add],
            dels: vec![del],
            add_span: add.wall,
            del_span: del.wall,
            requests,
            connections,
            error: None,
        })
    }

    fn burst(&mut self, count: u32, workers: u32) -> Result<Outcome> {
        let pods = (0..count)
            .map(|_| self.ready.pop())
            .collect::<Option<Vec<_>>>()
            .context("too few sandboxes are prepared")?;
        let phase = |verb| -> Result<(Vec<Sample>, f64)> {
            let (cpu, start) = (children_cpu()?, Instant::now());
            let walls = in_parallel(&pods, workers, |pod| self.plugin.call(verb, pod))?;
            let span = start.elapsed().as_secs_f64() * 1e3;
            let cpu = (children_cpu()? - cpu) / f64::from(count);
            Ok((walls.into_iter().map(|wall| Sample { wall, cpu }).collect(), span))
        };
        let ((adds, add_span), (dels, del_span)) = (phase(Verb::Add)?, phase(Verb::Del)?);
        self.done.extend(pods);
        Ok(Outcome { adds, dels, add_span, del_span, ..Outcome::default() })
    }

    fn release(&mut self) -> Result<Outcome> {
        for pod in self.done.drain(..) {
            let path = format!("/run/netns/{pod}");
            umount2(path.as_str(), MntFlags::MNT_DETACH)?;
            fs::remove_file(path)?;
            if let Some(api) = &self.api {
                api.remove("pods", "default", &pod);
            }
        }
        Ok(Outcome::default())
    }

    /// A fresh network namespace, and the pod's object on the API server.
    fn sandbox(&mut self) -> Result<String> {
        let pod = format!("bench-{:06}", self.next);
        self.next += 1;
        ensure!(self.next < NUMBERS, "the numbers of pods are used up");
        let path = format!("/run/netns/{pod}");
        fs::write(&path, "")?;
        let made = thread::spawn(move || -> Result<()> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(mount(Some("/proc/thread-self/ns/net"), path.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
        });
        made.join()
            .map_err(|_| anyhow!("the thread that makes a namespace died"))?
            .context("cannot make a pod's namespace")?;
        if let Some(api) = &self.api {
            api.put(Setup::pod(&pod));
        }
        Ok(pod)
    }

    fn forget_requests(&self) -> (usize, usize) {
        self.api.as_ref().map(FakeApi::take_seen).map_or((0, 0), |seen| (seen.requests.len(), seen.connections))
    }
}

fn start_api(kind: Kind) -> Result<FakeApi> {
    let certificate = if kind == Kind::ApiTls { Some(Certificate::make(Path::new(DIRECTORY))?) } else { None };
    let api = FakeApi::start(certificate.as_ref())?;
    api.put(Setup::definition());
    fs::write(format!("{DIRECTORY}/kubeconfig"), api.kubeconfig())?;
    Ok(api)
}

/// Run `work` for every pod with so many workers; the results in no particular order.
fn in_parallel(pods: &[String], workers: u32, work: impl Fn(&str) -> Result<f64> + Sync) -> Result<Vec<f64>> {
    let (next, results) = (AtomicU32::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(pod) = pods.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let result = work(pod);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().collect()
}

/// Feed a script to `ip` or `nft`.
fn tool(program: &str, script: &str) -> Result<()> {
    let path = format!("{DIRECTORY}/script");
    fs::write(&path, script)?;
    let option = if program == "ip" { "-batch" } else { "-f" };
    let done =
        Command::new(program).args([option, &path]).output().with_context(|| format!("cannot execute {program}"))?;
    ensure!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
