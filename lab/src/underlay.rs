//! The network between the nodes: a bridge in a namespace of its own.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::Space;

/// The bridge between the nodes. Addresses are those of RFC 5737's TEST-NET-1, which nothing else uses.
#[derive(Debug)]
pub struct Underlay {
    space: Space,
    taken: u8,
}

/// The underlay's own address: the nodes' default gateway, and "the outside world" for tests of masquerading.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The name of a node's interface on the underlay.
pub const INTERFACE: &str = "eth0";

impl Underlay {
    /// Makes the namespace and the bridge.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(program: &Path) -> Result<Self> {
        let space = Space::new(program).context("make the underlay")?;
        space.ip(&format!(
            "link set lo up\nlink add underlay type bridge\naddr add {GATEWAY}/24 dev underlay\nlink set underlay up\n"
        ))?;
        Ok(Self { space, taken: 10 })
    }

    /// Connects a namespace: an interface `eth0` with the next address and a default route. Gives the address.
    ///
    /// # Errors
    /// When 192.0.2.0/24 is used up or the kernel refuses.
    pub fn attach(&mut self, space: &Space) -> Result<Ipv4Addr> {
        let last =
            self.taken.checked_add(1).filter(|last| *last < 255).context("no address is left on the underlay")?;
        let address = Ipv4Addr::new(192, 0, 2, last);
        self.space.ip(&format!(
            "link add port{last} type veth peer name {INTERFACE} netns {pid}\nlink set port{last} master underlay up\n",
            pid = space.pid()
        ))?;
        space.ip(&format!(
            "link set lo up\naddr add {address}/24 dev {INTERFACE}\nlink set {INTERFACE} up\nroute add default via {GATEWAY}\n"
        ))?;
        self.taken = last;
        Ok(address)
    }

    /// The namespace with the bridge, for looking at it or for running something outside the nodes.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }
}
