//! The firewall rules of an overlay: masquerading of what leaves it, acceptance of what is forwarded for it.
//!
//! The rules are `net::nft::rulesets::flannel`, flannel's iptables rules in a table of the network's own. They are checked against the
//! kernel and committed as a whole when anything differs, at the start, when the kernel tells of a change by somebody else, and on a
//! timer. They stay when the agent stops, as the data path does.
//!
//! The kernel asks every table at a hook, so the `accept` here cannot overrule a `drop` elsewhere. The usual case is the `FORWARD` chain of
//! iptables with policy DROP (Docker sets it): forwarded overlay traffic is then dropped by iptables whatever this table says. Rules
//! cannot be put into that chain from here, because iptables refuses to work on a table that holds rules it did not write; so
//! the case is recognised and reported with the two commands that cure it.

use std::io;

use ipnet::Ipv4Net;
use net::nft::rulesets::flannel::{self, Network, Wanted};
use net::nft::{Error, Event, Family, Monitor, Policy, Socket, Table, Transaction};
use tokio::io::unix::AsyncFd;

use crate::drift::register;

/// The rules of one overlay.
#[derive(Debug)]
pub struct Rules {
    socket: Socket,
    name: String,
    wanted: Wanted,
    network: Ipv4Net,
    transaction: Transaction,
}

impl Rules {
    /// The rules of the overlay `name`, in the namespace of the calling thread. Nothing is touched yet.
    ///
    /// # Errors
    /// When the kernel has no nftables.
    pub fn open(name: &str, network: Ipv4Net, wanted: Wanted) -> Result<Self, Error> {
        let socket = Socket::open()?;
        Ok(Rules { socket, name: name.to_owned(), wanted, network, transaction: Transaction::default() })
    }

    /// Says which part of the network is this node's. With nothing wanted, the rules are none, and those of an earlier run go.
    pub fn set_subnet(&mut self, subnet: Ipv4Net) {
        self.transaction = if self.wanted.masquerade || self.wanted.forward {
            let network = Network { network: self.network.into(), subnet: subnet.into() };
            flannel::rules(&self.name, &[network], self.wanted)
        } else {
            flannel::remove(&self.name)
        };
    }

    /// Makes the rules what they should be; returns what differed, in words.
    ///
    /// # Errors
    /// The kernel's refusal. The old rules are then still in place.
    pub fn ensure(&mut self) -> Result<Vec<String>, Error> {
        let differences = self.socket.differences(&self.transaction)?;
        if !differences.is_empty() {
            self.socket.commit(&self.transaction)?;
        }
        Ok(differences)
    }

    /// Whether a change to the ruleset can concern these rules.
    fn concerns(&self, event: &Event) -> bool {
        match event {
            Event::Overrun => true,
            Event::Changed { table, .. } => *table == flannel::table(&self.name, Family::Ip).name,
        }
    }

    /// Whether iptables drops forwarded packets that none of its own rules accept.
    ///
    /// # Errors
    /// The kernel's refusal, or a failure of the socket.
    pub fn forward_is_dropped(&mut self) -> Result<bool, Error> {
        let filter = self.socket.read_table(&Table::new(Family::Ip, "filter"))?;
        let chain = filter.as_ref().and_then(|table| table.chains.get("FORWARD"));
        Ok(chain.and_then(|chain| chain.base).is_some_and(|base| base.policy == Policy::Drop))
    }

    /// What to do about [`Rules::forward_is_dropped`].
    #[must_use]
    pub fn advice(&self) -> String {
        let network = self.network;
        format!(
            "the FORWARD chain of iptables drops by default, which a rule of ours cannot overrule; if pods cannot reach each other: \
             iptables -A FORWARD -s {network} -j ACCEPT; iptables -A FORWARD -d {network} -j ACCEPT"
        )
    }
}

/// Tells when somebody changed the ruleset.
#[derive(Debug)]
pub struct RuleWatch {
    monitor: AsyncFd<Monitor>,
    events: Vec<Event>,
}

impl RuleWatch {
    /// Subscribes in the namespace of the calling thread, which must run a tokio runtime.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open() -> Result<Self, Error> {
        let monitor = register(Monitor::open()?);
        let failed = |error: io::Error| Error {
            errno: error.raw_os_error().unwrap_or_default(),
            position: None,
            what: "register nftables monitor".to_owned(),
            explanation: None,
        };
        Ok(RuleWatch { monitor: monitor.map_err(failed)?, events: Vec::new() })
    }

    /// Waits until the table of `rules` may have changed. Our own commits come back here as well; checking then finds no difference.
    ///
    /// # Errors
    /// A failure of the socket, after which nothing more will be noticed.
    pub async fn changed(&mut self, rules: &Rules) -> io::Result<()> {
        loop {
            let mut ready = self.monitor.readable_mut().await?;
            let mut concerned = false;
            loop {
                self.events.clear();
                if !ready.get_inner_mut().read(&mut self.events)? {
                    break;
                }
                concerned |= self.events.iter().any(|event| rules.concerns(event));
            }
            ready.clear_ready();
            if concerned {
                return Ok(());
            }
        }
    }
}
