//! Running overlays until a signal comes: one runtime on one thread, one task an overlay.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use etcd_subnet::SubnetManager;
use overlay::network::{Overlay, OverlayError, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// The pause before an overlay that cannot run is tried again.
const PAUSE: Duration = Duration::from_secs(10);

/// An overlay to run.
pub struct Member {
    /// What the administrator decided.
    pub settings: Settings,
    /// Its store.
    pub manager: Arc<dyn SubnetManager>,
}

/// What an overlay that cannot run means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// The others go on, and it is tried again.
    KeepTrying,
    /// The process ends with the reason, as flanneld does.
    GiveUp,
}

/// Runs overlays in the namespace of the calling thread until SIGTERM or SIGINT.
///
/// # Errors
/// When the runtime cannot be set up, or with [`Persistence::GiveUp`] the first overlay's reason.
pub fn serve(members: Vec<Member>, persistence: Persistence) -> Result<ExitCode> {
    start_log();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
        let mut overlays: JoinSet<Result<(), OverlayError>> = JoinSet::new();
        for member in members {
            overlays.spawn(keep(member, persistence));
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            Some(ended) = overlays.join_next() => {
                ended.context("an overlay's task failed")??;
            }
        }
        tracing::info!("stopping; the data path stays in place");
        Ok(ExitCode::SUCCESS)
    })
}

async fn keep(member: Member, persistence: Persistence) -> Result<(), OverlayError> {
    let mut told = String::new();
    loop {
        let overlay = Overlay::new(member.settings.clone(), Arc::clone(&member.manager));
        let Err(error) = overlay.run().await else { return Ok(()) };
        if persistence == Persistence::GiveUp {
            return Err(error);
        }
        let text = error.to_string();
        if told != text {
            tracing::error!(overlay = %member.settings.name, %error, "cannot run, trying again every {} s", PAUSE.as_secs());
            told = text;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Logs go to stderr, one line each; colours only for people. A log that is set up already is kept.
fn start_log() {
    let stderr = std::io::stderr;
    let colours = std::io::IsTerminal::is_terminal(&stderr());
    let started = tracing_subscriber::fmt().with_writer(stderr).with_ansi(colours).with_target(false).try_init();
    drop(started);
}
