//! Types and text of the NPWG multi-network API (multi-net-spec v1.3): NADs, the elements by which a pod selects them,
//! the annotation that holds the elements, the network-status, and the manifests all of it comes in.
//!
//! Nothing here does I/O or knows of a kernel: text in, values out, and every refusal says what is wrong and where.

pub mod annotation;
pub mod device;
mod element;
mod fault;
mod hardware;
pub mod manifest;
pub mod nad;
pub mod name;
mod pod;
mod selection;
pub mod status;
mod yaml;

pub use fault::{Fault, Faults};
pub use hardware::{Guid, Mac};
pub use nad::Nad;
pub use pod::Pod;
pub use selection::{Address, Bandwidth, PortMapping, Protocol, Selection};
