//! The program. What it does is decided by how it is called, before any runtime or configuration exists:
//!
//! - by a container runtime (`CNI_COMMAND` is set): a CNI plugin, the meta-plugin or a bundled one by its own name;
//! - as `flanneld`: the overlay agent behind flanneld's flags;
//! - otherwise by its first argument.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = program_name(arguments.next());
    if std::env::var_os("CNI_COMMAND").is_some() {
        return match arguments.next() {
            Some(verb) if verb == "plan" => plexus::plan_command::run(&name),
            _ => plexus::plugin::run(&name),
        };
    }
    if name == "flanneld" {
        return finish(plexus::flanneld::run(arguments));
    }
    let command = arguments.next().and_then(|command| command.into_string().ok()).unwrap_or_default();
    match command.as_str() {
        "agent" => finish(plexus::agent::run(arguments)),
        "flanneld" => finish(plexus::flanneld::run(arguments)),
        "overlay" => finish(plexus::overlay_init::run(arguments)),
        "lab" => plexus::lab_command::run(arguments),
        "list" => plexus::inspect::list(arguments),
        "show" => plexus::inspect::show(arguments),
        "version" | "--version" | "-V" => plexus::usage::version(),
        "help" | "--help" | "-h" => plexus::usage::help(),
        other => plexus::usage::unknown(other, &name),
    }
}

/// A failure is one line on stderr, with everything that led to it.
fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("plexus: {error:#}");
        ExitCode::FAILURE
    })
}

fn program_name(argument: Option<OsString>) -> String {
    let path = argument.unwrap_or_default();
    Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
