//! Tests of configurations, by file.

mod directory;
mod list;
mod plugin;

use serde_json::{Map, Value};

use super::PluginConf;

fn conf(value: Value) -> PluginConf {
    PluginConf::from_value(value).unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}
