//! Follows the configuration while a process runs: what is good is handed on, what is broken is said.
//!
//! An alarm and a timer both say no more than "look again"; the look decides, and does the same thing either way.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::error::StepsError;
use super::file::{Imported, StepsFile};
use super::note::Note;
use super::settings::Steps;
use crate::config::alarms::{Alarms, Pace};

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
            self.alarms.time_to_look(self.pace).await;
            self.look().await;
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
