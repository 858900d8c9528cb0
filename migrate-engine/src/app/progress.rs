//! Progress as people see it: a bar on a terminal, plain lines in a log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::human;
use crate::model::Size;
use crate::pipeline::{Doing, Watch};
use crate::transfer::{Phase, Progress, Snapshot};

/// How often a bar is drawn.
const DRAW: Duration = Duration::from_millis(200);
/// How often a log gets a line; what is done sooner gets its last line only.
const LINE: Duration = Duration::from_secs(5);

/// Shows progress.
pub struct Show {
    bar: Option<ProgressBar>,
    watching: Mutex<Option<Watched>>,
}

/// What moves now.
struct Watched {
    looking: JoinHandle<()>,
    what: String,
    progress: Arc<Progress>,
    since: Instant,
}

impl Show {
    /// A bar, for a terminal.
    #[must_use]
    pub fn bar() -> Self {
        Self {
            bar: Some(bar()),
            watching: Mutex::default(),
        }
    }

    /// Lines, for a log.
    #[must_use]
    pub fn lines() -> Self {
        Self {
            bar: None,
            watching: Mutex::default(),
        }
    }
}

/// A bar that never takes more than one line: what stands beside it is cut where the terminal ends.
pub(super) fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:16} {wide_msg}");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Watch for Show {
    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| human::say(text)),
            None => human::say(text),
        }
    }

    fn moving(&self, doing: Doing, disk: &str, progress: &Arc<Progress>) {
        let what = format!("{doing} {disk}");
        let (of, bar) = (what.clone(), self.bar.clone());
        let pace = if bar.is_some() { DRAW } else { LINE };
        let mut states = progress.follow(pace);
        let looking = tokio::spawn(async move {
            while states.changed().await.is_ok() {
                show(&of, &states.borrow_and_update(), bar.as_ref());
            }
        });
        let watched = Watched {
            looking,
            what,
            progress: Arc::clone(progress),
            since: Instant::now(),
        };
        if let Some(before) = self.watching.lock().replace(watched) {
            before.looking.abort();
        }
    }

    fn done(&self) {
        let Some(watched) = self.watching.lock().take() else {
            return;
        };
        watched.looking.abort();
        let now = watched.progress.snapshot();
        self.say(&last_line(&watched.what, &now, watched.since.elapsed()));
        if let Some(bar) = &self.bar {
            bar.reset();
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        if let Some(watched) = self.watching.get_mut().take() {
            watched.looking.abort();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn show(disk: &str, now: &Snapshot, bar: Option<&ProgressBar>) {
    let text = numbers(now);
    match bar {
        None => human::say(&format!("{disk}: {text}")),
        Some(bar) => {
            bar.set_length(now.data_bytes.max(1));
            bar.set_position(now.data_done);
            bar.set_message(format!("{disk}: {text}"));
        }
    }
}

/// How it ended, and how fast it was from beginning to end.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rate shown to people"
)]
fn last_line(disk: &str, now: &Snapshot, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let done = Size(now.data_done);
    if now.phase != Phase::Finished {
        return format!("{disk}: ended after {done} of {}", Size(now.data_bytes));
    }
    let rate = Size((now.data_done as f64 / seconds.max(0.001)) as u64);
    format!("{disk}: {done} in {seconds:.1} s, {rate}/s")
}

/// Bytes that really move, rate, and the time left for the data left.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate shown to people"
)]
fn numbers(now: &Snapshot) -> String {
    let moved = format!("{} of {}", Size(now.data_done), Size(now.data_bytes));
    let rate = now
        .rate
        .map(|rate| format!(", {}/s", Size(rate as u64)))
        .unwrap_or_default();
    let left = now
        .eta
        .map(|eta| format!(", {} s left", eta.as_secs()))
        .unwrap_or_default();
    let phase = match now.phase {
        Phase::Flushing => ", flushing",
        _ => "",
    };
    format!("{moved}{rate}{left}{phase}")
}
