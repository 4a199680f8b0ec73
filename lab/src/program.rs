//! Which executable a lab runs: the one under test, never one that happens to be installed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The program that is running: for `plexus lab` itself.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn running() -> Result<PathBuf> {
    std::env::current_exe().context("find this program's own executable")
}

/// The program that `make build` has left: for tests, whose own executable is another one. `PLEXUS` in the environment names a
/// different one.
///
/// # Errors
/// When it has not been built.
pub fn built() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("PLEXUS") {
        return Ok(given.into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace has no root")?;
    let program = root.join("bin/plexus");
    anyhow::ensure!(program.exists(), "{} does not exist: run `make build` first", program.display());
    Ok(program)
}
