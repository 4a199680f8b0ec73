//! The CNI specification: types of every version, conversions, error codes, configuration, environment contract.
//!
//! Nothing here runs anything or touches the kernel: this crate turns text into checked values and back.
//! The module names follow the life of a request: [`mod@env`] and [`conf`] read it, [`args`] and [`names`] look closer,
//! [`exec`] says how a foreign plugin is called and what its answer means, [`result`] and [`error`] are the answer.

pub mod args;
pub mod conf;
pub mod env;
pub mod error;
pub mod exec;
pub mod gojson;
pub mod names;
pub mod result;
pub mod version;

pub use conf::{NetworkList, PluginConf};
pub use env::{Command, Request};
pub use error::{Error, code};
pub use result::{CniResult, Dns, Interface, Ip, Route};
pub use version::Version;
