//! JSON as Go's `encoding/json` reads it, because every configuration in use today was written against that reader.
//!
//! Two habits of it matter: keys of structs match in any case (`"BRIDGE"` and `"bandWidth"` work on real nodes), and
//! `null` is the same as leaving the key out. Keys of maps keep their case. [`from_ref`] and [`from_value`] read any
//! serde type that way, and name the place of a mistake (`ipam.ranges[0][1].subnet: …`).
//!
//! Limits, which come from serde: the fields of a `#[serde(flatten)]`ed struct and those of enums are matched with their
//! case, because serde asks for them as a map.

mod failure;
mod node;

use serde::de::{Deserialize, DeserializeOwned};
use serde_json::{Map, Value};

use crate::error::Error;

/// Reads `T` out of a JSON value that may be dropped afterwards.
///
/// # Errors
/// Code 6, with the path of the key in the message.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    from_ref(&value)
}

/// Reads `T` out of a JSON value; strings may be borrowed from it.
///
/// # Errors
/// Code 6, with the path of the key in the message.
pub fn from_ref<'a, T: Deserialize<'a>>(value: &'a Value) -> Result<T, Error> {
    T::deserialize(node::Node(value)).map_err(|failure| Error::decode(failure.to_string()))
}

/// The same for an object that is at hand without its [`Value`] wrapper.
///
/// # Errors
/// Code 6, with the path of the key in the message.
pub fn from_object<'a, T: Deserialize<'a>>(object: &'a Map<String, Value>) -> Result<T, Error> {
    T::deserialize(node::Object(object)).map_err(|failure| Error::decode(failure.to_string()))
}

/// The value of `name` in any case: the exact spelling if it is there, else the last one that differs only in case.
/// `null` counts as absent.
pub fn lookup<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(name).filter(|value| !value.is_null()) {
        return Some(value);
    }
    let mut folded = object.iter().filter(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null());
    folded.next_back().map(|(_, value)| value)
}

/// Takes every spelling of `name` out of the object. Needed before writing a key, since a second spelling of it might
/// win in the next reader.
pub fn remove(object: &mut Map<String, Value>, name: &str) {
    object.retain(|key, _| !key.eq_ignore_ascii_case(name));
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::any_json;
