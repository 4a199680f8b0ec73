//! The meta-plugin: everything that decides. The binary is a table of contents over these modules; tests call them.

pub mod agent;
pub mod chain;
pub mod check;
pub mod config;
pub mod default_route;
pub mod flanneld;
pub mod gc;
pub mod handle;
pub mod inspect;
pub mod invocation;
pub mod journal;
pub mod lab_command;
pub mod lock;
pub mod log;
pub mod network_status;
pub mod node;
pub mod overlay_init;
pub mod plan_command;
pub mod plugin;
pub mod salvage;
pub mod select;
pub mod source;
pub mod undo;
pub mod usage;
