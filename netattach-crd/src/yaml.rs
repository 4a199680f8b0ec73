//! YAML and JSON text to documents, as tolerant of indentation as the YAML reader of kubectl.
//!
//! NADs are mostly written with their configuration as a quoted scalar whose last line, `}'`, stands right below the
//! key. YAML 1.2 (7.3.2) forbids that and Go's reader takes it, so everyone writes it, the article and the manuals
//! included. White space at the start of a line within a quoted scalar means nothing (YAML 1.2, 6.5): such lines are
//! indented further, one at a time as the parser names them, and the text is read again.

use serde_json::Value;
use serde_saphyr::granit_parser::ErrorKind;
use serde_saphyr::localizer::ExternalMessageSource;
use std::borrow::Cow;

/// How many lines of a text may be indented: each costs reading the text once more.
const MOST_MENDED_LINES: usize = 256;

/// Text that is no YAML.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    /// Position of the document, from 1.
    pub(crate) document: usize,
    /// Line in the whole text, from 1.
    pub(crate) line: u64,
    /// The parser's words; they hold nothing of the text.
    pub(crate) problem: String,
}

/// The documents of a text, without the empty ones. JSON is read as JSON, which takes a tenth of the time.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, SyntaxError> {
    if text.trim_start().starts_with('{') {
        let documents: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
        if let Ok(documents) = documents {
            return Ok(documents);
        }
    }
    let mut text = Cow::Borrowed(text);
    let mut mended = 0;
    loop {
        let (document, error) = match read(&text) {
            Ok(documents) => return Ok(documents),
            Err(failed) => failed,
        };
        let line = error.location().map(|at| at.line()).unwrap_or_default();
        match usize::try_from(line) {
            Ok(line) if is_indentation(&error) && mended < MOST_MENDED_LINES => text = Cow::Owned(indent(&text, line)),
            _ => return Err(SyntaxError { document, line, problem: error.without_snippet().to_string() }),
        }
        mended += 1;
    }
}

fn read(text: &str) -> Result<Vec<Value>, (usize, serde_saphyr::Error)> {
    // a node called "n" or an annotation "on" is a string, as in YAML 1.2
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    let mut documents = Vec::new();
    let mut bytes = text.as_bytes();
    for document in serde_saphyr::read_with_options(&mut bytes, options) {
        documents.push(document.map_err(|error| (documents.len() + 1, error))?);
    }
    Ok(documents)
}

/// Whether a line inside a quoted scalar is not indented enough.
fn is_indentation(error: &serde_saphyr::Error) -> bool {
    let serde_saphyr::Error::ExternalMessage { source, .. } = error.without_snippet() else { return false };
    matches!(source.as_ref(), ExternalMessageSource::Parser(error) if *error.kind() == ErrorKind::InvalidQuotedScalarIndent)
}

/// The text with line `number` (from 1) indented further than any line of it.
fn indent(text: &str, number: usize) -> String {
    let widest = text.lines().map(|line| line.len() - line.trim_start().len()).max().unwrap_or_default();
    let mut indented = String::with_capacity(text.len() + widest + 1);
    for (position, line) in (1..).zip(text.split_inclusive('\n')) {
        if position == number {
            indented.extend(std::iter::repeat_n(' ', widest + 1));
        }
        indented.push_str(line);
    }
    indented
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_quoted_scalar_may_end_below_its_key() {
        let text = "spec:\n  config: '{\n  \"a\": 1,\n\n\"b\": 2\n  }'\n  c: \"x\n  y\"\nd: e\n";
        let documents = documents(text).unwrap();
        assert_eq!(documents, [json!({"spec": {"config": "{ \"a\": 1,\n\"b\": 2 }", "c": "x y"}, "d": "e"})]);
    }

    #[test]
    fn only_true_and_false_are_booleans() {
        let documents = documents("[n, on, yes, true]").unwrap();
        assert_eq!(documents, [json!(["n", "on", "yes", true])]);
    }

    #[test]
    fn the_first_error_that_is_none_of_indentation_is_reported() {
        let error = documents("a: 1\n---\nb: '{\n}'\nc: [\n").unwrap_err();
        assert_eq!(error.document, 2);
        assert!(!error.problem.contains('\n'), "{}", error.problem);
    }
}
