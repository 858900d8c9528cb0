//! The transfers of this process, those under way and the last ones that ended: for whoever asks, by whatever way.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::machine::{Doing, Watch};
use crate::transfer::{Phase, Progress, Snapshot};

/// Ended transfers that are remembered.
const REMEMBERED: usize = 256;

/// Shared by everybody who moves bytes and everybody who looks. Clones are the same board.
#[derive(Debug, Clone, Default)]
pub struct Board {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    under_way: Vec<Entry>,
    /// Oldest first.
    ended: VecDeque<Transfer>,
    counts: Counts,
    /// By [`Doing`].
    moved: [Moved; 2],
}

#[derive(Debug)]
struct Entry {
    what: Transfer,
    progress: Arc<Progress>,
}

/// One transfer at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// Counts up from 1 in each process.
    pub id: u64,
    /// What the disk belongs to, as it was given: a file, an address.
    pub source: String,
    /// The disk's id within the source.
    pub disk: String,
    /// What is done with it.
    pub doing: Doing,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended, well or not: only one that ended well is in the phase [`Phase::Finished`].
    pub ended_at: Option<Timestamp>,
    /// How far it is, or was in the end.
    pub progress: Snapshot,
}

/// How many transfers have begun and ended since the process started, and what they have moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ended well.
    pub finished: u64,
    /// Ended otherwise: failed or cancelled.
    pub broken_off: u64,
    /// Bytes of data that ended transfers have read.
    pub data_done: u64,
    /// Bytes that they have written.
    pub bytes_written: u64,
}

/// Bytes that transfers have dealt with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Data that was read.
    pub read: u64,
    /// Data that was written.
    pub written: u64,
    /// What nobody had to read: announced zeroes, and what an interrupted run had moved.
    pub skipped: u64,
}

impl Moved {
    fn add(&mut self, seen: &Snapshot) {
        self.read += seen.data_done;
        self.written += seen.bytes_written;
        self.skipped += seen.zero_skipped + seen.data_resumed;
    }
}

impl Board {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whoever copies `source` tells this board, one transfer after the other.
    #[must_use]
    pub fn watch(&self, source: impl Into<String>) -> BoardWatch {
        BoardWatch {
            board: self.clone(),
            source: source.into(),
            current: Mutex::new(None),
        }
    }

    /// Those under way and the last ones that ended, by their ids.
    #[must_use]
    pub fn transfers(&self) -> Vec<Transfer> {
        let state = self.state.lock();
        let mut all: Vec<_> = state.ended.iter().cloned().collect();
        all.extend(state.under_way.iter().map(Entry::now));
        all.sort_by_key(|transfer| transfer.id);
        all
    }

    /// One of them.
    #[must_use]
    pub fn transfer(&self, id: u64) -> Option<Transfer> {
        let state = self.state.lock();
        let moving = state.under_way.iter().find(|entry| entry.what.id == id);
        let ended = || state.ended.iter().find(|transfer| transfer.id == id).cloned();
        moving.map(Entry::now).or_else(ended)
    }

    /// How many copies are under way.
    #[must_use]
    pub fn copies(&self) -> u64 {
        let state = self.state.lock();
        let copies = state
            .under_way
            .iter()
            .filter(|entry| entry.what.doing == Doing::Copying);
        copies.count() as u64
    }

    /// What has been since the process started.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// What transfers of this kind have moved since the process started, those under way included. Never falls.
    #[must_use]
    pub fn moved(&self, doing: Doing) -> Moved {
        let state = self.state.lock();
        let mut moved = state.moved[doing as usize];
        for entry in state.under_way.iter().filter(|entry| entry.what.doing == doing) {
            moved.add(&entry.progress.snapshot());
        }
        moved
    }

    fn begin(&self, source: &str, (doing, disk): (Doing, &str), progress: &Arc<Progress>) -> u64 {
        let mut state = self.state.lock();
        state.last += 1;
        let id = state.last;
        state.under_way.push(Entry {
            what: Transfer {
                id,
                source: source.to_owned(),
                disk: disk.to_owned(),
                doing,
                started_at: Timestamp::now(),
                ended_at: None,
                progress: progress.snapshot(),
            },
            progress: Arc::clone(progress),
        });
        id
    }

    fn end(&self, id: u64) {
        let mut state = self.state.lock();
        let Some(at) = state.under_way.iter().position(|entry| entry.what.id == id) else {
            return;
        };
        let mut transfer = state.under_way.swap_remove(at).now();
        transfer.ended_at = Some(Timestamp::now());
        state.counts.add(&transfer.progress);
        state.moved[transfer.doing as usize].add(&transfer.progress);
        if state.ended.len() == REMEMBERED {
            state.ended.pop_front();
        }
        state.ended.push_back(transfer);
    }
}

impl Entry {
    fn now(&self) -> Transfer {
        Transfer {
            progress: self.progress.snapshot(),
            ..self.what.clone()
        }
    }
}

impl Counts {
    fn add(&mut self, last: &Snapshot) {
        match last.phase {
            Phase::Finished => self.finished += 1,
            _ => self.broken_off += 1,
        }
        self.data_done += last.data_done;
        self.bytes_written += last.bytes_written;
    }
}

/// Tells a [`Board`] of one source's transfers. One that goes on when this is dropped counts as broken off.
#[derive(Debug)]
pub struct BoardWatch {
    board: Board,
    source: String,
    current: Mutex<Option<u64>>,
}

impl Watch for BoardWatch {
    fn say(&self, _text: &str) {}

    fn moving(&self, doing: Doing, disk: &str, progress: &Arc<Progress>) {
        let id = self.board.begin(&self.source, (doing, disk), progress);
        if let Some(before) = self.current.lock().replace(id) {
            self.board.end(before);
        }
    }

    fn done(&self) {
        if let Some(id) = self.current.lock().take() {
            self.board.end(id);
        }
    }
}

impl Drop for BoardWatch {
    fn drop(&mut self) {
        self.done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_seen_from_its_begin_to_after_its_end() {
        let (board, progress) = (Board::new(), Arc::new(Progress::new()));
        let watch = board.watch("web.qcow2");
        watch.moving(Doing::Copying, "disk-1", &progress);
        progress.pretend(Phase::Copying, 80, 30);
        let seen = board.transfer(1).unwrap();
        assert_eq!((seen.progress.data_bytes, seen.progress.data_done), (80, 30));
        assert_eq!(
            (seen.source.as_str(), seen.disk.as_str()),
            ("web.qcow2", "disk-1")
        );
        assert_eq!((seen.ended_at, board.counts()), (None, Counts::default()));
        progress.pretend(Phase::Finished, 80, 80);
        watch.done();
        watch.done();
        let all = board.transfers();
        assert_eq!((all.len(), all[0].progress.data_done), (1, 80));
        assert!(all[0].ended_at.is_some());
        let expected = Counts {
            finished: 1,
            broken_off: 0,
            data_done: 80,
            bytes_written: 80,
        };
        assert_eq!(board.counts(), expected);
    }

    #[test]
    fn what_did_not_reach_its_end_is_broken_off() {
        let board = Board::new();
        let watch = board.watch("a");
        watch.moving(Doing::Copying, "1", &Arc::new(Progress::new()));
        watch.moving(Doing::ReadingBack, "1", &Arc::new(Progress::new()));
        drop(watch);
        assert_eq!(board.counts().broken_off, 2);
        assert!(
            board
                .transfers()
                .iter()
                .all(|transfer| transfer.ended_at.is_some())
        );
    }

    #[test]
    fn memory_is_bounded_and_the_latest_stay() {
        let board = Board::new();
        let watch = board.watch("a");
        for _ in 0..REMEMBERED + 10 {
            watch.moving(Doing::Copying, "1", &Arc::new(Progress::new()));
        }
        let all = board.transfers();
        assert_eq!(all.len(), REMEMBERED + 1);
        assert_eq!(all.last().unwrap().id, (REMEMBERED + 10) as u64);
        assert_eq!(board.transfer(1), None);
    }
}
