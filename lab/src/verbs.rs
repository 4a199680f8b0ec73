//! The subcommands by which a lab makes and enters namespaces: `hold`, `enter`, `make-netns` and `remove-netns`.
//!
//! Any executable can serve a lab if it hands its arguments over to [`run`] before it starts a second thread.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::enter::{self, Enter};
use crate::hold;

/// Whether `verb` is one of ours.
#[must_use]
pub fn is_verb(verb: &str) -> bool {
    matches!(verb, "hold" | "enter" | "make-netns" | "remove-netns")
}

/// Does what the arguments after `lab` say.
///
/// # Errors
/// When that fails, or the arguments are not understood.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let verb = arguments.next().context("no verb is given")?;
    if verb == "hold" {
        return hold::hold();
    }
    let (entry, mut rest) = parse(arguments)?;
    match verb.to_str() {
        Some("enter") => Err(Enter { program: rest, ..entry }.become_program()),
        Some("make-netns") => enter::make_netns(entry.pid, &path(&mut rest)?),
        Some("remove-netns") => enter::remove_netns(entry.pid, &path(&mut rest)?),
        _ => bail!("{} is no verb of the lab", verb.to_string_lossy()),
    }
}

/// Options up to the first word that is none (or to `--`), and what follows.
fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<(Enter, Vec<OsString>)> {
    let mut entry = Enter::default();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{} needs a value", argument.to_string_lossy()));
        match argument.to_str() {
            Some("--pid") => {
                entry.pid = value()?.to_str().and_then(|text| text.parse().ok()).context("--pid is no number")?
            }
            Some("--netns") => entry.netns = Some(value()?.into()),
            Some("--env") => entry.environment.push((value()?, value()?)),
            Some("--guarded") => entry.guarded = true,
            Some("--") => return Ok((entry, arguments.collect())),
            _ => return Ok((entry, std::iter::once(argument).chain(arguments).collect())),
        }
    }
    Ok((entry, Vec::new()))
}

fn path(rest: &mut Vec<OsString>) -> Result<PathBuf> {
    rest.pop().map(PathBuf::from).context("no path is given")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> impl Iterator<Item = OsString> {
        text.split(' ').map(OsString::from).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn everything_after_two_dashes_is_the_program() {
        let (entry, rest) = parse(words("--pid 7 --netns /run/netns/a --env A b --guarded -- ping --pid 8")).unwrap();
        assert_eq!((entry.pid, entry.guarded), (7, true));
        assert_eq!(entry.netns, Some("/run/netns/a".into()));
        assert_eq!(entry.environment, [("A".into(), "b".into())]);
        assert_eq!(rest, ["ping", "--pid", "8"]);
    }

    #[test]
    fn a_process_id_must_be_a_number() {
        assert!(parse(words("--pid x")).is_err());
        assert!(parse(words("--pid")).is_err());
    }
}
