//! Follows the configuration while a process runs: what is good is handed on, what is broken is said.
//!
//! The folder is watched and not the file, since a change puts another file under the name. A change in the folder only
//! says "look again", and a timer says it too; the look decides, and does the same thing either way. Hence neither a
//! queue that overflows nor a folder that goes and comes loses a change.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use inotify::{EventMask, Inotify, WatchMask};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::error::StepsError;
use super::file::{Imported, StepsFile};
use super::note::Note;
use super::replace::folder_of;
use super::settings::Steps;

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

/// Follows a configuration until it is dropped.
#[derive(Debug)]
pub struct StepsWatch {
    steps: watch::Receiver<Arc<Steps>>,
    problem: watch::Receiver<Option<Arc<StepsError>>>,
    _task: AbortOnDropHandle<()>,
}

impl StepsWatch {
    /// Reads the file and follows it from then on. A file that is not there yet is an empty configuration with a problem.
    ///
    /// # Errors
    /// Where the file cannot be read now, or changes cannot be followed.
    pub async fn start(file: StepsFile) -> Result<Self, StepsError> {
        Self::start_at(file, Pace::default()).await
    }

    /// The same at another pace.
    ///
    /// # Errors
    /// As [`StepsWatch::start`].
    pub async fn start_at(file: StepsFile, pace: Pace) -> Result<Self, StepsError> {
        let path = file.path().to_owned();
        let cannot = |source| StepsError::CannotFollow { path, source };
        // Watched before it is read: a change in between is looked at once more.
        let mut alarms = Alarms::new(file.path()).map_err(cannot)?;
        alarms.follow(file.path());
        let (first, problem) = match read(&file).await {
            Ok(first) => (first, None),
            Err(error @ StepsError::Missing { .. }) => (nothing(), Some(Arc::new(error))),
            Err(error) => return Err(error),
        };
        let mut watcher = Watcher {
            file,
            pace,
            alarms,
            steps: watch::Sender::new(Arc::new(first.steps)),
            problem: watch::Sender::new(problem),
            notes: Vec::new(),
        };
        watcher.say(first.notes);
        Ok(Self {
            steps: watcher.steps.subscribe(),
            problem: watcher.problem.subscribe(),
            _task: AbortOnDropHandle::new(tokio::spawn(watcher.run())),
        })
    }

    /// The last configuration that was good, and each that comes after it. A change that does not change what the file
    /// says is none.
    #[must_use]
    pub fn steps(&self) -> watch::Receiver<Arc<Steps>> {
        self.steps.clone()
    }

    /// Why the file as it is now is not in force; `None` where it is.
    #[must_use]
    pub fn problem(&self) -> watch::Receiver<Option<Arc<StepsError>>> {
        self.problem.clone()
    }
}

struct Watcher {
    file: StepsFile,
    pace: Pace,
    alarms: Alarms,
    steps: watch::Sender<Arc<Steps>>,
    problem: watch::Sender<Option<Arc<StepsError>>>,
    notes: Vec<Note>,
}

impl Watcher {
    async fn run(mut self) {
        loop {
            if timeout(self.pace.rest, self.alarms.heard()).await.is_ok() {
                self.settle().await;
            }
            self.look().await;
        }
    }

    /// Waits until the folder is quiet, bounded.
    async fn settle(&mut self) {
        let end = Instant::now() + self.pace.longest;
        while Instant::now() < end {
            if timeout(self.pace.quiet, self.alarms.heard()).await.is_err() {
                return;
            }
        }
    }

    async fn look(&mut self) {
        self.alarms.follow(self.file.path());
        let mut found = read(&self.file).await;
        if found.is_err() {
            // It may be half written, or between two names: what is wrong has to be so twice.
            sleep(self.pace.quiet).await;
            self.alarms.follow(self.file.path());
            found = read(&self.file).await;
        }
        match found {
            Ok(found) => self.take(found),
            Err(error) => self.refuse(error),
        }
    }

    fn take(&mut self, found: Imported) {
        self.say(found.notes);
        let is_new = self.steps.send_if_modified(|steps| {
            let is_new = **steps != found.steps;
            if is_new {
                *steps = Arc::new(found.steps);
            }
            is_new
        });
        // After it: whoever waits for the end of a problem finds the configuration that ended it.
        self.problem.send_if_modified(|problem| problem.take().is_some());
        if is_new {
            tracing::info!(path = %self.file.path().display(), "the configuration was changed and is in force");
        }
    }

    fn refuse(&mut self, error: StepsError) {
        let is_known = |known: &Option<Arc<StepsError>>| {
            known
                .as_ref()
                .is_some_and(|known| known.to_string() == error.to_string())
        };
        if is_known(&self.problem.borrow()) {
            return;
        }
        tracing::warn!(%error, "the configuration is not taken: the last good one stays in force");
        self.problem.send_replace(Some(Arc::new(error)));
    }

    /// Logs the notes that are new.
    fn say(&mut self, notes: Vec<Note>) {
        let path = self.file.path().display();
        for note in notes.iter().filter(|note| !self.notes.contains(note)) {
            match note {
                Note::OpenToOthers { .. } => tracing::warn!(%path, %note, "configuration"),
                _ => tracing::info!(%path, %note, "configuration"),
            }
        }
        self.notes = notes;
    }
}

/// What says that a folder has changed.
#[derive(Debug)]
pub(super) struct Alarms {
    /// `None` where even asking for events fails: the timer is left then.
    inotify: Option<AsyncFd<Inotify>>,
}

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Something changed.
    Change,
    /// So much changed that events were lost.
    Overflow,
}

impl Alarms {
    pub(super) fn new(path: &Path) -> std::io::Result<Self> {
        let inotify = Inotify::init()?;
        tracing::debug!(path = %path.display(), "following the configuration");
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
    pub(super) fn follow(&mut self, path: &Path) {
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

    /// Waits for a change, and takes in all that has come.
    pub(super) async fn heard(&mut self) -> Heard {
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
            tracing::info!(
                "changes came faster than they were heard of: looking at the configuration itself"
            );
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

/// What a file that is not there says.
fn nothing() -> Imported {
    let steps = Steps::default();
    Imported {
        unfinished: steps.unfinished(),
        steps,
        notes: Vec::new(),
    }
}

async fn read(file: &StepsFile) -> Result<Imported, StepsError> {
    let file = file.clone();
    let path = file.path().to_owned();
    let read = tokio::task::spawn_blocking(move || file.read()).await;
    read.unwrap_or_else(|error| Err(StepsError::io("read", &path)(std::io::Error::other(error))))
}
