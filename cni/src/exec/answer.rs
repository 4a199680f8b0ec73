//! What a plugin's exit status and output mean.
//!
//! Standard output is never quoted: a broken plugin may echo its standard input there, and that may hold secrets.

use serde::Deserialize;
use serde_json::Value;

use crate::env::Command;
use crate::error::{Error, code};
use crate::gojson;
use crate::result::CniResult;
use crate::version::Version;

/// How much of a plugin's standard error is repeated, in characters, counted from the end.
const STDERR_SHOWN: usize = 1024;

/// How a plugin ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// Killed by this signal.
    Signal(i32),
}

/// What a plugin left behind.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// How it ended.
    pub exit: Exit,
    /// What it printed on standard output, as far as it was kept.
    pub stdout: &'a [u8],
    /// Whether it printed more than was kept.
    pub stdout_truncated: bool,
    /// The end of what it printed on standard error.
    pub stderr: &'a [u8],
}

/// Turns what a plugin left behind into its result, or into its own error with code, message and details kept.
///
/// Only ADD has a result; for other verbs success is an empty one, whatever was printed. `assumed` is the version of
/// the configuration the plugin was given.
///
/// # Errors
/// The plugin's error; code 999 for a failure without a usable error document (with the end of standard error in the
/// details), code 6 for a success whose output is no result, code 1 for a result in an unknown version.
pub fn interpret(kind: &str, command: Command, output: Output<'_>, assumed: Version) -> Result<CniResult, Error> {
    if output.exit != Exit::Status(0) {
        return Err(failure(kind, command, output));
    }
    if command != Command::Add {
        return Ok(CniResult::default());
    }
    let unusable = |fault: String| with_stderr(Error::decode(format!("plugin {kind:?} succeeded but {fault}")), output);
    if output.stdout_truncated {
        return Err(unusable(format!("printed more than {} bytes", output.stdout.len())));
    }
    match documents(output.stdout).map_err(&unusable)?.as_slice() {
        [] => Ok(CniResult::default()),
        [document] => match error_document(document) {
            Some(error) => Err(error),
            None => CniResult::from_json(document, assumed)
                .map_err(|error| error.context(format!("the result of plugin {kind:?}"))),
        },
        several => Err(unusable(format!("printed {} JSON documents", several.len()))),
    }
}

/// Reads the answer to VERSION: the versions a plugin speaks.
///
/// # Errors
/// Code 6 when the answer is none.
pub fn versions(kind: &str, stdout: &[u8]) -> Result<Vec<Version>, Error> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "cniVersion", default)]
        cni_version: String,
        #[serde(rename = "supportedVersions", default)]
        supported_versions: Vec<String>,
    }
    let unusable = |fault: &dyn std::fmt::Display| Error::decode(format!("VERSION of plugin {kind:?}: {fault}"));
    let document: Value = serde_json::from_slice(stdout).map_err(|cause| unusable(&cause))?;
    let answer: Answer = gojson::from_ref(&document).map_err(|error| unusable(&error))?;
    match (answer.cni_version.as_str(), answer.supported_versions.as_slice()) {
        ("", _) => Err(unusable(&"missing field cniVersion")),
        // The first plugins that knew VERSION did not list what they spoke.
        ("0.2.0", []) => Ok(vec![Version::V0_1_0, Version::V0_2_0]),
        (_, []) => Err(unusable(&"missing field supportedVersions")),
        (_, listed) => listed.iter().map(|text| Version::parse(text)).collect(),
    }
}

/// The last document counts: the reference prints its result first when it refuses the namespace afterwards. Noise
/// after it is no reason to lose it.
fn failure(kind: &str, command: Command, output: Output<'_>) -> Error {
    let documents = serde_json::Deserializer::from_slice(output.stdout).into_iter::<Value>();
    if let Some(error) = documents.map_while(Result::ok).last().as_ref().and_then(error_document) {
        return error;
    }
    let end = match output.exit {
        Exit::Status(status) => format!("exit status {status}"),
        Exit::Signal(signal) => format!("killed by signal {signal}"),
    };
    let said = if output.stdout.trim_ascii().is_empty() { "no error document" } else { "no usable error document" };
    let verb = command.name();
    with_stderr(Error::internal(format!("plugin {kind:?} failed at {verb} with {said} ({end})")), output)
}

/// Every JSON document on standard output.
fn documents(stdout: &[u8]) -> Result<Vec<Value>, String> {
    let documents = serde_json::Deserializer::from_slice(stdout).into_iter::<Value>();
    documents.collect::<Result<_, _>>().map_err(|cause| format!("printed something other than JSON: {cause}"))
}

/// A code or a message makes an error document; a result has neither.
fn error_document(document: &Value) -> Option<Error> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        code: u32,
        #[serde(default)]
        msg: String,
        #[serde(default)]
        details: String,
    }
    let Document { code, msg, details } = gojson::from_ref(document).ok()?;
    if code == 0 && msg.is_empty() {
        return None;
    }
    Some(Error { code: if code == 0 { code::INTERNAL } else { code }, msg, details })
}

fn with_stderr(error: Error, output: Output<'_>) -> Error {
    let text = String::from_utf8_lossy(output.stderr);
    let text = text.trim();
    let start = text.char_indices().rev().nth(STDERR_SHOWN - 1).map_or(0, |(start, _)| start);
    match text.get(start..).unwrap_or_default() {
        "" => error,
        tail => error.with_details(format!("stderr: {tail}")),
    }
}
