//! The `Backend` object of a network configuration: how packets travel between nodes.

use super::FieldError;
use crate::fields::Fields;
use serde_json::{Map, Value};

/// The UDP port of a VXLAN device whose configuration names none: Linux' own default, not the 4789 of RFC 7348.
pub const VXLAN_PORT: u16 = 8472;

/// The largest VXLAN network identifier: 24 bits (RFC 7348, section 5).
const MAX_VNI: u32 = 0x00ff_ffff;

/// The names read into typed fields; every other key stays in [`Backend::other`].
const KNOWN: [&str; 7] = ["Type", "VNI", "Port", "MTU", "GBP", "Learning", "DirectRouting"];

/// How packets travel between the nodes of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// `Type` in lower case. A configuration without one means `udp`, whatever is written elsewhere about vxlan being the default.
    pub kind: String,
    /// `VNI`: the VXLAN network identifier, 1 by default.
    pub vni: u32,
    /// `Port`: the UDP port; none means [`VXLAN_PORT`].
    pub port: Option<u16>,
    /// `MTU` in bytes of the network that carries the packets; none means that of the node's interface.
    pub mtu: Option<u32>,
    /// `GBP`: the group based policy extension.
    pub gbp: bool,
    /// `Learning`: let the device learn peers from packets.
    pub learning: bool,
    /// `DirectRouting`: peers on the same link are reached without encapsulation.
    pub direct_routing: bool,
    /// The keys of other backends, as written.
    pub other: Map<String, Value>,
}

impl Backend {
    pub(super) fn from_fields(config: &Fields<'_>) -> Result<Self, FieldError> {
        let empty = Map::new();
        let object = config.object("Backend")?.unwrap_or(&empty);
        let fields = Fields::new("Backend.", object);
        let port = fields.number("Port", u32::from(u16::MAX))?.and_then(|port| u16::try_from(port).ok());
        Ok(Self {
            kind: fields.text("Type")?.filter(|kind| !kind.is_empty()).unwrap_or("udp").to_lowercase(),
            vni: fields.number("VNI", MAX_VNI)?.unwrap_or(1),
            port: port.filter(|port| *port != 0),
            mtu: fields.number("MTU", u32::MAX)?.filter(|mtu| *mtu != 0),
            gbp: fields.boolean("GBP")?.unwrap_or(false),
            learning: fields.boolean("Learning")?.unwrap_or(false),
            direct_routing: fields.boolean("DirectRouting")?.unwrap_or(false),
            other: object
                .iter()
                .filter(|(key, _)| !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(key)))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        })
    }

    /// The UDP port in use.
    pub fn udp_port(&self) -> u16 {
        self.port.unwrap_or(VXLAN_PORT)
    }
}
