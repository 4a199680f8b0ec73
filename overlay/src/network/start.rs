//! Bringing an overlay up, step by step; each step that may succeed later is tried until it does.

use std::path::Path;
use std::time::Duration;

use etcd_subnet::env::SubnetEnv;
use etcd_subnet::{AcquireRequest, Membership, NetworkConfig};
use ipnet::Ipv4Net;
use net::Mac;
use net::nft::rulesets::flannel::Wanted;
use tokio::time::sleep;

use super::running::{Due, Running, Said};
use super::{Overlay, OverlayError, Settings};
use crate::desired::{Device, Tunnel, Underlay};
use crate::drift::Watch;
use crate::lease;
use crate::masquerade::{RuleWatch, Rules};
use crate::reconcile::Reconciler;
use crate::underlay::{self, UnderlayError};
use crate::vxlan::{Identity, Vxlan};

/// The pause between attempts at a step that failed.
const PAUSE: Duration = Duration::from_secs(1);

impl Overlay {
    pub(super) async fn start(self) -> Result<Running, OverlayError> {
        let Overlay { settings, manager, status } = self;
        let config = manager.network_config().await?;
        let pool = *config.supported()?;
        let network = pool.network;
        let tunnel = tunnel(&config, &settings);
        let underlay = find_underlay(&settings).await?;
        tracing::info!(
            overlay = %settings.name, %network, vni = tunnel.vni, interface = %underlay.name, address = %underlay.address,
            "joining"
        );
        // Subscribed before anything is looked at, so that no change falls between looking and listening.
        let watch = Watch::open()?;
        let rule_watch = RuleWatch::open()?;
        let wanted = Wanted { masquerade: settings.masquerade, forward: settings.forward };
        let rules = Rules::open(&settings.name, network, wanted)?;

        let mut vxlan = Vxlan::open()?;
        let identity = Identity::new(&settings.state_dir, tunnel.vni);
        let mac = mac_address(&settings, &identity, &mut vxlan, &tunnel, &underlay)?;
        let mut reconciler = Reconciler::new(vxlan, network, tunnel, underlay.clone(), mac);
        ensure_device(&settings, &mut reconciler).await;
        let request = AcquireRequest {
            pool,
            attributes: lease::attributes(&underlay, tunnel.vni, mac),
            previous_subnet: remembered(&settings.subnet_file, network),
        };
        let (own, membership) = Membership::join(manager, request, settings.renew_margin).await?;
        let port = reconciler.port()?;
        let mut running = Running {
            settings,
            status,
            network,
            vni: tunnel.vni,
            mac,
            identity,
            port,
            subnet: own.subnet,
            reconciler,
            membership,
            watch,
            rules,
            rule_watch,
            peers_known: false,
            waited: false,
            due: Due::default(),
            retry: None,
            written: None,
            said: Said::default(),
        };
        running.own(&own);
        Ok(running)
    }
}

fn tunnel(config: &NetworkConfig, settings: &Settings) -> Tunnel {
    let backend = &config.backend;
    Tunnel {
        vni: backend.vni,
        port: backend.udp_port(),
        learning: backend.learning,
        gbp: backend.gbp,
        direct_routing: backend.direct_routing,
        mtu: settings.mtu.or(backend.mtu),
    }
}

/// The interface may appear, or get its address, only after the agent has started.
async fn find_underlay(settings: &Settings) -> Result<Underlay, OverlayError> {
    let mut told = String::new();
    loop {
        match underlay::choose(&settings.choice) {
            Ok(underlay) => return Ok(underlay),
            Err(error @ UnderlayError::Pattern { .. }) => return Err(error.into()),
            Err(error) => {
                let text = error.to_string();
                if told != text {
                    tracing::warn!(overlay = %settings.name, %error, "waiting for the interface");
                    told = text;
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// The device's MAC: remembered, else that of a device that can stay, else a new one, which our lease then tells.
fn mac_address(
    settings: &Settings,
    identity: &Identity,
    vxlan: &mut Vxlan,
    tunnel: &Tunnel,
    underlay: &Underlay,
) -> Result<Mac, OverlayError> {
    let wanted = Device::new(tunnel, underlay, Mac::default());
    let device = vxlan.device(&wanted.name)?.filter(|device| device.unfit(&wanted).is_none());
    let (mac, unkept) = identity.choose(device.map(|device| device.mac), underlay.public)?;
    if let Some(error) = unkept {
        tracing::warn!(overlay = %settings.name, %error, "the mac address will not outlive the device");
    }
    Ok(mac)
}

async fn ensure_device(settings: &Settings, reconciler: &mut Reconciler) {
    let mut told = String::new();
    while let Err(error) = reconciler.ensure_device() {
        let text = error.to_string();
        if told != text {
            tracing::error!(overlay = %settings.name, %error, "the device cannot be made, trying on");
            told = text;
        }
        sleep(PAUSE).await;
    }
}

/// The subnet of the last run, if the file still speaks of this network.
fn remembered(subnet_file: &Path, network: Ipv4Net) -> Option<Ipv4Net> {
    let env: SubnetEnv = std::fs::read_to_string(subnet_file).ok()?.parse().ok()?;
    env.previous_subnet().filter(|subnet| network.contains(subnet))
}
