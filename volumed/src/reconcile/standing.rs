//! What stands: since when, whether it is shown yet, and what the daemon has tried about it.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use volume_client::types::{Finding, FindingRepair, Ignored};

use super::finding::{Bounds, Disagreement, SETTLING, Subject};
use crate::model::{FindingId, OperationId, VolumeId};
use crate::store::IgnoredRecord;

/// How long after a repair that did not help it is tried again; twice as long after each further one. A volume is not
/// anybody else's while it is being repaired.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// So often the pause is doubled: then it is a quarter of an hour.
const DOUBLED_AT_MOST: u32 = 4;
/// While anything stands it is looked again at least so often, to see it go.
const SOON: Duration = Duration::from_secs(10);
/// The same in the first minute: most things go as quickly as they came.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A disagreement that stands.
#[derive(Debug, Clone)]
pub(super) struct Stood {
    pub(super) disagreement: Disagreement,
    pub(super) since: Timestamp,
    tried: Option<Tried>,
    told: bool,
}

/// The latest repair of a disagreement.
#[derive(Debug, Clone, Copy)]
struct Tried {
    operation: Option<OperationId>,
    /// When it was last seen under way.
    at: Timestamp,
    /// How many came before it.
    before: u32,
}

impl Tried {
    /// When the disagreement may be repaired again.
    fn rested_at(&self) -> Timestamp {
        let pause = AGAIN * (1 << self.before.min(DOUBLED_AT_MOST));
        self.at.saturating_add(pause).unwrap_or(Timestamp::MAX)
    }
}

/// Of what nothing is concluded at present: what was found of it before stands. A repair under way must not make its
/// disagreement a new one, or one that does not help would be tried again and again without a pause.
#[derive(Debug, Clone, Default)]
pub(super) struct Undecided {
    pub(super) volumes: HashSet<VolumeId>,
    /// The cloud does not answer, so nothing is known to have gone there.
    pub(super) cloud: bool,
    /// Devices are appearing or going.
    pub(super) devices: bool,
}

impl Undecided {
    fn is_about(&self, of: &Disagreement) -> bool {
        match &of.subject {
            Subject::Volume { id, .. } => self.volumes.contains(id),
            Subject::Provider(_) => self.cloud,
            Subject::Disk(_) => self.cloud || self.devices,
        }
    }
}

/// How a repair stands that the daemon makes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// It is due.
    Due,
    /// Not yet, and why.
    Waits(String),
}

/// Something that people are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) id: FindingId,
    pub(super) disagreement: Disagreement,
    /// It has gone; else it has appeared.
    pub(super) is_gone: bool,
}

/// Everything that stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    stood: BTreeMap<FindingId, Stood>,
    gone: Vec<Notice>,
}

impl Standing {
    /// Notes what was found now.
    pub(super) fn note(&mut self, found: Vec<Disagreement>, undecided: &Undecided, now: Timestamp) {
        let found: BTreeMap<FindingId, Disagreement> = found.into_iter().map(|one| (one.id(), one)).collect();
        let gone = &mut self.gone;
        self.stood.retain(|id, stood| {
            let stays = found.contains_key(id) || undecided.is_about(&stood.disagreement);
            if !stays && stood.told {
                gone.push(Notice {
                    id: id.clone(),
                    disagreement: stood.disagreement.clone(),
                    is_gone: true,
                });
            }
            // The pause begins when the repair has ended.
            if let Some(tried) = stood
                .tried
                .as_mut()
                .filter(|_| undecided.is_about(&stood.disagreement))
            {
                tried.at = now;
            }
            stays
        });
        for (id, disagreement) in found {
            let stood = self.stood.entry(id).or_insert_with(|| Stood {
                disagreement: disagreement.clone(),
                since: now,
                tried: None,
                told: false,
            });
            stood.disagreement = disagreement;
        }
    }

    /// What has appeared or gone since this was asked last. What is passed over is not told of.
    pub(super) fn take_notices(
        &mut self,
        now: Timestamp,
        bounds: &Bounds,
        ignored: &[IgnoredRecord],
    ) -> Vec<Notice> {
        let mut notices = std::mem::take(&mut self.gone);
        for (id, stood) in &mut self.stood {
            let is_ignored = ignored.iter().any(|one| one.id == *id);
            if stood.told || is_ignored || !is_shown(stood, now, bounds) {
                continue;
            }
            stood.told = true;
            notices.push(Notice {
                id: id.clone(),
                disagreement: stood.disagreement.clone(),
                is_gone: false,
            });
        }
        notices
    }

    /// The repairs that the daemon makes by itself.
    pub(super) fn plans(
        &self,
        now: Timestamp,
        bounds: &Bounds,
        ignored: &[IgnoredRecord],
    ) -> Vec<(FindingId, Disagreement, FindingRepair, Plan)> {
        let plan = |id: &FindingId, stood: &Stood| {
            let must_stand = stood.disagreement.grace(bounds).max(SETTLING);
            let left = must_stand - now.duration_since(stood.since);
            if ignored.iter().any(|one| one.id == *id) {
                return Plan::Waits("somebody wants it passed over".to_owned());
            }
            if left > SignedDuration::ZERO {
                return Plan::Waits(format!("it must stand {} s longer", left.as_secs() + 1));
            }
            match stood.tried {
                Some(tried) if now < tried.rested_at() => {
                    let again = tried.rested_at().strftime("%H:%M:%S UTC");
                    Plan::Waits(format!(
                        "it was tried at {}, and is tried again at {again}",
                        tried.at
                    ))
                }
                _ => Plan::Due,
            }
        };
        let own = |(id, stood): (&FindingId, &Stood)| {
            let repair = stood.disagreement.own_repair()?;
            Some((id.clone(), stood.disagreement.clone(), repair, plan(id, stood)))
        };
        self.stood.iter().filter_map(own).collect()
    }

    /// Notes that a repair was tried, by which operation.
    pub(super) fn tried(&mut self, id: &FindingId, now: Timestamp, operation: Option<OperationId>) {
        if let Some(stood) = self.stood.get_mut(id) {
            let before = stood.tried.map_or(0, |tried| tried.before + 1);
            stood.tried = Some(Tried {
                operation,
                at: now,
                before,
            });
        }
    }

    /// What has stood for long enough to be shown.
    pub(super) fn shown(&self, now: Timestamp, bounds: &Bounds, ignored: &[IgnoredRecord]) -> Vec<Finding> {
        let shown = self
            .stood
            .iter()
            .filter(|(_, stood)| is_shown(stood, now, bounds));
        shown.map(|(id, stood)| wire(id, stood, ignored)).collect()
    }

    /// All that stands, what is not shown yet included.
    pub(super) fn all(&self, ignored: &[IgnoredRecord]) -> Vec<Finding> {
        self.stood
            .iter()
            .map(|(id, stood)| wire(id, stood, ignored))
            .collect()
    }

    /// The disagreement of this id, where it is shown.
    pub(super) fn get(&self, id: &FindingId, now: Timestamp, bounds: &Bounds) -> Option<Disagreement> {
        let stood = self.stood.get(id).filter(|stood| is_shown(stood, now, bounds))?;
        Some(stood.disagreement.clone())
    }

    /// How long until it is worth looking again: something is then shown, or due. Never longer than `timer`.
    pub(super) fn next_look(&self, now: Timestamp, bounds: &Bounds, timer: Duration) -> Duration {
        let left = |stood: &Stood| {
            let must_stand = stood.disagreement.grace(bounds).max(SETTLING);
            let overdue = now.duration_since(stood.since) - must_stand;
            match Duration::try_from(-overdue) {
                Ok(left) => left,
                Err(_) if overdue < AGAIN => AT_ONCE,
                Err(_) => SOON,
            }
        };
        let soonest = self.stood.values().map(left).min();
        soonest.map_or(timer, |soonest| {
            soonest.clamp(Duration::from_secs(1), SOON).min(timer)
        })
    }
}

fn is_shown(stood: &Stood, now: Timestamp, bounds: &Bounds) -> bool {
    now.duration_since(stood.since) >= stood.disagreement.grace(bounds)
}

fn wire(id: &FindingId, stood: &Stood, ignored: &[IgnoredRecord]) -> Finding {
    let seen = &stood.disagreement;
    let ignored = ignored.iter().find(|one| one.id == *id);
    Finding {
        id: id.clone(),
        kind: seen.kind,
        severity: seen.severity,
        volume_id: seen.volume_id(),
        provider_volume_id: seen.provider_volume_id().map(str::to_owned),
        record: seen.record.clone(),
        cloud: seen.cloud.clone(),
        kernel: seen.kernel.clone(),
        repair: seen.advice.clone(),
        proposal: seen.repair,
        ignored: ignored.map(|one| Ignored {
            actor: one.actor.clone(),
            why: one.why.clone(),
            at: one.at,
        }),
        operation_id: stood.tried.and_then(|tried| tried.operation),
        since: stood.since,
    }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
