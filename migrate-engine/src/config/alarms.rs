//! Says when a file that is followed may have changed, so that it is looked at.
//!
//! The folder is watched and not the file, since a change puts another file under the name. An alarm only says "look
//! again", and a timer says it too. Hence neither a queue that overflows nor a folder that goes and comes loses a change.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inotify::{EventMask, Inotify, WatchMask};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout};

/// The most links from one to the next that are followed, as in the kernel.
const LONGEST_CHAIN: usize = 40;

/// How soon the file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long the folder has to be quiet before a look: programs change a file in several strokes.
    pub quiet: Duration,
    /// How long a look is put off at most where the folder is never quiet.
    pub longest: Duration,
    /// How long nothing may be heard before a look is taken all the same.
    pub rest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(50),
            longest: Duration::from_millis(500),
            rest: Duration::from_secs(10),
        }
    }
}

/// What says that a folder has changed.
#[derive(Debug)]
pub(crate) struct Alarms {
    /// `None` where even asking for events fails: the timer is left then.
    inotify: Option<AsyncFd<Inotify>>,
}

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Something changed.
    Change,
    /// So much changed that events were lost.
    Overflow,
}

impl Alarms {
    pub(crate) fn new(path: &Path) -> std::io::Result<Self> {
        let inotify = Inotify::init()?;
        tracing::debug!(path = %path.display(), "following a file");
        #[allow(
            unsafe_code,
            reason = "tokio has no safe way to wait for a descriptor that is not its own"
        )]
        // SAFETY: the queue owns its descriptor and keeps it open while it lives; it is only read from, and never put
        // elsewhere while it is registered.
        let inotify = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) }?;
        Ok(Self {
            inotify: Some(inotify),
        })
    }

    /// Watches the folders in which a change of `path` shows: its own, and those of the files that links lead to. The
    /// kernel keeps one watch for each folder, so that repeating it is harmless; it forgets those that are gone.
    pub(crate) fn follow(&mut self, path: &Path) {
        let Some(inotify) = &self.inotify else { return };
        // Not each stroke of writing: the end of it counts.
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF;
        for folder in folders(path) {
            if let Err(error) = inotify.get_ref().watches().add(&folder, mask) {
                tracing::debug!(folder = %folder.display(), %error, "not watched: the timer has to do");
            }
        }
    }

    /// Waits until it is time to look: a change was heard of and the folder is quiet since, bounded; or nothing was heard
    /// for long. Given up while it waits, it has lost nothing that a look does not find.
    pub(crate) async fn time_to_look(&mut self, pace: Pace) {
        if timeout(pace.rest, self.heard()).await.is_err() {
            return;
        }
        let end = Instant::now() + pace.longest;
        while Instant::now() < end {
            if timeout(pace.quiet, self.heard()).await.is_err() {
                return;
            }
        }
    }

    /// Waits for a change, and takes in all that has come.
    pub(crate) async fn heard(&mut self) -> Heard {
        loop {
            let Some(inotify) = &mut self.inotify else {
                return std::future::pending().await;
            };
            let heard = match inotify.readable_mut().await {
                Ok(mut guard) => match guard.try_io(|inotify| take_in(inotify.get_mut())) {
                    Ok(heard) => heard,
                    Err(_nothing_to_read) => continue,
                },
                Err(error) => Err(error),
            };
            match heard {
                Ok(heard) => return heard,
                Err(error) => {
                    tracing::warn!(%error, "changes are no longer heard of: the timer has to do");
                    self.inotify = None;
                }
            }
        }
    }
}

/// Reads one batch of events; what is left makes the descriptor readable again.
fn take_in(inotify: &mut Inotify) -> std::io::Result<Heard> {
    let mut buffer = [0; 16 << 10];
    let mut heard = Heard::Change;
    for event in inotify.read_events(&mut buffer)? {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            tracing::info!("changes came faster than they were heard of: looking at the file itself");
            heard = Heard::Overflow;
        }
    }
    Ok(heard)
}

fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut path) = (BTreeSet::new(), path.to_owned());
    for _ in 0..LONGEST_CHAIN {
        let folder = folder_of(&path).to_owned();
        found.insert(folder.clone());
        match fs::read_link(&path) {
            Ok(next) => path = folder.join(next),
            Err(_) => break,
        }
    }
    found
}

/// The folder of a file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}
