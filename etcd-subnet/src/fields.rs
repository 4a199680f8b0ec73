//! Reading a JSON object as Go's `encoding/json` reads it: names match whatever their case, the last one wins, null means absent.
//! The files and keys this crate reads were written for Go programs, and people rely on that tolerance.

use serde_json::{Map, Value};

/// A field that is there but cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {field}: {reason}")]
pub struct FieldError {
    /// The field's name, with the objects around it: `Backend.VNI`.
    pub field: String,
    /// What is wrong with its value.
    pub reason: String,
}

impl FieldError {
    /// An error about `field`.
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// The fields of one object; `path` is put before every name in an error.
pub(crate) struct Fields<'a> {
    path: &'static str,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(path: &'static str, object: &'a Map<String, Value>) -> Self {
        Self { path, object }
    }

    /// The value of a field; null counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object
            .iter()
            .filter(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null())
            .map(|(_, value)| value)
            .next_back()
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, FieldError> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, FieldError> {
        self.typed(name, "true or false", Value::as_bool)
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, FieldError> {
        self.typed(name, "an object", Value::as_object)
    }

    /// A whole number of at most `max`.
    pub(crate) fn number(&self, name: &str, max: u32) -> Result<Option<u32>, FieldError> {
        let wanted = format!("a whole number from 0 to {max}");
        self.typed(name, &wanted, |value| {
            value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number <= max)
        })
    }

    /// A text that `parse` understands, such as an address.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, name: &str, wanted: &str) -> Result<Option<T>, FieldError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.error(name, format!("`{text}` is not {wanted}"))),
        }
    }

    pub(crate) fn error(&self, name: &str, reason: impl Into<String>) -> FieldError {
        FieldError::new(format!("{}{name}", self.path), reason)
    }

    fn typed<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FieldError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.error(name, format!("{value} is not {wanted}")))
    }
}
