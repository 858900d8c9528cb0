//! The service's end of the line: which workers are there, and the calls that they are to do.
//!
//! A worker is *present* from its report until it has been silent for a while, or has said that it leaves. A call is given to one
//! process of a worker; where that is silent, leaves, or another comes in its place, the call fails as [`Category::Away`].

mod delivery;
mod frozen;
mod remote;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use super::wire::{Answer, Ask, Call, CallId, Failure, Orders, Outcome, PROTOCOL, Report};
use crate::source::{Category, SourceFailure};

pub use delivery::{Delivery, Duplex, Passage};
pub use remote::RemoteSource;

/// How long a worker may be silent before it counts as gone.
pub const USUAL_SILENCE: Duration = Duration::from_secs(30);
/// The longest that a worker waits for orders in one request.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often a caller looks whether the worker is still there.
const LOOK: Duration = Duration::from_millis(250);

/// Where callers and workers meet. Clones are the same.
#[derive(Clone)]
pub struct Hub {
    state: Arc<Mutex<State>>,
    /// Something to do, or somebody came.
    stirred: Arc<Notify>,
    silence: Duration,
}

#[derive(Default)]
struct State {
    /// Workers by name.
    posts: HashMap<String, Post>,
    calls: HashMap<CallId, Open>,
    /// What callers still have a use for, by the calls that froze it.
    frozen: HashSet<CallId>,
}

/// A process of a worker.
struct Post {
    instance: Uuid,
    heard: Instant,
    leaves: bool,
}

/// A call that somebody waits for.
struct Open {
    worker: String,
    call: Call,
    /// The process that it was given to.
    given_to: Option<Uuid>,
    reply: Option<oneshot::Sender<Outcome>>,
    delivery: Option<Arc<Delivery>>,
}

/// Why a worker is not listened to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwelcome {
    /// It speaks another version.
    #[error(
        "the worker speaks version {theirs} of the protocol, and this service {PROTOCOL}: install the same release on both sides"
    )]
    Protocol {
        /// What it speaks.
        theirs: u32,
    },
    /// Another process with its token is there.
    #[error(
        "another process of worker `{worker}` is connected: end it; after its end it counts as there for {seconds} s"
    )]
    Occupied {
        /// The worker.
        worker: String,
        /// How long a silent one counts as there.
        seconds: u64,
    },
}

impl Hub {
    /// One without workers, where a worker counts as gone after so long a silence.
    #[must_use]
    pub fn new(silence: Duration) -> Self {
        Self {
            state: Arc::default(),
            stirred: Arc::default(),
            silence,
        }
    }

    /// Takes a worker's report, and waits a while for something to do.
    ///
    /// # Errors
    /// Why it is not listened to.
    pub async fn orders(&self, worker: &str, report: &Report) -> Result<Orders, Unwelcome> {
        if report.protocol != PROTOCOL {
            return Err(Unwelcome::Protocol {
                theirs: report.protocol,
            });
        }
        self.welcome(worker, report)?;
        let until = Instant::now() + LONGEST_WAIT.min(self.silence / 3);
        loop {
            let stirred = self.stirred.notified();
            tokio::pin!(stirred);
            stirred.as_mut().enable();
            let orders = self.state.lock().orders(worker, report);
            let has_any =
                !(orders.calls.is_empty() && orders.cancelled.is_empty() && orders.forget.is_empty());
            if has_any || report.leaves {
                return Ok(orders);
            }
            if tokio::time::timeout_at(until, stirred).await.is_err() {
                return Ok(Orders::default());
            }
        }
    }

    /// Notes that a worker is there. Another process than before takes its place once that is gone; its calls end.
    fn welcome(&self, worker: &str, report: &Report) -> Result<(), Unwelcome> {
        let mut state = self.state.lock();
        if state
            .posts
            .get(worker)
            .is_some_and(|post| post.instance != report.instance && post.is_there(self.silence))
        {
            return Err(Unwelcome::Occupied {
                worker: worker.to_owned(),
                seconds: self.silence.as_secs(),
            });
        }
        let is_new = state
            .posts
            .get(worker)
            .is_none_or(|post| post.instance != report.instance || !post.is_there(self.silence));
        if is_new {
            tracing::info!(worker, instance = %report.instance, version = report.version, "a worker is there");
        }
        if report.leaves {
            tracing::info!(worker, instance = %report.instance, "a worker leaves");
        }
        let post = Post {
            instance: report.instance,
            heard: Instant::now(),
            leaves: report.leaves,
        };
        state.posts.insert(worker.to_owned(), post);
        state.calls_of_others_end(worker, report.instance);
        drop(state);
        self.stirred.notify_waiters();
        Ok(())
    }

    /// Takes the outcome of a call. One that nobody waits for is dropped, and `false`.
    #[must_use]
    pub fn outcome(&self, worker: &str, id: CallId, outcome: Outcome) -> bool {
        let mut state = self.state.lock();
        if state.call(worker, id).is_none() {
            return false;
        }
        state.heard(worker);
        let reply = state.calls.get_mut(&id).and_then(|open| open.reply.take());
        // A call stays open until its caller has seen what came of it.
        reply.is_some_and(|reply| reply.send(outcome).is_ok())
    }

    /// The delivery that a call makes, while somebody waits for it.
    #[must_use]
    pub fn delivery(&self, worker: &str, id: CallId) -> Option<Arc<Delivery>> {
        let mut state = self.state.lock();
        let delivery = state.call(worker, id)?.delivery.clone();
        state.heard(worker);
        delivery
    }

    /// Whether a worker is there.
    #[must_use]
    pub fn is_present(&self, worker: &str) -> bool {
        let state = self.state.lock();
        let post = state.posts.get(worker);
        post.is_some_and(|post| post.is_there(self.silence))
    }

    /// Waits until a worker is there, at most this long.
    pub async fn present(&self, worker: &str, patience: Duration) {
        let there = async {
            loop {
                let stirred = self.stirred.notified();
                tokio::pin!(stirred);
                stirred.as_mut().enable();
                if self.is_present(worker) {
                    return;
                }
                stirred.await;
            }
        };
        let _ = tokio::time::timeout(patience, there).await;
    }

    /// Has a worker do something, and waits for what comes of it. Dropped, the call is cancelled.
    async fn call(
        &self,
        worker: &str,
        call: Call,
        delivery: Option<Arc<Delivery>>,
    ) -> Result<Answer, SourceFailure> {
        let (reply, mut answered) = oneshot::channel();
        let id = call.id;
        if !self.is_present(worker) {
            return Err(away(worker, false));
        }
        let open = Open {
            worker: worker.to_owned(),
            call,
            given_to: None,
            reply: Some(reply),
            delivery,
        };
        self.state.lock().calls.insert(id, open);
        let _open = Closing { hub: self, id };
        self.stirred.notify_waiters();
        loop {
            tokio::select! {
                answer = &mut answered => {
                    let outcome = answer.unwrap_or_else(|_| Err(Failure::from(&away(worker, true))));
                    return outcome.map_err(SourceFailure::from);
                }
                () = tokio::time::sleep(LOOK) => {
                    if !self.is_present(worker) {
                        let was_given = self.state.lock().calls.get(&id).is_some_and(|open| open.given_to.is_some());
                        return Err(away(worker, was_given));
                    }
                }
            }
        }
    }

    fn holds(&self, frozen: CallId) {
        self.state.lock().frozen.insert(frozen);
    }

    fn lets_go(&self, frozen: CallId) {
        self.state.lock().frozen.remove(&frozen);
        self.stirred.notify_waiters();
    }
}

/// Takes a call away again, whatever became of it.
struct Closing<'a> {
    hub: &'a Hub,
    id: CallId,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.hub.state.lock().calls.remove(&self.id);
        self.hub.stirred.notify_waiters();
    }
}

impl Post {
    fn is_there(&self, silence: Duration) -> bool {
        !self.leaves && self.heard.elapsed() < silence
    }
}

impl State {
    /// What a worker is to do that it does not know of yet. What was given to it and did not reach it is given again.
    fn orders(&mut self, worker: &str, report: &Report) -> Orders {
        let mut orders = Orders::default();
        let known: HashSet<_> = report.busy_with.iter().copied().collect();
        let (open, ended): (Vec<_>, Vec<_>) = known
            .iter()
            .copied()
            .partition(|id| self.calls.get(id).is_some_and(|open| open.worker == worker));
        drop(open);
        orders.cancelled = ended;
        let held = report.holds.iter().copied();
        orders.forget = held.filter(|id| !self.frozen.contains(id)).collect();
        if report.leaves {
            return orders;
        }
        for open in self.calls.values_mut().filter(|open| open.worker == worker) {
            let is_new = !known.contains(&open.call.id) && open.reply.is_some();
            if is_new {
                open.given_to = Some(report.instance);
                orders.calls.push(open.call.clone());
            }
        }
        orders
    }

    /// Ends the calls that another process of the worker has.
    fn calls_of_others_end(&mut self, worker: &str, instance: Uuid) {
        for open in self.calls.values_mut().filter(|open| open.worker == worker) {
            if open.given_to.is_some_and(|other| other != instance)
                && let Some(reply) = open.reply.take()
            {
                let _ = reply.send(Err(Failure::from(&away(worker, true))));
            }
        }
    }

    fn call(&self, worker: &str, id: CallId) -> Option<&Open> {
        self.calls.get(&id).filter(|open| open.worker == worker)
    }

    fn heard(&mut self, worker: &str) {
        if let Some(post) = self.posts.get_mut(worker) {
            post.heard = Instant::now();
        }
    }
}

fn away(worker: &str, is_unknown: bool) -> SourceFailure {
    let why = match is_unknown {
        true => format!("worker `{worker}` was lost under the work: it went away, or was started anew"),
        false => format!("worker `{worker}` is not there: start `migrate-engine worker` beside the source"),
    };
    SourceFailure::new(Category::Away, why).unknown_if(is_unknown)
}

/// A new call.
fn new_call(host: &str, ask: Ask) -> Call {
    Call {
        id: Uuid::new_v4(),
        host: host.to_owned(),
        job: None,
        ask,
    }
}
