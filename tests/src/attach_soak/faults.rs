//! Which faults the cloud of the soak has, and how often: all of them, all the time.

use std::time::Duration;

use crate::Chance;
use crate::cloudstack::{Fault, Faults, Hold, Moment, Stuck};

/// How much larger than it should be a disk of the wrong size is, in bytes. Never smaller: that would cut off what the
/// storage holds, and the soak counts every block.
pub(super) const WRONG_BY: i64 = 1 << 20;

/// Arms the faults. So often in a thousand calls of the command does each strike.
pub(super) fn arm(faults: &Faults, chance: &mut Chance) {
    for (command, per_mille, fault) in table() {
        faults.by_chance(command, per_mille, fault, chance);
    }
}

fn table() -> Vec<(&'static str, u64, Fault)> {
    let mut table = vec![
        ("attachVolume", 10, Fault::WrongSize(WRONG_BY)),
        ("attachVolume", 10, Fault::JudgedBlocking(briefly(800))),
        ("attachVolume", 10, Fault::Restart(Moment::BeforeHypervisor)),
        ("attachVolume", 15, Fault::Restart(Moment::AfterHypervisor)),
        ("attachVolume", 10, internal_error()),
        ("detachVolume", 10, Fault::JudgedBlocking(briefly(800))),
        ("detachVolume", 10, Fault::Restart(Moment::BeforeHypervisor)),
        ("detachVolume", 10, Fault::Restart(Moment::AfterHypervisor)),
        ("detachVolume", 15, Fault::LateDetach(briefly(600))),
        ("detachVolume", 5, Fault::StragglingDetach(briefly(400))),
        ("detachVolume", 10, internal_error()),
        ("deleteVolume", 100, Fault::StickyDelete(Stuck::Destroy)),
        ("deleteVolume", 100, Fault::StickyDelete(Stuck::Expunging)),
        ("resizeVolume", 30, Fault::Restart(Moment::AfterHypervisor)),
        ("listVolumes", 20, Fault::Stale),
    ];
    for change in [
        "createVolume",
        "attachVolume",
        "detachVolume",
        "resizeVolume",
        "deleteVolume",
    ] {
        table.extend([
            (change, 8, Fault::LoseRequest),
            (change, 15, Fault::LoseAnswer),
            (change, 10, Fault::Garbled),
            (change, 15, Fault::Delay(briefly(300))),
            (change, 10, Fault::Duplicate(briefly(500))),
            (change, 20, Fault::Slow(briefly(700))),
        ]);
    }
    for any in [
        "createVolume",
        "attachVolume",
        "detachVolume",
        "resizeVolume",
        "deleteVolume",
        "listVolumes",
        "queryAsyncJobResult",
    ] {
        table.extend([
            (any, 4, Fault::Unauthorised),
            (any, 4, Fault::TooMany(Duration::from_millis(400))),
            (any, 4, Fault::Html),
            (any, 4, Fault::Maintenance),
        ]);
    }
    for reading in ["listVolumes", "queryAsyncJobResult", "listAsyncJobs"] {
        table.extend([
            (reading, 3, Fault::LoseRequest),
            (reading, 3, Fault::LoseAnswer),
            (reading, 4, Fault::Garbled),
        ]);
    }
    table
}

fn briefly(milliseconds: u64) -> Hold {
    Hold::For(Duration::from_millis(milliseconds))
}

fn internal_error() -> Fault {
    Fault::FailInJob(530, "Unexpected exception".to_owned())
}
