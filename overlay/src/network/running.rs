//! The life of an overlay that is up: waiting for whatever can require work, and doing it.
//!
//! Events only mark what has to be looked at; the looking happens once for all that came in together.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_subnet::env::SubnetEnv;
use etcd_subnet::{Event, Lease, Membership, Notice};
use ipnet::Ipv4Net;
use net::Mac;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout_at};

use super::{OverlayError, Settings, Status};
use crate::drift::{Drift, Interest, Watch};
use crate::lease;
use crate::masquerade::{RuleWatch, Rules};
use crate::reconcile::{Look, Reconciler, Report};
use crate::underlay;
use crate::vxlan::{Fate, Identity};

/// A pause in the news after which it is acted on,
const LULL: Duration = Duration::from_millis(2);
/// and how long it is gathered at most.
const GATHER: Duration = Duration::from_millis(50);
/// How often everything is compared with the kernel without any cause.
const FULL_CHECK: Duration = Duration::from_secs(60);
/// Notices of the membership taken at a time.
const BURST: usize = 1024;
/// The pause before a round that could not be carried through is repeated.
const PAUSE: Duration = Duration::from_millis(500);

/// The kinds of work that can fail, as they are called in the log.
const DEVICE: &str = "device";
const PEERS: &str = "peers";
const RULES: &str = "firewall rules";
const SUBNET_FILE: &str = "subnet file";

/// An overlay that is up.
pub(super) struct Running {
    pub(super) settings: Settings,
    pub(super) status: watch::Sender<Status>,
    pub(super) network: Ipv4Net,
    pub(super) vni: u32,
    pub(super) mac: Mac,
    pub(super) identity: Identity,
    /// Port of the reconciler's socket.
    pub(super) port: u32,
    pub(super) subnet: Ipv4Net,
    pub(super) reconciler: Reconciler,
    pub(super) membership: Membership,
    pub(super) watch: Watch,
    pub(super) rules: Rules,
    pub(super) rule_watch: RuleWatch,
    /// Whether the store has told who the peers are. Until then nothing of an earlier run is removed.
    pub(super) peers_known: bool,
    /// Whether the first check has come.
    pub(super) waited: bool,
    pub(super) due: Due,
    pub(super) retry: Option<Instant>,
    pub(super) written: Option<SubnetEnv>,
    pub(super) said: Said,
}

/// What has to be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// The peers' objects are to be compared with what is wanted.
    peers: bool,
    /// And with the kernel's state as it is, not as the last round left it.
    fresh: bool,
    rules: bool,
    underlay: bool,
}

/// What was said last, so that it is not said again.
#[derive(Debug, Default)]
pub(super) struct Said {
    unusable: usize,
    /// The last failure of each kind of work.
    failures: BTreeMap<&'static str, String>,
    forward_dropped: bool,
    underlay_missing: bool,
}

enum Woken {
    /// The membership told something, which is in the list.
    Notices(usize),
    Drift(Drift),
    Rules,
    Check,
    FullCheck,
    Retry,
}

impl Running {
    pub(super) async fn run(&mut self) -> Result<(), OverlayError> {
        let mut check = ticks(self.settings.check_every);
        let mut full_check = ticks(FULL_CHECK);
        let mut notices = Vec::new();
        loop {
            if self.due != Due::default() {
                self.gather(&mut notices).await;
                self.work();
            }
            match self.wait(&mut notices, &mut check, &mut full_check).await? {
                Woken::Notices(0) => return Err(OverlayError::Silence),
                woken => self.note(woken, &mut notices),
            }
        }
    }

    async fn wait(
        &mut self,
        notices: &mut Vec<Notice>,
        check: &mut Interval,
        full_check: &mut Interval,
    ) -> Result<Woken, OverlayError> {
        let interest = self.interest();
        let retry = self.retry;
        let retried = async {
            match retry {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            count = self.membership.next_many(notices, BURST) => Ok(Woken::Notices(count)),
            drift = self.watch.drift(&interest) => drift.map(Woken::Drift).map_err(OverlayError::Notifications),
            changed = self.rule_watch.changed(&self.rules) => {
                changed.map(|()| Woken::Rules).map_err(OverlayError::Notifications)
            }
            () = retried => Ok(Woken::Retry),
            _ = check.tick() => Ok(Woken::Check),
            _ = full_check.tick() => Ok(Woken::FullCheck),
        }
    }

    fn note(&mut self, woken: Woken, notices: &mut Vec<Notice>) {
        match woken {
            Woken::Notices(_) => notices.drain(..).for_each(|notice| self.hear(notice)),
            Woken::Drift(drift) => self.drifted(drift),
            Woken::Rules => self.due.rules = true,
            Woken::Retry => {
                self.retry = None;
                self.due.peers = true;
                self.due.fresh = true;
            }
            Woken::Check => {
                self.waited = true;
                self.due.rules = true;
                self.due.underlay |= self.said.underlay_missing;
                let right = self.reconciler.device_is_right().unwrap_or(false);
                self.due.peers |= !right;
                self.due.fresh |= !right;
            }
            Woken::FullCheck => self.due = Due { peers: true, fresh: true, rules: true, underlay: true },
        }
    }

    fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Own(lease) => self.own(&lease),
            // The membership asks for it again; the data path goes on meanwhile.
            Notice::Lost(_) => {}
            Notice::Peers(event) => self.peers(event),
        }
    }

    /// Takes in what else has come already: a thousand leases in one burst are one round.
    async fn gather(&mut self, notices: &mut Vec<Notice>) {
        let end = Instant::now() + GATHER;
        while Instant::now() < end {
            let lull = end.min(Instant::now() + LULL);
            match timeout_at(lull, self.membership.next_many(notices, BURST)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => notices.drain(..).for_each(|notice| self.hear(notice)),
            }
        }
        let interest = self.interest();
        if let Ok(drift) = self.watch.pending(&interest) {
            self.drifted(drift);
        }
    }

    fn drifted(&mut self, drift: Drift) {
        self.due.peers |= drift.any();
        self.due.fresh |= drift.any();
        self.due.underlay |= drift.underlay;
    }

    fn interest(&self) -> Interest {
        Interest { device: self.reconciler.index(), underlay: self.reconciler.underlay().index, port: self.port }
    }

    /// Takes a lease as this node's.
    pub(super) fn own(&mut self, own: &Lease) {
        tracing::info!(overlay = %self.settings.name, subnet = %own.subnet, "subnet leased");
        self.subnet = own.subnet;
        self.reconciler.set_own(Some(own.subnet));
        self.rules.set_subnet(own.subnet);
        self.due.peers = true;
        self.due.rules = true;
    }

    fn peers(&mut self, event: Event) {
        match event {
            Event::Snapshot(leases) => {
                self.reconciler.replace(leases.iter().filter_map(|lease| lease::peer(lease).ok()));
                self.peers_known = true;
            }
            Event::Added(lease) | Event::Changed(lease) => match lease::peer(&lease) {
                Ok(peer) => self.reconciler.put(peer),
                Err(reason) => {
                    tracing::debug!(overlay = %self.settings.name, subnet = %lease.subnet, %reason, "lease passed over");
                    self.reconciler.remove(&lease.subnet);
                }
            },
            Event::Removed(key) => self.reconciler.remove(&key.subnet),
        }
        self.due.peers = true;
    }

    /// Does what is due, in the order of the start.
    fn work(&mut self) {
        let due = std::mem::take(&mut self.due);
        if due.underlay {
            self.follow_underlay();
        }
        if due.peers || due.underlay {
            self.reconcile(if due.fresh { Look::Fresh } else { Look::Remembered });
        }
        let rules_in_place = !due.rules || self.ensure_rules();
        // Pods should reach their peers from the first packet on, but a store that falls silent right now must not keep them waiting.
        if rules_in_place && (self.peers_known || self.waited) {
            self.write_env();
        }
    }

    /// The underlay's address, MTU or networks may have changed. While it has no address, the last state is kept.
    fn follow_underlay(&mut self) {
        let found = underlay::choose(&self.settings.choice);
        let name = &self.settings.name;
        match &found {
            Ok(found) if found != self.reconciler.underlay() => {
                let (interface, address, mtu) = (&found.name, found.address, found.mtu);
                tracing::info!(overlay = %name, %interface, %address, mtu, "underlay changed");
                self.membership.publish(lease::attributes(found, self.vni, self.mac));
                if found.public != self.reconciler.underlay().public
                    && let Err(error) = self.identity.keep(self.mac, found.public)
                {
                    tracing::warn!(overlay = %name, %error, "the mac address will not outlive the device");
                }
                self.reconciler.set_underlay(found.clone());
            }
            Err(error) if !self.said.underlay_missing => {
                tracing::warn!(overlay = %name, %error, "no usable underlay now, keeping the last");
            }
            _ => {}
        }
        self.said.underlay_missing = found.is_err();
    }

    fn reconcile(&mut self, look: Look) {
        let done = if self.peers_known {
            self.reconciler.reconcile(look, std::time::Instant::now()).map(Some)
        } else {
            self.reconciler.ensure_device().map(|_| None).map_err(Into::into)
        };
        if done.is_ok() {
            self.settled(DEVICE);
        }
        match done {
            Ok(Some(report)) => self.report(report),
            Ok(None) => {}
            Err(error) => {
                self.complain(DEVICE, error.to_string());
                self.retry = Some(Instant::now() + PAUSE);
            }
        }
    }

    fn report(&mut self, report: Report) {
        let name = &self.settings.name;
        if report.changes > 0 || report.fate != Fate::Kept {
            tracing::info!(overlay = %name, device = %report.fate, changes = report.changes, peers = report.peers, "reconciled");
        }
        if report.refused.len() != self.said.unusable {
            self.said.unusable = report.refused.len();
            if let Some((subnet, reason)) = report.refused.first() {
                tracing::warn!(overlay = %name, count = report.refused.len(), first = %subnet, %reason, "leases that cannot be used");
            }
        }
        self.retry = report.retry.map(Instant::from_std);
        let orphans = report.failures.iter().any(|failure| failure.planned.peer.is_none());
        if orphans || report.failures.iter().any(|failure| failure.error.errno == ENODEV) {
            // The device vanished under our hands, or something could not be removed.
            self.retry = Some(Instant::now() + PAUSE);
        }
        self.status.send_modify(|status| {
            status.peers = report.peers.saturating_sub(report.failures.len());
            status.unusable = report.refused.len();
            status.failing = report.failures.len();
            status.repairs += u64::from(report.changes > 0 || report.fate != Fate::Kept);
        });
        match report.failures.first() {
            None => self.settled(PEERS),
            Some(first) => {
                let peer = first.planned.peer.map(|subnet| format!(" of {subnet}")).unwrap_or_default();
                self.complain(PEERS, format!("{} refused, the first{peer}: {}", report.failures.len(), first.error));
            }
        }
    }

    /// Says a failure of some kind of work once, until it is another one or [settled](Running::settled).
    fn complain(&mut self, work: &'static str, text: String) {
        if self.said.failures.get(work) != Some(&text) {
            tracing::error!(overlay = %self.settings.name, "{work}: {text}; trying on");
            self.said.failures.insert(work, text);
        }
    }

    /// Notes that a kind of work succeeded.
    fn settled(&mut self, work: &'static str) {
        if self.said.failures.remove(work).is_some() {
            tracing::info!(overlay = %self.settings.name, "{work}: in order again");
        }
    }

    fn ensure_rules(&mut self) -> bool {
        let name = self.settings.name.clone();
        match self.rules.ensure() {
            Ok(differences) => {
                if !differences.is_empty() {
                    tracing::info!(overlay = %name, found = %differences.join("; "), "rules put in place");
                    self.warn_of_forward_policy();
                }
                self.settled(RULES);
                true
            }
            Err(error) => {
                self.complain(RULES, error.to_string());
                false
            }
        }
    }

    fn warn_of_forward_policy(&mut self) {
        let dropped = self.settings.forward && self.rules.forward_is_dropped().unwrap_or(false);
        if dropped && !self.said.forward_dropped {
            tracing::warn!(overlay = %self.settings.name, "{}", self.rules.advice());
        }
        self.said.forward_dropped = dropped;
    }

    /// `subnet.env` is written once rules are in place, and again when subnet or MTU change or somebody removed it. A failure is tried
    /// again with the next check.
    fn write_env(&mut self) {
        let mtu = self.reconciler.wanted_device().mtu;
        let env = SubnetEnv::ipv4(self.network, self.subnet, mtu, self.settings.masquerade);
        if self.written.as_ref() != Some(&env) || !self.settings.subnet_file.exists() {
            match env.write(&self.settings.subnet_file) {
                Ok(()) => {
                    self.written = Some(env);
                    self.settled(SUBNET_FILE);
                }
                Err(error) => return self.complain(SUBNET_FILE, error.to_string()),
            }
        }
        let subnet = self.subnet;
        self.status.send_modify(|status| {
            status.ready = true;
            status.subnet = Some(subnet);
            status.mtu = mtu;
        });
    }
}

/// `ENODEV` of errno(3).
const ENODEV: i32 = 19;

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
