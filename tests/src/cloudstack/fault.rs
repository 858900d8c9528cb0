//! The faults that a test can order: what goes wrong, and with which of the coming calls.
//!
//! A fault is armed for a command and taken by a call of it. Each call takes every fault that is due, so two rules for
//! one command may both strike. By chance means by a stream of numbers that follows from a seed: the k-th call of the
//! command draws the k-th number, so a run with the same calls has the same faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::Chance;

/// Something that goes wrong with one call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection is cut before the request is taken.
    LoseRequest,
    /// The request is taken, then the connection is cut without an answer.
    LoseAnswer,
    /// The request arrives after the hold. The caller may have gone; its expiry is judged on arrival.
    Delay(Hold),
    /// The request arrives a second time after the hold, and its expiry is judged then. Nobody hears the second answer.
    Duplicate(Hold),
    /// A 401 for no reason; nothing is taken.
    Unauthorised,
    /// 429 with this wait; nothing is taken.
    TooMany(Duration),
    /// A page of HTML with status 200, as a proxy gives it; nothing is taken.
    Html,
    /// The answer breaks off in the middle of the JSON; the request was taken.
    Garbled,
    /// 503: the server takes no jobs because it is going down.
    Maintenance,
    /// A list as it was before the last change.
    Stale,
    /// The job waits, in its turn in the VM's queue; the answer of a command without a job does.
    Slow(Hold),
    /// The job fails with this code and text, before anything is done.
    FailInJob(u16, String),
    /// The job is judged to block others: failed with code 0 and without a result, while the work goes on after the hold.
    JudgedBlocking(Hold),
    /// The management server restarts in the middle of the job.
    Restart(Moment),
    /// The detach times out, and the guest lets go after the hold.
    LateDetach(Hold),
    /// A second detach of the same volume was in the queue of that VM and runs after the hold: the hypervisor is asked,
    /// then the attachment that the volume has *by then* is cleared, whatever it is.
    StragglingDetach(Hold),
    /// The disk is plugged in with a size that differs by so many bytes.
    WrongSize(i64),
    /// The storage cannot delete: the row stays in this state with an error.
    StickyDelete(Stuck),
}

impl Fault {
    /// Its kind in one word, for counting.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LoseRequest => "lost_request",
            Self::LoseAnswer => "lost_answer",
            Self::Delay(_) => "delayed",
            Self::Duplicate(_) => "duplicated",
            Self::Unauthorised => "unauthorised",
            Self::TooMany(_) => "too_many",
            Self::Html => "html",
            Self::Garbled => "garbled",
            Self::Maintenance => "maintenance",
            Self::Stale => "stale_list",
            Self::Slow(_) => "slow",
            Self::FailInJob(..) => "failed_job",
            Self::JudgedBlocking(_) => "judged_blocking",
            Self::Restart(Moment::BeforeHypervisor) => "restart_before",
            Self::Restart(Moment::AfterHypervisor) => "restart_after",
            Self::LateDetach(_) => "late_detach",
            Self::StragglingDetach(_) => "straggling_detach",
            Self::WrongSize(_) => "wrong_size",
            Self::StickyDelete(_) => "sticky_delete",
        }
    }
}

/// Where a job is when the management server restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The hypervisor was not asked yet.
    BeforeHypervisor,
    /// The hypervisor has done it, and the database does not know.
    AfterHypervisor,
}

/// The state in which a volume stays that cannot be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are CloudStack's")]
pub enum Stuck {
    Destroy,
    Expunging,
}

/// How long something waits.
#[derive(Debug, Clone)]
pub enum Hold {
    /// So long.
    For(Duration),
    /// Until the gate is opened.
    Until(Gate),
}

/// A gate that a test opens; closed at first, and open for ever once opened.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

/// The faults of a server.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Armed>>);

#[derive(Debug, Default)]
struct Armed {
    rules: Vec<Rule>,
    struck: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Rule {
    command: String,
    fault: Fault,
    when: When,
}

#[derive(Debug)]
enum When {
    /// Once, after so many calls more.
    After(u32),
    /// So often in a thousand calls.
    ByChance(u64, Chance),
}

impl Faults {
    /// Arms a fault for the next call of the command.
    pub fn next(&self, command: &str, fault: Fault) {
        self.nth(command, 1, fault);
    }

    /// Arms a fault for the `n`-th call of the command from now, counted from 1.
    pub fn nth(&self, command: &str, n: u32, fault: Fault) {
        self.add(command, fault, When::After(n.saturating_sub(1)));
    }

    /// Arms a fault that strikes `per_mille` in a thousand calls of the command, until it is disarmed.
    pub fn by_chance(&self, command: &str, per_mille: u64, fault: Fault, chance: &mut Chance) {
        self.add(command, fault, When::ByChance(per_mille, chance.branch()));
    }

    /// Disarms all.
    pub fn disarm(&self) {
        self.0.lock().rules.clear();
    }

    /// How often each kind of fault has struck a call so far.
    #[must_use]
    pub fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().struck.clone()
    }

    /// How many faults are armed and have not struck; those by chance count for ever.
    #[must_use]
    pub fn armed(&self) -> usize {
        self.0.lock().rules.len()
    }

    fn add(&self, command: &str, fault: Fault, when: When) {
        self.0.lock().rules.push(Rule {
            command: command.to_owned(),
            fault,
            when,
        });
    }

    /// Takes what strikes this call.
    pub(super) fn draw(&self, command: &str) -> Drawn {
        let mut drawn = Vec::new();
        let Armed { rules, struck } = &mut *self.0.lock();
        rules.retain_mut(|rule| {
            if rule.command != command {
                return true;
            }
            match &mut rule.when {
                When::After(0) => {
                    drawn.push(rule.fault.clone());
                    return false;
                }
                When::After(calls) => *calls -= 1,
                When::ByChance(per_mille, chance) => {
                    if chance.below(1000) < *per_mille {
                        drawn.push(rule.fault.clone());
                    }
                }
            }
            true
        });
        for fault in &drawn {
            *struck.entry(fault.kind()).or_default() += 1;
        }
        Drawn(drawn)
    }
}

/// The faults of one call.
#[derive(Debug, Clone, Default)]
pub(super) struct Drawn(Vec<Fault>);

impl Drawn {
    /// The first that `pick` knows.
    pub(super) fn find<T>(&self, pick: impl FnMut(&Fault) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(pick)
    }

    pub(super) fn slowness(&self) -> Option<Hold> {
        self.find(|fault| match fault {
            Fault::Slow(hold) => Some(hold.clone()),
            _ => None,
        })
    }

    pub(super) fn has(&self, is: impl Fn(&Fault) -> bool) -> bool {
        self.0.iter().any(is)
    }
}

impl Hold {
    pub(super) async fn wait(&self) {
        match self {
            Self::For(time) => tokio::time::sleep(*time).await,
            Self::Until(gate) => gate.passed().await,
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Gate {
    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        let mut watched = self.0.subscribe();
        // The sender is ours and lives as long as this call.
        let _ = watched.wait_for(|open| *open).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(faults: &Faults, command: &str) -> bool {
        faults.draw(command).has(|fault| matches!(fault, Fault::Html))
    }

    #[test]
    fn a_fault_strikes_the_call_it_was_armed_for() {
        let faults = Faults::default();
        faults.nth("listVolumes", 2, Fault::Html);
        assert!(!strikes(&faults, "listZones"));
        let struck: Vec<_> = (0..3).map(|_| strikes(&faults, "listVolumes")).collect();
        assert_eq!(struck, [false, true, false]);
        assert_eq!(faults.struck(), BTreeMap::from([("html", 1)]));
        assert_eq!(faults.armed(), 0);
    }

    #[test]
    fn chance_repeats_itself() {
        let run = |chance: &Chance| {
            let faults = Faults::default();
            faults.by_chance("x", 300, Fault::Html, &mut chance.clone());
            (0..200).map(|_| strikes(&faults, "x")).collect::<Vec<_>>()
        };
        let chance = Chance::seeded("faults repeat themselves");
        let first = run(&chance);
        assert_eq!(first, run(&chance));
        let struck = first.iter().filter(|struck| **struck).count();
        assert!((20..120).contains(&struck), "{struck} of 200 at 30 %");
    }

    #[test]
    fn faults_can_be_disarmed() {
        let faults = Faults::default();
        faults.next("x", Fault::Html);
        faults.disarm();
        assert!(!strikes(&faults, "x"));
    }
}
