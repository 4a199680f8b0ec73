//! One namespace with its sockets and what is known of its interfaces.

use std::collections::HashMap;

use super::errors::StepError;
use crate::message;
use crate::netlink::{NetlinkError, Protocol, Socket};
use crate::nft;
use crate::ns::{Namespace, NamespaceError};
use crate::snapshot::{LinkFacts, link_by_name};

/// A namespace that operations happen in.
#[derive(Debug)]
pub(super) struct Site {
    /// `None` is the namespace of the calling thread.
    namespace: Option<Namespace>,
    route: Option<Socket>,
    nft: Option<nft::Socket>,
    indexes: HashMap<String, u32>,
}

impl Site {
    pub(super) fn new(namespace: Option<Namespace>) -> Self {
        Self { namespace, route: None, nft: None, indexes: HashMap::new() }
    }

    pub(super) const fn namespace(&self) -> Option<&Namespace> {
        self.namespace.as_ref()
    }

    pub(super) fn forget_names(&mut self) {
        self.indexes.clear();
    }

    /// Runs something inside the namespace: in place where the caller is there already.
    pub(super) fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        match &self.namespace {
            Some(namespace) => namespace.run(task),
            None => Ok(task()),
        }
    }

    /// The route-netlink socket.
    pub(super) fn route(&mut self) -> Result<&mut Socket, NetlinkError> {
        if self.route.is_none() {
            self.route = Some(match &self.namespace {
                Some(namespace) => Socket::open_in(Protocol::Route, namespace)?,
                None => Socket::open(Protocol::Route)?,
            });
        }
        self.route.as_mut().ok_or_else(|| NetlinkError::new(libc::EIO, "open netlink socket"))
    }

    /// The nftables socket.
    pub(super) fn nft(&mut self) -> Result<&mut nft::Socket, nft::Error> {
        if self.nft.is_none() {
            self.nft = Some(match &self.namespace {
                Some(namespace) => nft::Socket::open_in(namespace)?,
                None => nft::Socket::open()?,
            });
        }
        self.nft.as_mut().ok_or_else(|| NetlinkError::new(libc::EIO, "open nftables socket").into())
    }

    /// The index of an interface, looked up once.
    pub(super) fn index(&mut self, name: &str) -> Result<Option<u32>, NetlinkError> {
        if let Some(index) = self.indexes.get(name) {
            return Ok(Some(*index));
        }
        let found = link_by_name(self.route()?, name)?.map(|link| link.index);
        self.indexes.extend(found.map(|index| (name.to_owned(), index)));
        Ok(found)
    }

    /// Makes sure that a bridge is there and up.
    pub(super) fn ensure_bridge(&mut self, wanted: &message::link::Bridge<'_>) -> Result<(), StepError> {
        if self.indexes.contains_key(wanted.name) {
            return Ok(());
        }
        let (found, created) = match link_by_name(self.route()?, wanted.name)? {
            Some(found) => (found, false),
            None => (self.create_bridge(wanted)?, true),
        };
        if found.kind.as_deref() != Some("bridge") {
            let cause =
                format!("interface {} exists and is not a bridge; remove it or choose another name", found.name);
            return Err(StepError::other(Some(libc::EEXIST), cause));
        }
        let mtu = wanted.mtu.filter(|mtu| created && *mtu != found.mtu);
        self.adjust_bridge(&found, wanted, mtu)?;
        self.indexes.insert(found.name, found.index);
        Ok(())
    }

    /// Creates a bridge; somebody else may be faster, which is as good. The MTU is set afterwards: only then the bridge keeps it, and
    /// does not follow its ports (`br_change_mtu` in net/bridge/br_device.c).
    fn create_bridge(&mut self, wanted: &message::link::Bridge<'_>) -> Result<LinkFacts, StepError> {
        let socket = self.route()?;
        let bare = message::link::Bridge { mtu: None, ..*wanted };
        match socket.call(&message::link::create_bridge(&bare)) {
            Err(error) if error.errno != libc::EEXIST => return Err(error.into()),
            _ => {}
        }
        let found = link_by_name(socket, wanted.name)?;
        found.ok_or_else(|| StepError::other(Some(libc::ENODEV), "the bridge vanished while it was being set up"))
    }

    fn adjust_bridge(
        &mut self,
        found: &LinkFacts,
        wanted: &message::link::Bridge<'_>,
        mtu: Option<u32>,
    ) -> Result<(), StepError> {
        let filtering = found.bridge.as_ref().is_some_and(|bridge| bridge.vlan_filtering);
        let (index, name) = (found.index, wanted.name);
        let changes = [
            mtu.map(|mtu| message::link::set_mtu(index, name, mtu)),
            (!found.up).then(|| message::link::set_up(index, name)),
            (wanted.promisc && !found.promisc).then(|| message::link::set_promisc(index, name)),
            (wanted.vlan_filtering && !filtering).then(|| message::link::enable_vlan_filtering(index, name)),
        ];
        let changes: Vec<_> = changes.into_iter().flatten().collect();
        match self.route()?.batch(&changes).into_iter().next() {
            Some(failure) => Err(failure.error.into()),
            None => Ok(()),
        }
    }
}
