//! What went wrong while reading a value, and at which key.

use std::fmt;

/// Longest part of a message or value that is repeated to the user, in characters.
const SHOWN: usize = 200;

/// One step on the way to a value.
#[derive(Debug)]
enum Segment {
    Key(String),
    Index(usize),
}

/// A message, and the path it belongs to (innermost step first: it grows while the error travels outwards).
#[derive(Debug)]
pub(super) struct Failure {
    path: Vec<Segment>,
    message: String,
}

impl Failure {
    pub(super) fn under_key(mut self, key: &str) -> Self {
        self.path.push(Segment::Key(key.to_owned()));
        self
    }

    pub(super) fn under_index(mut self, index: usize) -> Self {
        self.path.push(Segment::Index(index));
        self
    }

    /// Adds the text that was refused, unless the message quotes it already.
    pub(super) fn about(mut self, text: &str) -> Self {
        if self.path.is_empty() && !self.message.contains('"') {
            self.message = format!("{}: {:?}", self.message, shorten(text));
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.path.iter().rev().enumerate() {
            match segment {
                Segment::Key(key) if place == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: Vec::new(), message: shorten(&message.to_string()) }
    }
}

/// Values end up in messages, and a value can be a whole file.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
