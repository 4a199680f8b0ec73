//! The floor under the benchmarks: the kernel work of attaching a pod to two bridged networks, and of programming leases, with
//! as few netlink messages as the kernel allows and nothing else. What a real program needs beyond this is its own cost.
//!
//! Executed as a CNI plugin (`CNI_COMMAND` set) it makes one ADD or DEL; the pod's number ends its container id. With
//! `FLOOR_MASQUERADE` set it also adds the pod's addresses to the sets of the nftables table `floor`, which must exist.
//! As `floor leases DEVICE COUNT [plain]` it programs that many peers on a VXLAN device, with next-hop objects or plain routes.

mod leases;
mod pod;
mod wire;

use anyhow::{Context, Result, bail};
use std::env;

fn main() {
    if let Err(error) = run() {
        println!("{}", serde_json::json!({"cniVersion": "0.3.1", "code": 999, "msg": format!("{error:#}")}));
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let Ok(command) = env::var("CNI_COMMAND") else {
        return leases::run(env::args().skip(1));
    };
    let number = pod_number(&env::var("CNI_CONTAINERID").context("CNI_CONTAINERID is not set")?)?;
    let masquerade = env::var_os("FLOOR_MASQUERADE").is_some();
    match command.as_str() {
        "ADD" => {
            pod::add(&env::var("CNI_NETNS").context("CNI_NETNS is not set")?, number, masquerade)?;
            println!("{{\"cniVersion\":\"0.3.1\",\"ips\":[]}}");
            Ok(())
        }
        "DEL" => pod::delete(number, masquerade),
        other => bail!("the floor knows ADD and DEL, not {other}"),
    }
}

/// The digits after the last dash of a container id.
fn pod_number(container: &str) -> Result<u32> {
    let digits = container.rsplit('-').next().unwrap_or(container);
    digits.parse().with_context(|| format!("container id {container} does not end in a number"))
}
