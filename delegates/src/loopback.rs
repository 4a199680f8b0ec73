//! loopback: brings `lo` up inside the pod.

use crate::{Call, Delegate, Plan, World};
use cni::{CniResult, Error, Interface, Ip};
use net::op::Op;

/// The bundled `loopback`.
pub struct Loopback;

/// `LOOPBACK_IFINDEX` of include/net/flow.h: `lo` is the first device of every network namespace.
const LO: u32 = 1;

impl Delegate for Loopback {
    fn kind(&self) -> &'static str {
        "loopback"
    }

    fn add(&self, call: &Call<'_>, _world: &mut dyn World, plan: &mut Plan) -> Result<CniResult, Error> {
        plan.pod(
            Op::LinkUp { index: LO, arp_notify: false, name: "lo".into() },
            Some(Op::LinkDown { name: "lo".into() }),
            "the pod talks to itself",
        );
        if let Some(previous) = call.previous {
            return Ok(previous.clone());
        }
        let sandbox = call.netns.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let lo = Interface { name: "lo".into(), mac: "00:00:00:00:00:00".into(), sandbox, ..Interface::default() };
        let ip = |text: &str| text.parse().ok().map(|address| Ip { interface: Some(0), address, gateway: None });
        Ok(CniResult {
            interfaces: vec![lo],
            ips: ["127.0.0.1/8", "::1/128"].into_iter().filter_map(ip).collect(),
            ..CniResult::default()
        })
    }

    fn del(&self, call: &Call<'_>, _world: &mut dyn World, plan: &mut Plan) -> Result<(), Error> {
        if call.netns.is_some() {
            plan.pod(Op::LinkDown { name: "lo".into() }, None, "as it was before");
        }
        Ok(())
    }

    fn status(&self, _call: &Call<'_>, _world: &mut dyn World) -> Result<(), Error> {
        Ok(())
    }
}
