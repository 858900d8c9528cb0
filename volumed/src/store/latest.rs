//! The latest events, kept in memory: told to everybody who follows without asking the database once for each.
//!
//! What is here is durable: a change's events come in after it was committed, and before their ids are announced.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::EventRecord;

/// How many are kept. Who is further behind reads the rows.
const KEPT: usize = 512;

/// The latest events, whole from some number on. Cheap to clone.
#[derive(Clone)]
pub(super) struct Latest(Arc<Mutex<Window>>);

struct Window {
    /// The number after which every event is here.
    from: i64,
    events: VecDeque<Arc<EventRecord>>,
}

impl Latest {
    /// None yet; events are numbered on from `latest`.
    pub(super) fn since(latest: i64) -> Self {
        Self(Arc::new(Mutex::new(Window {
            from: latest,
            events: VecDeque::new(),
        })))
    }

    /// Takes the events of a committed change, then announces the last one's number.
    pub(super) fn announce(&self, events: Vec<EventRecord>, ids: &watch::Sender<i64>) {
        let Some(last) = events.last().map(|event| event.id) else {
            return;
        };
        self.take(events);
        ids.send_replace(last);
    }

    fn take(&self, events: Vec<EventRecord>) {
        let mut window = self.0.lock();
        window.events.extend(events.into_iter().map(Arc::new));
        while window.events.len() > KEPT {
            window.from = window.events.pop_front().map_or(window.from, |event| event.id);
        }
    }

    /// Every event after `after`, oldest first; `None` where that is longer ago than what is kept.
    pub(super) fn after(&self, after: i64) -> Option<Vec<Arc<EventRecord>>> {
        let window = self.0.lock();
        if after < window.from {
            return None;
        }
        let begin = window.events.partition_point(|event| event.id <= after);
        Some(window.events.range(begin..).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::Value;

    use super::*;
    use crate::model::EventKind;

    fn event(id: i64) -> EventRecord {
        EventRecord {
            id,
            kind: EventKind::Volume,
            volume_id: None,
            operation_id: None,
            data: Value::Null,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn ids(latest: &Latest, after: i64) -> Option<Vec<i64>> {
        let events = latest.after(after)?;
        Some(events.iter().map(|event| event.id).collect())
    }

    #[test]
    fn tells_what_came_after_a_number_and_says_where_it_does_not_know() {
        let latest = Latest::since(10);
        assert_eq!(ids(&latest, 10), Some(vec![]));
        assert_eq!(ids(&latest, 9), None, "the tenth came before");
        latest.take(vec![event(11), event(12)]);
        latest.take(vec![event(13)]);
        assert_eq!(ids(&latest, 10), Some(vec![11, 12, 13]));
        assert_eq!(ids(&latest, 12), Some(vec![13]));
        assert_eq!(ids(&latest, 13), Some(vec![]));
    }

    #[test]
    fn keeps_a_bounded_number() {
        let latest = Latest::since(0);
        let many = i64::try_from(KEPT).unwrap() + 3;
        (1..=many).for_each(|id| latest.take(vec![event(id)]));
        assert_eq!(ids(&latest, 2), None);
        assert_eq!(ids(&latest, 3).map(|ids| ids.len()), Some(KEPT));
        latest.take((many + 1..=2 * many).map(event).collect());
        assert_eq!(ids(&latest, 2 * many - 1), Some(vec![2 * many]));
    }
}
