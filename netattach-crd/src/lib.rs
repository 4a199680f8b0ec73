//! Types and text of the NPWG multi-network API: NADs, selection elements, network-status.
