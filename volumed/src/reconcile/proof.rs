//! What cloud and kernel said of the volumes of a restored database, until they have said the same for long enough.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::finding::SETTLING;
use super::plan::{CloudView, KernelView, Views, VolumeViews, is_decided, seen_text};
use crate::model::VolumeId;

/// What was said, and since when.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    said: BTreeMap<VolumeId, (CloudView, KernelView, Timestamp)>,
}

impl Proofs {
    /// Notes what is said of the volumes that wait, and returns those of which the same was said for a while, and what.
    pub(super) fn note(
        &mut self,
        views: &Views,
        waiting: &[VolumeId],
        now: Timestamp,
    ) -> Vec<(VolumeId, String)> {
        self.said.retain(|id, _| waiting.contains(id));
        let awaited = views.volumes.iter().filter(|of| waiting.contains(&of.record.id));
        awaited.filter_map(|of| self.note_one(of, now)).collect()
    }

    fn note_one(&mut self, of: &VolumeViews, now: Timestamp) -> Option<(VolumeId, String)> {
        let id = of.record.id;
        if !is_decided(of) {
            self.said.remove(&id);
            return None;
        }
        let (cloud, kernel, since) = self
            .said
            .entry(id)
            .or_insert_with(|| (of.cloud.clone(), of.kernel.clone(), now));
        if (&*cloud, &*kernel) != (&of.cloud, &of.kernel) {
            (*cloud, *kernel, *since) = (of.cloud.clone(), of.kernel.clone(), now);
        }
        (now.duration_since(*since) >= SETTLING).then(|| (id, seen_text(of)))
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::model::VolumeState;
    use crate::reconcile::plan::tests::views as views_of;

    fn said(proofs: &mut Proofs, id: VolumeId, cloud: CloudView, second: i64) -> bool {
        let mut of = views_of(VolumeState::Available, cloud, KernelView::Absent);
        of.record.id = id;
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        let views = Views {
            volumes: vec![of],
            strays: Vec::new(),
            strangers: Vec::new(),
            cloud_answered: true,
            devices_settled: true,
            at: now,
        };
        !proofs.note(&views, &[id], now).is_empty()
    }

    #[test]
    fn the_same_answer_for_a_while_proves_and_a_new_one_begins_anew() {
        let (mut proofs, id) = (Proofs::default(), VolumeId::new());
        assert!(!said(&mut proofs, id, CloudView::Detached, 0));
        assert!(!said(&mut proofs, id, CloudView::AttachedHere, 10), "it changed");
        assert!(!said(&mut proofs, id, CloudView::AttachedHere, 11));
        assert!(!said(&mut proofs, id, CloudView::Unknown, 12), "no answer");
        assert!(!said(&mut proofs, id, CloudView::AttachedHere, 20));
        assert!(!said(&mut proofs, id, CloudView::Busy("a job".into()), 21));
        assert!(!said(&mut proofs, id, CloudView::AttachedHere, 22));
        assert!(said(&mut proofs, id, CloudView::AttachedHere, 25));
    }
}
