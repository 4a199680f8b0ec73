//! A node's life in one network, over any store: take a lease, renew it in time, hear of the peers, and when the lease is lost get it back,
//! the same subnet if nobody else has it, while the data path goes on working. Nothing here ever ends because a store is away.

use crate::backoff::Backoff;
use crate::lease::{Attributes, Lease, SubnetKey};
use crate::manager::{AcquireRequest, Error, Event, SubnetManager};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};

/// How long before its end a lease is renewed, unless told otherwise: flannel's hour.
pub const RENEW_MARGIN: Duration = Duration::from_secs(3600);

/// The clock is looked at this often, so that a suspended machine or a changed clock does not let a lease run out.
const TICK: Duration = Duration::from_secs(30);

/// What a member hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// Something about the peers; the node's own lease is never in it.
    Peers(Event),
    /// The node's lease is gone from the store. Peers may stop sending; the node keeps its subnet and asks for it again.
    Lost(SubnetKey),
    /// The node's lease after a loss or a change of its attributes. Usually the same subnet; another one only if somebody else has the old one.
    Own(Lease),
}

/// A node's place in a network; dropping it stops renewing but does not give the lease back.
#[derive(Debug)]
pub struct Membership {
    notices: mpsc::Receiver<Notice>,
    attributes: watch::Sender<Attributes>,
    task: tokio::task::JoinHandle<()>,
}

impl Membership {
    /// Takes a lease, waiting while the store is away or the network is full, and starts to keep it. `renew_margin` is how long before
    /// its end the lease is renewed ([`RENEW_MARGIN`]).
    ///
    /// # Errors
    /// Only what waiting cannot cure, see [`Error::is_temporary`].
    pub async fn join(
        manager: Arc<dyn SubnetManager>,
        request: AcquireRequest,
        renew_margin: Duration,
    ) -> Result<(Lease, Self), Error> {
        let own = acquire(&*manager, &request).await?;
        // a channel that holds a burst, and makes the store wait when the node is slower than that
        let (sender, notices) = mpsc::channel(1024);
        let (attributes, wanted) = watch::channel(request.attributes.clone());
        let events = manager.watch();
        let keeper = Keeper {
            due: due(&own, renew_margin),
            own: own.clone(),
            request,
            manager,
            renew_margin,
            missing: false,
            changed: false,
            withheld: None,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(60)),
            notices: sender,
        };
        Ok((own, Self { notices, attributes, task: tokio::spawn(keeper.run(events, wanted)) }))
    }

    /// What happened next; none only when the runtime ends. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }

    /// As [`Membership::next`], but takes all that is waiting, up to `limit`, so that a burst is worked on at once. Returns how many were added.
    pub async fn next_many(&mut self, into: &mut Vec<Notice>, limit: usize) -> usize {
        self.notices.recv_many(into, limit).await
    }

    /// Tells the peers new attributes: another MAC address, another public address. Written as soon as the store takes it; a
    /// [`Notice::Own`] follows.
    pub fn publish(&self, attributes: Attributes) {
        self.attributes.send_replace(attributes);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Acquires until it works.
async fn acquire(manager: &dyn SubnetManager, request: &AcquireRequest) -> Result<Lease, Error> {
    let mut backoff = Backoff::for_store();
    let mut told = String::new();
    loop {
        match manager.acquire(request).await {
            Ok(lease) => return Ok(lease),
            Err(error) if !error.is_temporary() => return Err(error),
            Err(error) => {
                let text = error.to_string();
                if told != text {
                    tracing::warn!(error = %text, "waiting for a subnet");
                    told = text;
                }
            }
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// When a lease is to be renewed: `margin` before its end, or half-way if the margin is longer than the lease. None: it never ends.
fn due(lease: &Lease, margin: Duration) -> Option<SystemTime> {
    let expires = lease.expires?;
    let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
    let early = if margin < left { margin } else { left / 2 };
    Some(expires.checked_sub(early).unwrap_or(expires))
}

/// The task behind a [`Membership`].
struct Keeper {
    manager: Arc<dyn SubnetManager>,
    request: AcquireRequest,
    renew_margin: Duration,
    own: Lease,
    /// When to write next.
    due: Option<SystemTime>,
    /// The store has shown that our lease is not there.
    missing: bool,
    /// Our attributes are newer than what the store has.
    changed: bool,
    /// What another node wrote under our subnet: a peer's lease as soon as we have moved elsewhere.
    withheld: Option<Lease>,
    backoff: Backoff,
    notices: mpsc::Sender<Notice>,
}

impl Keeper {
    async fn run(mut self, mut events: mpsc::Receiver<Event>, mut wanted: watch::Receiver<Attributes>) {
        loop {
            let pause = self.pause();
            tokio::select! {
                // peers first: renewing has hours, forwarding has not
                biased;
                event = events.recv() => match event {
                    Some(event) => self.hear(event).await,
                    None => return,
                },
                change = wanted.changed() => {
                    if change.is_err() {
                        return;
                    }
                    let attributes = wanted.borrow_and_update().clone();
                    if attributes != self.own.attributes {
                        self.request.attributes = attributes;
                        self.changed = true;
                        self.now();
                    }
                }
                () = tokio::time::sleep(pause) => if self.is_due() {
                    self.write().await;
                },
            }
        }
    }

    fn pause(&self) -> Duration {
        match self.due {
            None => TICK,
            Some(due) => due.duration_since(SystemTime::now()).unwrap_or_default().min(TICK),
        }
    }

    fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= SystemTime::now())
    }

    fn now(&mut self) {
        self.due = Some(SystemTime::now());
        self.backoff.reset();
    }

    /// Passes on what concerns peers and acts on what concerns us.
    async fn hear(&mut self, event: Event) {
        match event {
            Event::Snapshot(leases) => {
                let (ours, peers): (Vec<_>, Vec<_>) = leases.into_iter().partition(|lease| self.concerns_us(lease));
                // the listing is younger than our lease, which therefore must be in it
                let present = ours.iter().any(|lease| self.is_own(lease));
                self.withheld = ours.into_iter().find(|lease| self.is_foreign(lease));
                self.tell(Notice::Peers(Event::Snapshot(peers))).await;
                if !present {
                    self.lost().await;
                }
            }
            Event::Added(lease) | Event::Changed(lease) if self.is_foreign(&lease) => {
                self.withheld = Some(lease);
                self.lost().await;
            }
            Event::Added(ref lease) | Event::Changed(ref lease) if self.concerns_us(lease) => {
                // a peer's subnet that now carries our own address is nothing to send packets to
                if lease.subnet != self.own.subnet {
                    self.tell(Notice::Peers(Event::Removed(lease.key()))).await;
                }
            }
            Event::Removed(key) if key == self.own.key() => {
                self.withheld = None;
                self.lost().await;
            }
            event => self.tell(Notice::Peers(event)).await,
        }
    }

    fn concerns_us(&self, lease: &Lease) -> bool {
        lease.subnet == self.own.subnet || lease.attributes.public_ip == self.own.attributes.public_ip
    }

    fn is_own(&self, lease: &Lease) -> bool {
        lease.subnet == self.own.subnet && lease.attributes.public_ip == self.own.attributes.public_ip
    }

    fn is_foreign(&self, lease: &Lease) -> bool {
        lease.subnet == self.own.subnet && lease.attributes.public_ip != self.own.attributes.public_ip
    }

    async fn lost(&mut self) {
        if !self.missing {
            self.missing = true;
            tracing::warn!(subnet = %self.own.subnet, "our lease is gone from the store, asking for it again");
            self.tell(Notice::Lost(self.own.key())).await;
        }
        self.now();
    }

    /// Renews, publishes or re-acquires, whichever is called for, and says when to come back.
    async fn write(&mut self) {
        let mut lease = self.own.clone();
        lease.attributes = self.request.attributes.clone();
        let written = match self.manager.renew(&lease).await {
            Err(Error::Lost(_)) => {
                if !self.missing {
                    self.missing = true;
                    self.tell(Notice::Lost(self.own.key())).await;
                }
                self.request.previous_subnet = Some(self.own.subnet);
                self.manager.acquire(&self.request).await
            }
            other => other,
        };
        match written {
            Ok(lease) => self.settle(lease).await,
            Err(error) => {
                let pause = self.backoff.pause();
                tracing::warn!(subnet = %self.own.subnet, %error, retry_in = ?pause, "cannot renew the lease");
                self.due = SystemTime::now().checked_add(pause);
            }
        }
    }

    /// Lives on with the lease just written.
    async fn settle(&mut self, lease: Lease) {
        let moved = lease.subnet != self.own.subnet;
        let tell = moved || self.missing || self.changed;
        self.own = lease;
        self.due = due(&self.own, self.renew_margin);
        if self.missing {
            // whoever took it away may do so again before the watch has seen it back, which would then be silent: look once more
            self.due = SystemTime::now().checked_add(TICK).into_iter().chain(self.due).min();
        }
        self.backoff.reset();
        (self.missing, self.changed) = (false, false);
        if tell {
            tracing::info!(subnet = %self.own.subnet, moved, "our lease is in the store");
            self.tell(Notice::Own(self.own.clone())).await;
        }
        // whoever has our old subnet is a peer now, unless it is still ours and the other one has left
        if let Some(other) = self.withheld.take().filter(|_| moved) {
            self.tell(Notice::Peers(Event::Added(other))).await;
        }
    }

    async fn tell(&self, notice: Notice) {
        // nobody listens any more: the membership is being dropped, and with it this task
        let _ = self.notices.send(notice).await;
    }
}
