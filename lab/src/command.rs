//! Running a program to its end, with an error that says what it said.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs `command` and gives its standard output.
///
/// # Errors
/// When it cannot be started or fails; the error carries what it wrote.
pub fn run(command: &mut Command) -> Result<String> {
    run_with(command, "")
}

/// Runs `command` with `input` on its standard input and gives its standard output.
///
/// # Errors
/// As [`run`].
pub fn run_with(command: &mut Command, input: &str) -> Result<String> {
    let output = command_output(command, input)?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{} failed ({}): {}", text(command), output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` with `input` on its standard input and gives everything it left, success or not.
///
/// # Errors
/// When it cannot be started or its pipes break.
pub fn command_output(command: &mut Command, input: &str) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", text(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // a program that does not read its input is free to; what it thinks of that is in its status
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output().with_context(|| format!("wait for {}", text(command)))
}

/// The command as it would be typed, without the way into the namespace.
#[must_use]
pub fn text(command: &Command) -> String {
    let all: Vec<_> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(|part| part.to_string_lossy()).collect();
    let typed =
        all.iter().position(|part| part == "--").map_or(all.as_slice(), |at| all.get(at + 1..).unwrap_or_default());
    typed.join(" ")
}
