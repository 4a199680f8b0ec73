//! Network configurations: what an administrator wrote, kept as it was written.
//!
//! A plugin's configuration belongs to the plugin, so the object is never taken apart and put together again: it is
//! checked where we depend on it, keys are injected as the specification says (section 3, "Deriving request
//! configuration from plugin configuration"), and all else passes through untouched.

pub mod directory;
mod list;
mod plugin;

pub use list::NetworkList;
pub use plugin::{Attachment, PluginConf};

#[cfg(test)]
mod tests;
