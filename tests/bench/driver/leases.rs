//! Programming the peers of an overlay: `plexus agent` from its start to the last route, with leases in files and in etcd, beside
//! the raw netlink floor with next-hop objects.

use crate::options::Options;
use crate::report::Report;
use crate::routes::Routes;
use crate::stats::median;
use anyhow::{Context, Result, ensure};
use lab::{Etcd, Lab, Node, command};
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const NETWORK: &str = r#"{"Network": "10.0.0.0/8", "SubnetLen": 24, "Backend": {"Type": "vxlan", "VNI": 1}}"#;
const PREFIX: &str = "/coreos.com/network";
const DEVICE: &str = "flannel.1";
/// The first foreign subnet is 10.1.0.0/24; peers count on from there.
const FIRST_SUBNET: u32 = 256;
/// etcd takes 128 operations in a transaction.
const OPERATIONS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(120);
/// How long an agent with nothing to do is watched.
const IDLE: Duration = Duration::from_secs(2);

/// What one way to program N peers cost.
#[derive(Default)]
struct Cost {
    wall_ms: Vec<f64>,
    cpu_ms: Vec<f64>,
    peak_mib: Vec<f64>,
    idle_ms_per_s: Vec<f64>,
}

/// Where the agent finds the leases.
enum Source<'a> {
    Files,
    Etcd(&'a Etcd),
}

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants("leases") {
        return Ok(());
    }
    let mut lab = Lab::new("bench", &options.plexus)?;
    let etcd = Etcd::start(&mut lab, 1)?;
    let client = lab.node("client")?;
    report.say("\nThe peers of an overlay, from the agent's start to the last route (median)")?;
    report.say(&format!(
        "{:28} {:>8} {:>10} {:>10} {:>9} {:>10} {:>12}",
        "", "peers", "ms", "CPU ms", "x floor", "peak MiB", "idle ms/s"
    ))?;
    for count in &options.leases {
        write_leases(&lab, &client, &etcd, *count)?;
        let mut costs = [
            ("floor (netlink only)", Cost::default()),
            ("agent, files", Cost::default()),
            ("agent, etcd over TLS", Cost::default()),
        ];
        for round in 0..options.lease_rounds {
            report.progress(&format!("{count} peers, round {}", round + 1));
            let [floor, files, stored] = &mut costs;
            raw(options, &mut lab, *count, &mut floor.1)?;
            agent(&mut lab, &Source::Files, *count, &mut files.1)?;
            agent(&mut lab, &Source::Etcd(&etcd), *count, &mut stored.1)?;
        }
        let floor = costs.first().map(|(_, cost)| median(&cost.wall_ms)).unwrap_or_default();
        for (title, cost) in &costs {
            row(report, title, *count, cost, floor)?;
        }
    }
    Ok(())
}

fn row(report: &mut Report, title: &str, count: u32, cost: &Cost, floor: f64) -> Result<()> {
    let (wall, cpu, peak, idle) =
        (median(&cost.wall_ms), median(&cost.cpu_ms), median(&cost.peak_mib), median(&cost.idle_ms_per_s));
    report.say(&format!("{title:28} {count:8} {wall:10.1} {cpu:10.1} {:9.2} {peak:10.1} {idle:12.1}", wall / floor))?;
    report.line(&json!({
        "part": "leases", "subject": title, "peers": count, "wall_ms": wall, "cpu_ms": cpu, "peak_mib": peak, "idle_ms_per_s": idle
    }))
}

/// The floor program on a device like the agent's.
fn raw(options: &Options, lab: &mut Lab, count: u32, cost: &mut Cost) -> Result<()> {
    let node = lab.node("floor")?;
    node.space().ip(&format!(
        "link add {DEVICE} type vxlan id 1 dstport 8472 local {} nolearning\naddr add 10.0.0.0/32 dev {DEVICE}\nlink set {DEVICE} up\n",
        node.address()
    ))?;
    let line = node.run([options.floor.as_os_str(), "leases".as_ref(), DEVICE.as_ref(), count.to_string().as_ref()])?;
    let figures: Value = serde_json::from_str(&line).with_context(|| format!("the floor said {line}"))?;
    let figure = |name: &str| figures.get(name).and_then(Value::as_f64).unwrap_or_default();
    cost.wall_ms.push(figure("wall_ms"));
    cost.cpu_ms.push(figure("cpu_us") / 1e3);
    cost.peak_mib.push(figure("peak_kib") / 1024.0);
    clear(&node)
}

fn agent(lab: &mut Lab, source: &Source<'_>, count: u32, cost: &mut Cost) -> Result<()> {
    let node = lab.node("agent")?;
    let store = match source {
        Source::Files => json!({"file": directory(lab)}),
        Source::Etcd(etcd) => {
            let tls = etcd.certificates();
            json!({"etcd": {"endpoints": etcd.endpoints(), "prefix": PREFIX, "ca": tls.ca, "cert": tls.client, "key": tls.client_key}})
        }
    };
    let config = json!({"overlays": [{"name": DEVICE, "store": store, "subnetFile": "/run/flannel/subnet.env"}]});
    node.write("/run/plexus/agent.json", &config.to_string())?;
    let mut routes = Routes::watch(node.space().pid())?;
    let start = Instant::now();
    let mut daemon = node.daemon([
        lab.program().as_os_str(),
        "agent".as_ref(),
        "--config".as_ref(),
        "/run/plexus/agent.json".as_ref(),
    ])?;
    let Some(end) = routes.wait_for(count, start + PATIENCE)? else {
        let ended = daemon.ended()?;
        anyhow::bail!(
            "{} of {count} routes after {PATIENCE:?} ({ended:?}); the agent wrote:\n{}",
            routes.seen(),
            daemon.log()
        );
    };
    cost.wall_ms.push((end - start).as_secs_f64() * 1e3);
    let pid = daemon.pid();
    cost.cpu_ms.push(cpu_ms(pid)?);
    std::thread::sleep(IDLE); // what follows the last route is done by then
    let before = cpu_ms(pid)?;
    std::thread::sleep(IDLE);
    cost.idle_ms_per_s.push((cpu_ms(pid)? - before) / IDLE.as_secs_f64());
    cost.peak_mib.push(peak_mib(pid)?);
    complete(&node, count)?;
    daemon.stop(Duration::from_secs(10))?;
    clear(&node)
}

/// Delete the device and wait for it: left to the end of the namespace, the kernel would take thousands of routes apart, with the lock
/// that all network changes need, while the next one is measured.
fn clear(node: &Node) -> Result<()> {
    node.run(["ip", "link", "del", DEVICE]).map(drop)
}

/// All routes, neighbours and forwarding entries are in the kernel, not only announced.
fn complete(node: &Node, count: u32) -> Result<()> {
    for words in [
        ["ip", "-4", "route", "show", "dev", DEVICE].as_slice(),
        &["ip", "-4", "neigh", "show", "dev", DEVICE, "nud", "permanent"],
        &["bridge", "fdb", "show", "dev", DEVICE],
    ] {
        let lines = node.run(words)?.lines().count();
        ensure!(lines >= count as usize, "`{}` shows {lines} lines for {count} peers", words.join(" "));
    }
    Ok(())
}

/// The configuration and `count` leases of others, in the directory and in etcd; what was there before goes.
fn write_leases(lab: &Lab, client: &Node, etcd: &Etcd, count: u32) -> Result<()> {
    let subnets = directory(lab).join("subnets");
    if subnets.exists() {
        fs::remove_dir_all(&subnets)?;
    }
    fs::create_dir_all(&subnets)?;
    fs::write(directory(lab).join("config"), NETWORK)?;
    etcd.etcdctl(["del", "--prefix", PREFIX])?;
    etcd.etcdctl(["put", &format!("{PREFIX}/config"), NETWORK])?;
    let peers: Vec<u32> = (0..count).collect();
    for chunk in peers.chunks(OPERATIONS) {
        let mut transaction = String::from("\n"); // no conditions; values in double quotes, since etcdctl 3.4 cuts others short
        for peer in chunk {
            let (name, value) = lease(*peer);
            fs::write(subnets.join(&name), &value)?;
            writeln!(transaction, "put {PREFIX}/subnets/{name} {value:?}")?;
        }
        transaction.push_str("\n\n");
        put(client, etcd, &transaction)?;
    }
    Ok(())
}

fn put(client: &Node, etcd: &Etcd, transaction: &str) -> Result<()> {
    let tls = etcd.certificates();
    let mut etcdctl = client.command("etcdctl");
    etcdctl.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", etcd.endpoints().join(",")));
    etcdctl.arg("--cacert").arg(&tls.ca).arg("--cert").arg(&tls.client).arg("--key").arg(&tls.client_key).arg("txn");
    let said = command::run_with(&mut etcdctl, transaction)?;
    ensure!(said.contains("SUCCESS"), "etcd refused a transaction: {said}");
    Ok(())
}

/// Name and value of the lease of peer `peer`, as flannel writes them.
fn lease(peer: u32) -> (String, String) {
    let subnet = Ipv4Addr::from_bits(0x0a00_0000 + ((peer + FIRST_SUBNET) << 8));
    let public = Ipv4Addr::from_bits(0xac10_000a + peer);
    let [a, b, c, d] = peer.to_be_bytes();
    let value = format!(
        "{{\"PublicIP\":\"{public}\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\",\
         \"BackendData\":{{\"VNI\":1,\"VtepMAC\":\"0a:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}\"}}}}"
    );
    (format!("{subnet}-24"), value)
}

fn directory(lab: &Lab) -> PathBuf {
    lab.directory().join("leases")
}

/// Milliseconds of CPU of all threads of a process, from the scheduler's own nanoseconds.
fn cpu_ms(pid: u32) -> Result<f64> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let nanos = text.split(' ').next().and_then(|word| word.parse().ok()).context("unreadable schedstat")?;
        total += Duration::from_nanos(nanos);
    }
    Ok(total.as_secs_f64() * 1e3)
}

/// The largest resident set so far.
fn peak_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .context("no VmHWM in the process's status")?;
    Ok(kib / 1024.0)
}
