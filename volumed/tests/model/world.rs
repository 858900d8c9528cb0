//! The simulated outside world: one state of kernel and cloud, a list of what will happen, and virtual time.
//!
//! It outlives the daemon's crashes. Everything in it happens in the order of its time, whoever looks first: each look
//! catches up with what was due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cloud_state::CloudState;
use crate::kernel::KernelState;

/// What will happen at some time.
#[derive(Debug, Clone)]
pub(crate) enum Due {
    /// A call reaches the cloud.
    Land(String),
    /// A job of the cloud ends.
    EndJob(String),
    /// The cloud's volume of this name is plugged in here.
    Plug(String),
    /// The disk of this boot and incarnation goes.
    Unplug(String, u64),
    /// The cloud is done with a stranger's work on the volume of this name.
    Rest(String),
    /// The watcher looks at the disks.
    Look,
}

/// Everything that outlives the daemon.
pub(crate) struct State {
    pub(crate) kernel: KernelState,
    pub(crate) cloud: CloudState,
    pub(crate) chance: Chance,
    /// Rules that the daemon broke, as the world saw it.
    pub(crate) violations: Vec<String>,
    /// What happened, for people who look at a failure.
    pub(crate) story: Vec<String>,
    due: BTreeMap<(Duration, u64), Due>,
    planned: u64,
    time: Times,
}

struct Times {
    /// Time of the history when the present runtime began.
    before: Duration,
    /// The runtime's own beginning; none between two runtimes.
    began: Option<Instant>,
}

/// The world, shared.
#[derive(Clone)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    planned: Arc<Notify>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance(seed | 1);
        let state = State {
            kernel: KernelState::new(&mut chance),
            cloud: CloudState::default(),
            chance,
            violations: Vec::new(),
            story: Vec::new(),
            due: BTreeMap::new(),
            planned: 0,
            time: Times {
                before: Duration::ZERO,
                began: None,
            },
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            planned: Arc::default(),
        }
    }

    /// The world as it is now.
    pub(crate) fn now(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        state.catch_up();
        state
    }

    /// The world as it is, without what is due: for a disk that is let go, which may happen in the middle of things.
    pub(crate) fn untimed(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Tells the clockwork that something was planned.
    pub(crate) fn planned(&self) {
        self.planned.notify_one();
    }

    /// A runtime with a paused clock begins.
    pub(crate) fn wake(&self) {
        self.state.lock().time.began = Some(Instant::now());
    }

    /// It ends; `down` passes before the next one.
    pub(crate) fn sleep(&self, down: Duration) {
        let mut state = self.state.lock();
        let now = state.elapsed();
        state.time = Times {
            before: now + down,
            began: None,
        };
    }

    /// Lets things happen at their time, for as long as the runtime lives.
    pub(crate) async fn clockwork(self) {
        loop {
            let next = {
                let state = self.now();
                state.due.keys().next().map(|(at, _)| *at - state.elapsed())
            };
            tokio::select! {
                () = self.planned.notified() => {}
                () = tokio::time::sleep(next.unwrap_or(Duration::from_secs(86_400))) => {}
            }
        }
    }

    /// The time that the daemon is told.
    pub(crate) fn timestamp(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.state.lock().elapsed()).unwrap();
        Timestamp::from_second(1_800_000_000).unwrap() + elapsed
    }
}

impl State {
    /// Time since the history began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.time.before + self.time.began.map(|began| began.elapsed()).unwrap_or_default()
    }

    pub(crate) fn plan(&mut self, after: Duration, what: Due) {
        self.planned += 1;
        let at = self.elapsed() + after;
        self.due.insert((at, self.planned), what);
    }

    pub(crate) fn violated(&mut self, rule: String) {
        self.tell(format!("VIOLATION {rule}"));
        self.violations.push(rule);
    }

    pub(crate) fn tell(&mut self, what: String) {
        let at = self.elapsed().as_millis();
        self.story.push(format!("{at:>9} {what}"));
    }

    fn catch_up(&mut self) {
        let now = self.elapsed();
        while let Some(entry) = self.due.first_entry()
            && entry.key().0 <= now
        {
            match entry.remove() {
                Due::Land(call) => self.land(&call),
                Due::EndJob(call) => self.end_job(&call),
                Due::Plug(name) => self.plug_late(&name),
                Due::Unplug(boot, seq) => self.unplug(&boot, seq),
                Due::Rest(name) => self.rest(&name),
                Due::Look => self.look(),
            }
        }
    }
}

/// A small generator of numbers: the same seed gives the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit.max(1)
    }

    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }
}
