//! Which operations run: at most so many at once, in the order in which they came. Pure; the executor asks it.

use std::collections::{HashSet, VecDeque};

use crate::model::OperationId;

/// The queue of operations.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<OperationId>,
    running: HashSet<OperationId>,
    limit: usize,
}

impl Queue {
    /// An empty queue that lets `limit` operations run at once.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            running: HashSet::new(),
            limit: limit.max(1),
        }
    }

    /// Puts an operation at the end. One that waits or runs already is not put in twice.
    pub(super) fn push(&mut self, id: OperationId) {
        if !self.running.contains(&id) && !self.waiting.contains(&id) {
            self.waiting.push_back(id);
        }
    }

    /// The next operation that may start now, if any; it counts as running from here on.
    pub(super) fn start_next(&mut self) -> Option<OperationId> {
        if self.running.len() >= self.limit {
            return None;
        }
        let id = self.waiting.pop_front()?;
        self.running.insert(id);
        Some(id)
    }

    /// How many wait for their turn.
    pub(super) fn depth(&self) -> usize {
        self.waiting.len()
    }

    /// Notes that an operation no longer runs.
    pub(super) fn ended(&mut self, id: OperationId) {
        self.running.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_and_the_limit() {
        let mut queue = Queue::new(2);
        let ids: Vec<_> = (0..3).map(|_| OperationId::new()).collect();
        ids.iter().for_each(|&id| queue.push(id));
        queue.push(ids[0]);
        assert_eq!(queue.start_next(), Some(ids[0]));
        assert_eq!(queue.start_next(), Some(ids[1]));
        assert_eq!(queue.start_next(), None);
        queue.push(ids[0]);
        queue.ended(ids[1]);
        assert_eq!(queue.start_next(), Some(ids[2]));
        assert_eq!(queue.start_next(), None);
        queue.ended(ids[0]);
        assert_eq!(queue.start_next(), None, "one that ran was not put in twice");
    }
}
