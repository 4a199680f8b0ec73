//! What is wrong with an annotation: every fault at once, each with the element and the key it sits in, because a user
//! who mends one fault per pod restart stops reading.

use std::fmt;

/// One thing that is wrong with an annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Position of the element in the annotation, from 1; none when the annotation as a whole is at fault.
    pub element: Option<usize>,
    /// The name the element gives, for finding it; empty when it has none.
    pub name: String,
    /// The key, with indexes (`portMappings[1].hostPort`); empty when the element as a whole is at fault.
    pub key: String,
    /// What is wrong and, where it helps, what would be right.
    pub problem: String,
}

impl Fault {
    /// A fault of the annotation as a whole.
    pub(crate) fn general(problem: impl Into<String>) -> Self {
        Self { element: None, name: String::new(), key: String::new(), problem: problem.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(element) = self.element {
            write!(f, "element {element}")?;
            if !self.name.is_empty() {
                write!(f, " ({:?})", self.name)?;
            }
            f.write_str(": ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)
    }
}

/// All that is wrong with an annotation; never empty when it is returned as an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
