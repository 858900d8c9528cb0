//! Those who wait: streams of events and long-polls, and the board on which streams note what came.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use parking_lot::Mutex;
use reqwest::Method;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use volume_client::types::OperationId;

use super::stream;
use crate::Raw;

/// How long something may take that does come.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a long-poll may wait for its answer: more than the daemon lets it wait.
const POLL: Duration = Duration::from_secs(100);

/// Everybody who waits at one daemon. Dropped, they are gone.
pub(super) struct Crowd {
    board: Arc<Board>,
    paused: watch::Sender<bool>,
    streams: u32,
    _tasks: JoinSet<()>,
}

/// What the streams have seen.
#[derive(Default)]
pub(super) struct Board {
    /// The number of the latest event that anybody saw.
    latest: AtomicI64,
    /// The event that is waited for.
    target: AtomicI64,
    arrivals: Mutex<Vec<Instant>>,
    broken: AtomicU32,
}

impl Board {
    pub(super) fn saw(&self, number: i64, at: Instant) {
        self.latest.fetch_max(number, Ordering::Relaxed);
        if number == self.target.load(Ordering::Relaxed) {
            self.arrivals.lock().push(at);
        }
    }

    /// A stream missed an event, or was told one twice.
    pub(super) fn broke(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }
}

impl Crowd {
    /// Opens them all: the long-polls wait for these operations, which must not end.
    pub(super) async fn gather(socket: &Path, raw: &Raw, waiters: u32, held: &[OperationId]) -> Result<Self> {
        let (board, paused) = (Arc::new(Board::default()), watch::Sender::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..waiters {
            let one = stream::open(socket).await?;
            tasks.spawn(stream::follow(one, Arc::clone(&board), paused.subscribe()));
        }
        // One is read all the time, so that the latest number is known.
        let never = watch::Sender::new(false);
        let guide = stream::open(socket).await?;
        let follow = stream::follow(guide, Arc::clone(&board), never.subscribe());
        tasks.spawn(async move {
            follow.await;
            drop(never);
        });
        for id in held.iter().cycle().take(waiters as usize) {
            tasks.spawn(poll(raw.clone(), *id));
        }
        Ok(Self {
            board,
            paused,
            streams: waiters,
            _tasks: tasks,
        })
    }

    /// The number of the latest event.
    pub(super) fn latest(&self) -> i64 {
        self.board.latest.load(Ordering::Relaxed)
    }

    /// Waits for the event with this number on every stream; who calls causes it after this was called.
    pub(super) fn expect(&self, number: i64) {
        self.board.arrivals.lock().clear();
        self.board.target.store(number, Ordering::Relaxed);
    }

    /// When the expected event came to the first stream and to the last.
    pub(super) async fn arrived(&self) -> Result<(Instant, Instant)> {
        let everybody = async {
            loop {
                let arrivals = self.board.arrivals.lock().clone();
                // The guide is one more.
                if arrivals.len() > self.streams as usize {
                    return arrivals;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let arrivals = timeout(PATIENCE, everybody).await?;
        let (first, last) = (arrivals.iter().min(), arrivals.iter().max());
        Ok((*first.expect("it arrived"), *last.expect("it arrived")))
    }

    /// Nobody reads, but for the guide and what was on its way.
    pub(super) fn pause(&self) {
        self.paused.send_replace(true);
    }

    /// Everybody reads again.
    pub(super) fn resume(&self) {
        self.paused.send_replace(false);
    }

    /// How many streams saw every event once and in order so far.
    pub(super) fn in_order(&self) -> u32 {
        self.streams
            .saturating_sub(self.board.broken.load(Ordering::Relaxed))
    }
}

/// Asks again and again for an operation that does not end.
async fn poll(raw: Raw, id: OperationId) {
    loop {
        let ask = raw.request(Method::GET, &format!("/api/v1/operations/{id}?wait=60"));
        if raw.try_send(ask.timeout(POLL)).await.is_err() {
            return;
        }
    }
}

/// Lets this process and the daemons that it starts have as many descriptors as the machine lets them have.
pub(super) fn allow_descriptors() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    ensure!(
        limit.current.is_none_or(|most| most >= 1024),
        "a thousand descriptors are needed at least"
    );
    Ok(())
}
