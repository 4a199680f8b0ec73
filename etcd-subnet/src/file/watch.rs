//! Following the directory: the kernel tells of changes made on this machine (inotify), a slow look through all files finds those made
//! elsewhere, and leases run out by the clock. Files are read blockingly, so each watcher is a thread of its own.

use super::scan::Scanner;
use super::store::Store;
use crate::backoff::Backoff;
use crate::manager::{Error, Event};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use std::collections::HashSet;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// Starts telling `sender` everything that happens, until nobody listens or the runtime ends.
pub(super) fn start(store: Arc<Store>, rescan: Duration, sender: mpsc::Sender<Event>) {
    let watcher = UnixStream::pair().and_then(|(listening, unheard)| {
        let closed = sender.clone();
        // the other end hangs up when this one is dropped, which also happens when the runtime goes
        tokio::spawn(async move {
            closed.closed().await;
            drop(listening);
        });
        let scanner = Scanner::new(Arc::clone(&store));
        let watcher = Watcher { store, scanner, rescan, sender, unheard };
        std::thread::Builder::new().name("lease-watch".into()).spawn(move || watcher.run())
    });
    if let Err(error) = watcher {
        tracing::error!(%error, "cannot start watching the leases");
    }
}

/// One watcher.
struct Watcher {
    store: Arc<Store>,
    scanner: Scanner,
    rescan: Duration,
    sender: mpsc::Sender<Event>,
    /// Hangs up when nobody listens any more.
    unheard: UnixStream,
}

/// Why a wait ended.
enum Woken {
    /// These files have changed.
    Changed(HashSet<String>),
    /// More has changed than the kernel could note.
    Overflow,
    /// Time is up.
    Time,
    /// Nobody listens any more.
    Unheard,
}

impl Watcher {
    fn run(mut self) {
        let mut backoff = Backoff::for_store();
        let mut failures = 0_u32;
        while !self.sender.is_closed() {
            let Err((error, worked)) = self.follow() else { return };
            if worked {
                backoff.reset();
                failures = 0;
            }
            failures = failures.saturating_add(1);
            if failures.is_power_of_two() {
                tracing::warn!(%error, failures, "cannot watch the leases, the peers known so far are kept");
            }
            // a wait that hears of the end
            let mut unheard = [PollFd::new(self.unheard.as_fd(), PollFlags::POLLIN)];
            if !matches!(nix::poll::poll(&mut unheard, timeout(backoff.pause())), Ok(0)) {
                return;
            }
        }
    }

    /// Watches until something fails, and says whether it had worked before that; Ok when nobody listens any more.
    fn follow(&mut self) -> Result<(), (Error, bool)> {
        // before the first scan, so that nothing falls between the two
        let changes = self.open().map_err(|errno| (self.error("watch subnets", errno), false))?;
        let mut next_scan = Instant::now();
        let mut worked = false;
        let mut woken = Woken::Overflow;
        loop {
            let mut events = match &woken {
                Woken::Unheard => return Ok(()),
                Woken::Changed(names) => self.scanner.look(names),
                Woken::Overflow | Woken::Time => Vec::new(),
            };
            if matches!(woken, Woken::Overflow) || next_scan <= Instant::now() {
                events.extend(self.scanner.scan().map_err(|error| (error, worked))?);
                next_scan = Instant::now().checked_add(self.rescan).unwrap_or(next_scan);
            }
            events.extend(self.scanner.expire());
            worked = true;
            for event in events {
                if self.sender.blocking_send(event).is_err() {
                    return Ok(());
                }
            }
            woken = self.wait(&changes, next_scan).map_err(|error| (error, worked))?;
        }
    }

    /// Waits for a change, the next scan or the end of a lease.
    fn wait(&self, changes: &Inotify, next_scan: Instant) -> Result<Woken, Error> {
        let until_scan = next_scan.saturating_duration_since(Instant::now());
        let end = self.scanner.next_end().map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
        let pause = end.map_or(until_scan, |end| end.min(until_scan));
        let mut watched =
            [PollFd::new(changes.as_fd(), PollFlags::POLLIN), PollFd::new(self.unheard.as_fd(), PollFlags::POLLIN)];
        match nix::poll::poll(&mut watched, timeout(pause)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(self.error("wait for changes", errno)),
        }
        let [changed, unheard] = watched.map(|fd| fd.any().unwrap_or(true));
        if unheard {
            return Ok(Woken::Unheard);
        }
        if changed { self.read(changes) } else { Ok(Woken::Time) }
    }

    /// Which files the kernel says have changed.
    fn read(&self, changes: &Inotify) -> Result<Woken, Error> {
        let mut names = HashSet::new();
        loop {
            let events = match changes.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return Ok(Woken::Changed(names)),
                Err(errno) => return Err(self.error("read changes", errno)),
            };
            for InotifyEvent { mask, name, .. } in events {
                if mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    return Ok(Woken::Overflow);
                }
                if mask.intersects(GONE) {
                    return Err(self.error("watch subnets", Errno::ENOENT));
                }
                names.extend(name.map(|name| name.to_string_lossy().into_owned()));
            }
        }
    }

    fn open(&self) -> Result<Inotify, Errno> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mask = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(&self.store.subnets(), mask)?;
        Ok(inotify)
    }

    fn error(&self, what: &str, errno: Errno) -> Error {
        Error::Store { store: self.store.name(), reason: format!("{what}: {}", errno.desc()) }
    }
}

/// The directory itself has been removed or replaced.
const GONE: AddWatchFlags =
    AddWatchFlags::IN_IGNORED.union(AddWatchFlags::IN_DELETE_SELF).union(AddWatchFlags::IN_MOVE_SELF);

/// A pause for `poll`, rounded up so that what it waits for is over when it ends.
fn timeout(pause: Duration) -> PollTimeout {
    let milliseconds = pause.as_millis().saturating_add(1);
    i32::try_from(milliseconds).ok().and_then(|ms| PollTimeout::try_from(ms).ok()).unwrap_or(PollTimeout::MAX)
}
