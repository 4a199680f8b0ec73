//! The CNI protocol's edge: environment and stdin in, one JSON document on stdout and an exit status out.

use crate::handle::handle;
use crate::invocation::Invocation;
use cni::{Command, Error, Request, Version};
use serde_json::Value;
use std::io::{Read, Write};
use std::process::ExitCode;

/// Serves one call of a container runtime for the program called `name`.
pub fn run(name: &str) -> ExitCode {
    let mut version = Version::CURRENT;
    match serve(name, &mut version) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(document)) => print(&document, ExitCode::SUCCESS),
        Err(error) => print(&error.to_json(version), ExitCode::FAILURE),
    }
}

/// The answer, and as soon as it is known the version in which it has to be given, an error's as well.
fn serve(name: &str, version: &mut Version) -> Result<Option<Value>, Error> {
    let request = Request::from_lookup(|variable| std::env::var_os(variable))?;
    let request = request.ok_or_else(|| Error::environment("CNI_COMMAND is missing"))?;
    if request.command == Command::Version {
        return Ok(Some(cni::env::version_answer()));
    }
    let mut stdin = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut stdin)
        .map_err(|error| Error::io("cannot read the configuration from stdin", &error))?;
    let invocation = Invocation::read(name, &stdin)?;
    *version = invocation.config.version()?;
    request.command.allowed_in(*version)?;
    handle(&request, &invocation)
}

fn print(document: &Value, code: ExitCode) -> ExitCode {
    let text = format!("{document:#}\n");
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE, // nobody is listening any more
    }
}
