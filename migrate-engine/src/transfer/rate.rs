//! A cap on bytes per second, shared by threads and changeable while they run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::block::{BlockError, Cancel};

/// How soon a waiting thread notices a raised cancel flag.
const SLICE: Duration = Duration::from_millis(50);

/// A handle on one cap; clones share it, and its share of it. Without a cap it costs one uncontended lock per MiB.
#[derive(Debug, Clone, Default)]
pub struct RateLimit {
    shared: Arc<Shared>,
    /// Whose handle this is among those who share the cap.
    member: u64,
}

#[derive(Debug, Default)]
struct Shared {
    pacer: Mutex<Pacer>,
    changed: Condvar,
    members: AtomicU64,
}

/// Pure: who may start when. Bytes are paid for after they were let through, so a burst is one request per thread.
///
/// Where several members wait, the one goes first that was let through least since it began to wait (start-time fair
/// queueing): each gets an equal share, however many threads it has, and what one does not use the others have.
#[derive(Debug, Default)]
struct Pacer {
    bytes_per_second: Option<u64>,
    free_at: Option<Instant>,
    /// Those who wait: how many threads of each.
    waiting: BTreeMap<u64, usize>,
    /// How much each member was let through, on the scale of `now`.
    served: BTreeMap<u64, u64>,
    /// Where whoever was idle takes its place again: behind nobody, and not before those who waited.
    now: u64,
}

impl Pacer {
    /// Lets `bytes` through now, or tells how long to wait before asking again; nothing where others have to go first.
    fn admit(&mut self, member: u64, bytes: u64, at: Instant) -> Result<(), Option<Duration>> {
        let Some(rate) = self.bytes_per_second else {
            return Ok(());
        };
        let free_at = self.free_at.unwrap_or(at);
        if free_at > at {
            return Err(Some(free_at - at));
        }
        let mine = self.place(member);
        if self
            .waiting
            .keys()
            .any(|other| *other != member && self.place(*other) < mine)
        {
            return Err(None);
        }
        self.free_at = Some(at + Duration::from_secs_f64(bytes as f64 / rate as f64));
        self.now = mine;
        self.served.insert(member, mine.saturating_add(bytes));
        Ok(())
    }

    fn place(&self, member: u64) -> u64 {
        self.served
            .get(&member)
            .map_or(self.now, |served| (*served).max(self.now))
    }

    fn begins_to_wait(&mut self, member: u64) {
        *self.waiting.entry(member).or_default() += 1;
    }

    fn ends_to_wait(&mut self, member: u64) {
        if let Some(threads) = self.waiting.get_mut(&member) {
            *threads -= 1;
            if *threads == 0 {
                self.waiting.remove(&member);
            }
        }
        // Members that are behind the present have no claim left.
        let (now, waiting) = (self.now, &self.waiting);
        self.served
            .retain(|member, served| *served > now || waiting.contains_key(member));
    }
}

impl RateLimit {
    /// A cap in bytes per second; `None` is no cap. Zero counts as one byte per second.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let limit = Self::default();
        limit.set(bytes_per_second);
        limit
    }

    /// A handle on the same cap for somebody else, who gets an equal share of it.
    #[must_use]
    pub fn share(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            member: self.shared.members.fetch_add(1, Relaxed) + 1,
        }
    }

    /// Changes the cap for all who share it; waiting threads take it up at once.
    pub fn set(&self, bytes_per_second: Option<u64>) {
        let mut pacer = self.shared.pacer.lock();
        pacer.bytes_per_second = bytes_per_second.map(|rate| rate.max(1));
        pacer.free_at = None;
        self.shared.changed.notify_all();
    }

    /// The present cap.
    pub fn get(&self) -> Option<u64> {
        self.shared.pacer.lock().bytes_per_second
    }

    /// Takes its turn to move `bytes`, if that is now.
    pub(super) fn try_take(&self, bytes: u64) -> bool {
        let mut pacer = self.shared.pacer.lock();
        pacer.admit(self.member, bytes, Instant::now()).is_ok()
    }

    /// Waits for its turn to move `bytes`.
    pub(super) fn take(&self, bytes: u64, cancel: &Cancel) -> Result<(), BlockError> {
        let mut pacer = self.shared.pacer.lock();
        if pacer.admit(self.member, bytes, Instant::now()).is_ok() {
            return Ok(());
        }
        pacer.begins_to_wait(self.member);
        let outcome = loop {
            if cancel.is_cancelled() {
                break Err(BlockError::Interrupted);
            }
            match pacer.admit(self.member, bytes, Instant::now()) {
                Ok(()) => break Ok(()),
                Err(wait) => {
                    let wait = wait.unwrap_or(SLICE).min(SLICE);
                    self.shared.changed.wait_for(&mut pacer, wait);
                }
            }
        };
        pacer.ends_to_wait(self.member);
        // Whoever has to go first now may be asleep.
        self.shared.changed.notify_all();
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_at_the_rate_and_no_faster() {
        let start = Instant::now();
        let mut pacer = Pacer {
            bytes_per_second: Some(1000),
            ..Pacer::default()
        };
        let (mut now, mut moved) = (start, 0);
        while moved < 10_000 {
            match pacer.admit(0, 500, now) {
                Ok(()) => moved += 500,
                Err(wait) => now += wait.unwrap(),
            }
        }
        let elapsed = now - start;
        assert!(
            (Duration::from_millis(9400)..Duration::from_millis(9600)).contains(&elapsed),
            "{elapsed:?}"
        );
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let start = Instant::now();
        let mut pacer = Pacer {
            bytes_per_second: Some(1000),
            ..Pacer::default()
        };
        assert_eq!(pacer.admit(0, 1000, start), Ok(()));
        let later = start + Duration::from_secs(100);
        assert_eq!(pacer.admit(0, 1000, later), Ok(()));
        assert_eq!(pacer.admit(0, 1, later), Err(Some(Duration::from_secs(1))));
    }

    #[test]
    fn lifting_the_cap_wakes_a_waiting_thread() {
        let limit = RateLimit::new(Some(1));
        let cancel = Cancel::new();
        limit.take(1 << 30, &cancel).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| limit.take(1, &cancel));
            limit.set(None);
            waiting.join().unwrap().unwrap();
        });
    }

    #[test]
    fn cancelling_ends_the_wait() {
        let limit = RateLimit::new(Some(1));
        let cancel = Cancel::new();
        limit.take(1 << 30, &cancel).unwrap();
        cancel.cancel();
        assert!(matches!(limit.take(1, &cancel), Err(BlockError::Interrupted)));
    }

    /// Plays threads that ask again as soon as they were served; how much each member got.
    fn shares(threads: &[u64], seconds: u64) -> BTreeMap<u64, u64> {
        let (start, mut got) = (Instant::now(), BTreeMap::new());
        let mut pacer = Pacer {
            bytes_per_second: Some(1000),
            ..Pacer::default()
        };
        threads.iter().for_each(|member| pacer.begins_to_wait(*member));
        let mut now = start;
        while now < start + Duration::from_secs(seconds) {
            // In the order in which they stand, not in that of their claims.
            let mut wait = Some(Duration::ZERO);
            for member in threads {
                match pacer.admit(*member, 100, now) {
                    Ok(()) => *got.entry(*member).or_default() += 100,
                    Err(Some(left)) => wait = Some(left),
                    Err(None) => {}
                }
            }
            now += wait.unwrap_or_default().max(Duration::from_millis(1));
        }
        got
    }

    #[test]
    fn members_get_equal_shares_however_many_threads_they_have() {
        let got = shares(&[1, 1, 1, 1, 2, 3, 3], 60);
        let most = got.values().max().unwrap();
        assert!(
            got.len() == 3 && got.values().all(|bytes| most - bytes <= 100),
            "{got:?}"
        );
        let all: u64 = got.values().sum();
        assert!(
            (57_000..=60_100).contains(&all),
            "nothing of the cap is lost: {all}"
        );
    }

    #[test]
    fn whoever_was_idle_takes_an_equal_share_from_now_on_and_nothing_is_owed() {
        let start = Instant::now();
        let mut pacer = Pacer {
            bytes_per_second: Some(1000),
            ..Pacer::default()
        };
        pacer.begins_to_wait(1);
        let mut now = start;
        for _ in 0..100 {
            pacer.admit(1, 1000, now).unwrap();
            now += Duration::from_secs(1);
        }
        pacer.begins_to_wait(2);
        let mut got = [0, 0];
        for _ in 0..20 {
            let first = usize::from(pacer.admit(1, 1000, now).is_err());
            if first == 1 {
                pacer.admit(2, 1000, now).unwrap();
            }
            got[first] += 1;
            now += Duration::from_secs(1);
        }
        assert!(got[0] >= 9 && got[1] >= 9, "{got:?}");
        pacer.ends_to_wait(1);
        pacer.ends_to_wait(2);
        assert!(pacer.waiting.is_empty() && pacer.served.len() <= 2);
    }
}
