//! `plexus agent`: one process for everything a node needs, today its overlays.
//!
//! The reading order is that of a run: arguments here, `config`, `store` (who owns which subnet), `serve` (until a signal).

pub mod config;
mod nearest;
mod serve;
mod store;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;
use overlay::network::Settings;
use overlay::underlay::Choice;

pub use config::{AgentConfig, EtcdConfig, OverlayConfig, StoreConfig};
pub use nearest::nearest;
pub use serve::{Member, Persistence, serve};
pub use store::open_store;

const HELP: &str = "\
Usage: plexus agent --config FILE

Runs the overlays that FILE (YAML) lists, until SIGTERM or SIGINT. Stopping leaves their
data path in place; a restarted agent takes over what it finds.
";

/// Runs the agent with the arguments after `agent`.
///
/// # Errors
/// Wrong arguments, a configuration that cannot be used, or a system without what an agent needs.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let Some(file) = config_file(arguments)? else {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let config = AgentConfig::load(&file)?;
    let members = config.overlays.iter().map(|overlay| member(&config, overlay)).collect::<Result<Vec<_>>>()?;
    if members.is_empty() {
        bail!("{}: no overlays, nothing to do", file.display());
    }
    serve(members, Persistence::KeepTrying)
}

/// The file named by `--config`; `None` when help was asked for.
fn config_file(arguments: impl Iterator<Item = OsString>) -> Result<Option<PathBuf>> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut file = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Short('c') | Long("config") => file = Some(PathBuf::from(parser.value()?)),
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    file.context("--config FILE is missing (plexus agent --help)").map(Some)
}

fn member(config: &AgentConfig, overlay: &OverlayConfig) -> Result<Member> {
    let manager = open_store(&overlay.store).with_context(|| format!("overlay {}", overlay.name))?;
    let settings = Settings {
        name: overlay.name.clone(),
        choice: Choice {
            interfaces: overlay.iface.clone(),
            patterns: overlay.iface_regex.clone(),
            can_reach: overlay.iface_can_reach,
            public: overlay.public_ip,
        },
        mtu: overlay.mtu,
        subnet_file: overlay.subnet_file.clone(),
        masquerade: overlay.ip_masq,
        forward: overlay.forward_rules,
        state_dir: config.state_dir.clone(),
        renew_margin: Duration::from_secs(60 * u64::from(overlay.lease_renew_margin)),
        check_every: Settings::CHECK_EVERY,
    };
    Ok(Member { settings, manager })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(arguments: &[&str]) -> Result<Option<PathBuf>> {
        config_file(arguments.iter().map(OsString::from))
    }

    #[test]
    fn the_configuration_file_must_be_named() {
        assert_eq!(file(&["--config", "/etc/plexus/agent.yaml"]).unwrap(), Some("/etc/plexus/agent.yaml".into()));
        assert_eq!(file(&["--config=a.yaml"]).unwrap(), Some("a.yaml".into()));
        assert_eq!(file(&["--help"]).unwrap(), None);
        assert!(file(&[]).is_err());
        assert!(file(&["--confg", "x"]).is_err());
    }
}
