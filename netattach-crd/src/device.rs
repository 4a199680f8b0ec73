//! Device information (k8snetworkplumbingwg device-info-spec v1.1.0): what a device plugin or a CNI plugin says about
//! the device behind an interface, carried in files and in the network-status.

use serde::{Deserialize, Serialize};

/// The version of the specification these types follow.
pub const VERSION: &str = "1.1.0";

/// What is known of the device behind an interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// `pci`, `vhost-user`, `memif` or `vdpa`; says which of the parts is filled in.
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Version of the specification.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// A PCI function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci: Option<PciDevice>,
    /// A vDPA device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vdpa: Option<VdpaDevice>,
    /// A vhost-user socket.
    #[serde(rename = "vhost-user", default, skip_serializing_if = "Option::is_none")]
    pub vhost_user: Option<VhostDevice>,
    /// A memif socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memif: Option<MemifDevice>,
}

/// A PCI function.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct PciDevice {
    /// Address on the bus, such as `0000:03:02.3`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pci_address: String,
    /// Path of the vhost-net device.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vhost_net: String,
    /// Name of the RDMA device.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rdma_device: String,
    /// Address of the physical function.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pf_pci_address: String,
    /// Name of the representor interface.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub representor_device: String,
}

/// A vDPA device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct VdpaDevice {
    /// The device it is made from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub parent_device: String,
    /// `vhost` or `virtio`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Path of the character device.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Address on the bus.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pci_address: String,
    /// Address of the physical function.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pf_pci_address: String,
    /// Name of the representor interface.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub representor_device: String,
}

/// A vhost-user socket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VhostDevice {
    /// `client` or `server`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// Path of the socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// A memif socket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemifDevice {
    /// `master` or `slave`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// Path of the socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// `ethernet`, `ip` or `punt-inject`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
}
