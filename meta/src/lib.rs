//! The meta-plugin: everything that decides.
