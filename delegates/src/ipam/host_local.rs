//! host-local: addresses from ranges of this node, one file per reservation.
//!
//! The store on disk is the reference plugin's, to the byte, so that nodes can be switched over and back while pods
//! run: `<dataDir>/<network>/<address>` holding container id and interface, `last_reserved_ip.<set>` the round-robin
//! cursor, `lock` an flock that both sides take. What differs is the cost: the reference reads every reservation on
//! each ADD and DEL; here an ADD tries the addresses behind the cursor, and a DEL knows its own from the journal.

use super::range::{RangeConf, RangeSet};
use crate::{Call, Delegate, Plan, World};
use cni::error::code;
use cni::{CniResult, Dns, Error, Ip, Route};
use ipnet::IpNet;
use net::op::Op;
use serde::Deserialize;
use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// How many addresses are tried one by one before the directory is listed once instead: a look-up costs about a
/// microsecond, a listing about a tenth of one per entry.
const PROBES: usize = 64;

/// The bundled `host-local`.
pub struct HostLocal;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Conf {
    ipam: Ipam,
    runtime_config: Runtime,
    args: Arguments,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Ipam {
    ranges: Vec<Vec<RangeConf>>,
    // the single range of the first versions of the plugin
    subnet: Option<IpNet>,
    range_start: Option<IpAddr>,
    range_end: Option<IpAddr>,
    gateway: Option<IpAddr>,
    routes: Vec<RouteConf>,
    data_dir: Option<PathBuf>,
    resolv_conf: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct RouteConf {
    dst: IpNet,
    #[serde(default)]
    gw: Option<IpAddr>,
    #[serde(default)]
    mtu: Option<u32>,
    #[serde(default)]
    advmss: Option<u32>,
    #[serde(default)]
    priority: Option<u32>,
    #[serde(default)]
    table: Option<u32>,
    #[serde(default)]
    scope: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Runtime {
    ips: Vec<String>,
    ip_ranges: Vec<Vec<RangeConf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Arguments {
    cni: CniArguments,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CniArguments {
    ips: Vec<String>,
}

impl Delegate for HostLocal {
    fn kind(&self) -> &'static str {
        "host-local"
    }

    fn add(&self, call: &Call<'_>, world: &mut dyn World, plan: &mut Plan) -> Result<CniResult, Error> {
        let conf = load(call)?;
        let sets = range_sets(&conf)?;
        let mut requested = requested(call, &conf)?;
        let store = store(call.network(), conf.ipam.data_dir.as_deref());
        let dns = match &conf.ipam.resolv_conf {
            Some(path) => resolv_conf(path, world)?,
            None => Dns::default(),
        };
        world.lock(&store)?;
        let owner = format!("{}\r\n{}", call.container, call.ifname);
        let mut ips = Vec::with_capacity(sets.len());
        for (index, set) in sets.iter().enumerate() {
            let wanted =
                requested.iter().position(|ip| set.range_of(*ip).is_some()).map(|at| requested.swap_remove(at));
            let ip = match wanted {
                Some(ip) => claim(&store, set, ip, world, plan)?,
                None => draw(&store, index, set, world, plan)?,
            };
            reserve(&store, index, ip.address.addr(), &owner, plan)?;
            ips.push(ip);
        }
        if !requested.is_empty() {
            let left: Vec<_> = requested.iter().map(ToString::to_string).collect();
            return Err(Error::new(
                code::INVALID_CONFIG,
                format!("requested address {} is in no range of network {:?}", left.join(", "), call.network()),
            ));
        }
        let routes = conf.ipam.routes.into_iter().map(Into::into).collect();
        Ok(CniResult { ips, routes, dns, ..CniResult::default() })
    }

    fn del(&self, call: &Call<'_>, world: &mut dyn World, plan: &mut Plan) -> Result<(), Error> {
        let store = store(call.network(), load(call)?.ipam.data_dir.as_deref());
        let owner = format!("{}\r\n{}", call.container, call.ifname);
        for name in world.list(&store)? {
            if name.parse::<IpAddr>().is_err() {
                continue;
            }
            let path = store.join(&name);
            let Some(contents) = world.read(&path)? else { continue };
            // releases of the plugin before 0.6 wrote the container id alone
            if contents.trim() == owner || contents.trim() == call.container {
                plan.record(
                    Op::RemoveFile { path: text(&path)?, only_if: Some(contents) },
                    None,
                    format!("return address {name}"),
                );
            }
        }
        Ok(())
    }

    fn status(&self, call: &Call<'_>, world: &mut dyn World) -> Result<(), Error> {
        let conf = load(call)?;
        let store = store(call.network(), conf.ipam.data_dir.as_deref());
        let taken: HashSet<String> = world.list(&store)?.into_iter().collect();
        for set in range_sets(&conf)? {
            if set.candidates(None).all(|(ip, _)| taken.contains(&ip.to_string())) {
                return Err(Error::new(
                    code::NOT_AVAILABLE,
                    format!("network {:?}: no address left in {set}; see {}", call.network(), store.display()),
                ));
            }
        }
        Ok(())
    }

    fn stores(&self, call: &Call<'_>) -> Vec<PathBuf> {
        load(call).map(|conf| vec![store(call.network(), conf.ipam.data_dir.as_deref())]).unwrap_or_default()
    }
}

fn load(call: &Call<'_>) -> Result<Conf, Error> {
    call.conf.decode()
}

/// The directory of a network's reservations.
pub(super) fn store(network: &str, data_dir: Option<&Path>) -> PathBuf {
    data_dir.unwrap_or(Path::new("/var/lib/cni/networks")).join(network)
}

/// The range sets in the reference's order, on which the names of the cursor files depend: the runtime's, the
/// old-style single range, `ranges`.
fn range_sets(conf: &Conf) -> Result<Vec<RangeSet>, Error> {
    let ipam = &conf.ipam;
    let single = ipam.subnet.map(|subnet| {
        vec![RangeConf {
            subnet: Some(subnet),
            range_start: ipam.range_start,
            range_end: ipam.range_end,
            gateway: ipam.gateway,
        }]
    });
    let sets = conf
        .runtime_config
        .ip_ranges
        .iter()
        .chain(single.iter())
        .chain(ipam.ranges.iter())
        .map(|set| RangeSet::new(set))
        .collect::<Result<Vec<_>, _>>()?;
    if sets.is_empty() {
        return Err(Error::new(code::INVALID_CONFIG, "host-local has no address ranges: give `ipam.ranges`"));
    }
    for (i, set) in sets.iter().enumerate() {
        if let Some(other) = sets.iter().skip(i + 1).find(|other| set.overlaps(other)) {
            return Err(Error::new(code::INVALID_CONFIG, format!("ipam range sets overlap: {set} and {other}")));
        }
    }
    Ok(sets)
}

/// The addresses asked for: by capability `ips`, by `args.cni.ips`, by `CNI_ARGS` `IP=`.
fn requested(call: &Call<'_>, conf: &Conf) -> Result<Vec<IpAddr>, Error> {
    let by_args = call.args.get("IP").map(|ips| ips.split(',').map(str::to_owned).collect()).unwrap_or_default();
    let texts: Vec<String> =
        [&conf.runtime_config.ips, &conf.args.cni.ips, &by_args].into_iter().flatten().cloned().collect();
    let mut addresses = Vec::with_capacity(texts.len());
    for text in texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        let address =
            text.parse::<IpAddr>().or_else(|_| text.parse::<IpNet>().map(|net| net.addr())).map_err(|_| {
                Error::new(code::INVALID_CONFIG, format!("requested address {text:?} is neither an address nor a CIDR"))
            })?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// A requested address, if it is free.
fn claim(store: &Path, set: &RangeSet, ip: IpAddr, world: &mut dyn World, plan: &Plan) -> Result<Ip, Error> {
    let range = set
        .range_of(ip)
        .ok_or_else(|| Error::new(code::INVALID_CONFIG, format!("requested address {ip} is not in {set}")))?;
    if ip == range.gateway {
        return Err(Error::new(
            code::INVALID_CONFIG,
            format!("requested address {ip} is the gateway of {}", range.subnet),
        ));
    }
    let path = store.join(ip.to_string());
    if planned(plan, &path) || world.exists(&path) {
        return Err(Error::new(
            code::INVALID_CONFIG,
            format!("requested address {ip} is taken: {} names its owner", path.display()),
        ));
    }
    Ok(answer(ip, range))
}

/// The next free address behind the cursor.
fn draw(store: &Path, index: usize, set: &RangeSet, world: &mut dyn World, plan: &Plan) -> Result<Ip, Error> {
    let cursor = cursor(store, index, world, plan)?;
    let mut listed: Option<HashSet<String>> = None;
    for (tried, (ip, range)) in set.candidates(cursor).enumerate() {
        if tried == PROBES {
            listed = Some(world.list(store)?.into_iter().collect());
        }
        let name = ip.to_string();
        let path = store.join(&name);
        let taken = planned(plan, &path)
            || match &listed {
                Some(names) => names.contains(&name),
                None => world.exists(&path),
            };
        if !taken {
            return Ok(answer(ip, range));
        }
    }
    Err(Error::new(
        code::TRY_AGAIN_LATER,
        format!(
            "failed to allocate for range {index}: no IP addresses available in range set: {set}; reservations are in {}",
            store.display()
        ),
    ))
}

fn answer(ip: IpAddr, range: &super::range::Range) -> Ip {
    // a prefix length of the subnet's own family is always in bounds
    let address = IpNet::new(ip, range.subnet.prefix_len()).unwrap_or_else(|_| IpNet::from(ip));
    Ip { interface: None, address, gateway: Some(range.gateway) }
}

/// Whether the same plan, for the same network attached twice, already takes that file.
fn planned(plan: &Plan, path: &Path) -> bool {
    plan.records.iter().any(|step| matches!(&step.op, Op::CreateFile { path: taken, .. } if Path::new(taken) == path))
}

fn cursor_path(store: &Path, index: usize) -> PathBuf {
    store.join(format!("last_reserved_ip.{index}"))
}

/// Where the round-robin stands; a cursor that cannot be read as an address is no cursor.
fn cursor(store: &Path, index: usize, world: &mut dyn World, plan: &Plan) -> Result<Option<IpAddr>, Error> {
    let path = cursor_path(store, index);
    let planned = plan.records.iter().rev().find_map(|step| match &step.op {
        Op::WriteFile { path: written, contents, .. } if Path::new(written) == path => Some(contents.clone()),
        _ => None,
    });
    let text = match planned {
        Some(text) => Some(text),
        None => world.read(&path)?,
    };
    Ok(text.and_then(|text| text.trim().parse().ok()))
}

fn reserve(store: &Path, index: usize, ip: IpAddr, owner: &str, plan: &mut Plan) -> Result<(), Error> {
    let path = text(&store.join(ip.to_string()))?;
    plan.record(
        Op::CreateFile { path: path.clone(), contents: owner.to_owned(), mode: 0o600, make_dirs: false },
        Some(Op::RemoveFile { path, only_if: Some(owner.to_owned()) }),
        format!("reserve address {ip}"),
    );
    plan.record(
        Op::WriteFile { path: text(&cursor_path(store, index))?, contents: ip.to_string(), mode: 0o600 },
        None,
        "move the round-robin cursor",
    );
    Ok(())
}

/// Operations are journaled as JSON, which has no other paths than text.
fn text(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::config(format!("path {} is not UTF-8", path.display())))
}

/// `nameserver`, `domain`, `search` and `options` of a resolv.conf (resolv.conf(5)).
fn resolv_conf(path: &Path, world: &mut dyn World) -> Result<Dns, Error> {
    let text = world.read(path)?.ok_or_else(|| {
        Error::new(code::INVALID_CONFIG, format!("ipam.resolvConf {} does not exist", path.display()))
    })?;
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words) {
            (Some("nameserver"), words) => dns.nameservers.extend(words.take(1).map(str::to_owned)),
            (Some("domain"), mut words) => dns.domain = words.next().unwrap_or_default().to_owned(),
            (Some("search"), words) => dns.search.extend(words.map(str::to_owned)),
            (Some("options"), words) => dns.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    Ok(dns)
}

impl From<RouteConf> for Route {
    fn from(conf: RouteConf) -> Self {
        let RouteConf { dst, gw, mtu, advmss, priority, table, scope } = conf;
        Self { dst, gw, mtu, advmss, priority, table, scope }
    }
}
