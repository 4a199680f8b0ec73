//! One request to the kernel, encoded, with words for what it asks.

use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;

/// Length of a netlink message header (`struct nlmsghdr`), in bytes.
pub(crate) const HEADER: usize = 16;

/// An encoded request. Its sequence number and acknowledgement flag are filled in when it is sent, so that one can be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    bytes: Vec<u8>,
    what: String,
}

impl Message {
    /// Encodes a route-netlink request; `flags` are added to `NLM_F_REQUEST`.
    #[must_use]
    pub fn route(payload: RouteNetlinkMessage, flags: u16, what: impl Into<String>) -> Self {
        let mut message = NetlinkMessage::from(payload);
        message.header.flags = NLM_F_REQUEST | flags;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        Self { bytes, what: what.into() }
    }

    /// Encodes a request from its parts: for message types that netlink-packet-route does not know. `body` is the family's header
    /// with the attributes behind it.
    #[must_use]
    pub fn raw(kind: u16, flags: u16, body: &[u8], what: impl Into<String>) -> Self {
        let length = HEADER + body.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(body);
        Self { bytes, what: what.into() }
    }

    /// What is asked for, in words.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The encoded request, header included.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
