//! What may happen in a history.

use proptest::prelude::*;

use crate::cloud_state::Fault;

/// One event, and what time passes after it.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) what: What,
    pub(crate) then_millis: u64,
}

/// A history: replayed from the same seed and events it goes the same way, but for what is said in `main.rs`.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) seed: u64,
    pub(crate) events: Vec<Event>,
}

/// Which of those that there are: taken modulo their number.
pub(crate) type Which = usize;

#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A client asks for an operation.
    Ask(Asked),
    /// It asks again with the key of an earlier request, as a client that got no answer.
    AskAgain(Which),
    /// It asks something else with the key of an earlier request.
    ReuseKey(Which),
    Cancel(Which),
    TakeLease {
        volume: Which,
        write: bool,
        ttl: u32,
    },
    RenewLease(Which),
    ReleaseLease(Which),
    /// It asks for the device, and is then known to have been told.
    Device(Which),
    /// Somebody opens the volume's disk, and writes.
    Open(Which),
    Close(Which),
    /// The daemon dies after so many turns of its tasks, and is started again.
    Crash {
        turns: u32,
        down_millis: u64,
    },
    /// The machine with it.
    Reboot {
        turns: u32,
        down_millis: u64,
    },
    Fault(Fault),
    /// The next readings of the cloud fail.
    Deaf(u32),
    /// Lists show changes late, or no longer do.
    Stale(bool),
    Stranger(Stranger),
    Pass {
        seconds: u64,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Asked {
    Create { mib: u64 },
    Attach(Which),
    Detach(Which),
    Delete { volume: Which, confirm: bool },
    Resize { volume: Which, mib: u64 },
    Correlate(Which),
    TakeSnapshot { volume: Which, name: u8 },
    Revert { volume: Which, snapshot: Which },
    DropSnapshot { volume: Which, snapshot: Which },
}

/// Somebody who does not ask the daemon.
#[derive(Debug, Clone)]
pub(crate) enum Stranger {
    Detach {
        volume: Which,
        late_millis: u64,
    },
    AttachHere(Which),
    AttachElsewhere(Which),
    DetachElsewhere(Which),
    Delete(Which),
    /// Has the cloud at work on the volume for a while.
    Work {
        volume: Which,
        seconds: u64,
    },
    /// Plugs in a disk of his own with the volume's serial.
    Forge(Which),
    /// Plugs in a disk of his own.
    Plug {
        mib: u64,
    },
    /// Takes a disk of his out again.
    Unplug(Which),
    /// Pulls the volume's disk out behind the cloud's back.
    Pull(Which),
    /// Plugs it in again.
    PlugBack(Which),
}

fn asked() -> impl Strategy<Value = Asked> {
    let which = 0..3usize;
    prop_oneof![
        4 => (1..4u64).prop_map(|mib| Asked::Create { mib }),
        8 => which.clone().prop_map(Asked::Attach),
        6 => which.clone().prop_map(Asked::Detach),
        3 => (which.clone(), any::<bool>()).prop_map(|(volume, confirm)| Asked::Delete { volume, confirm }),
        2 => (which.clone(), 1..8u64).prop_map(|(volume, mib)| Asked::Resize { volume, mib }),
        2 => which.clone().prop_map(Asked::Correlate),
        2 => (which.clone(), 0..3u8).prop_map(|(volume, name)| Asked::TakeSnapshot { volume, name }),
        1 => (which.clone(), 0..3usize).prop_map(|(volume, snapshot)| Asked::Revert { volume, snapshot }),
        1 => (which, 0..3usize).prop_map(|(volume, snapshot)| Asked::DropSnapshot { volume, snapshot }),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    use Fault::{
        Conflict, FailedButDone, Late, LateDisk, LateUnplug, LostAnswer, LostRequest, Phantom, Refused, Slow,
        Transient,
    };
    prop::sample::select(vec![
        LostRequest,
        LostAnswer,
        Late,
        Slow,
        Refused,
        Transient,
        Conflict,
        FailedButDone,
        Phantom,
        LateUnplug,
        LateDisk,
    ])
}

fn stranger() -> impl Strategy<Value = Stranger> {
    let which = 0..3usize;
    let lateness = prop_oneof![Just(0), 1..5000u64];
    prop_oneof![
        3 => (which.clone(), lateness).prop_map(|(volume, late_millis)| Stranger::Detach { volume, late_millis }),
        2 => which.clone().prop_map(Stranger::AttachHere),
        1 => which.clone().prop_map(Stranger::AttachElsewhere),
        1 => which.clone().prop_map(Stranger::DetachElsewhere),
        1 => which.clone().prop_map(Stranger::Delete),
        2 => (which.clone(), 5..60u64).prop_map(|(volume, seconds)| Stranger::Work { volume, seconds }),
        3 => which.clone().prop_map(Stranger::Forge),
        1 => (1..4u64).prop_map(|mib| Stranger::Plug { mib }),
        2 => which.clone().prop_map(Stranger::Unplug),
        2 => which.clone().prop_map(Stranger::Pull),
        2 => which.prop_map(Stranger::PlugBack),
    ]
}

fn what() -> impl Strategy<Value = What> {
    let which = 0..3usize;
    let ttl = prop_oneof![Just(2), Just(30), Just(3600)];
    let (turns, down) = (0..150u32, prop_oneof![Just(0), 0..90_000u64]);
    let dying = (turns, down);
    prop_oneof![
        30 => asked().prop_map(What::Ask),
        2 => (0..8usize).prop_map(What::AskAgain),
        1 => (0..8usize).prop_map(What::ReuseKey),
        3 => (0..2usize).prop_map(What::Cancel),
        3 => (which.clone(), any::<bool>(), ttl).prop_map(|(volume, write, ttl)| What::TakeLease { volume, write, ttl }),
        2 => which.clone().prop_map(What::RenewLease),
        2 => which.clone().prop_map(What::ReleaseLease),
        5 => which.clone().prop_map(What::Device),
        2 => which.clone().prop_map(What::Open),
        2 => which.prop_map(What::Close),
        6 => dying.clone().prop_map(|(turns, down_millis)| What::Crash { turns, down_millis }),
        2 => dying.prop_map(|(turns, down_millis)| What::Reboot { turns, down_millis }),
        9 => fault().prop_map(What::Fault),
        2 => (1..30u32).prop_map(What::Deaf),
        2 => any::<bool>().prop_map(What::Stale),
        10 => stranger().prop_map(What::Stranger),
        6 => prop_oneof![1..10u64, 10..100u64].prop_map(|seconds| What::Pass { seconds }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let then = prop_oneof![Just(0u64), 1..400u64, 400..8000u64];
    (what(), then).prop_map(|(what, then_millis)| Event { what, then_millis })
}

/// A random history. It begins with a volume, so that there is something to lose.
pub(crate) fn history() -> impl Strategy<Value = History> {
    (any::<u64>(), prop::collection::vec(event(), 4..40)).prop_map(|(seed, mut events)| {
        let create = What::Ask(Asked::Create { mib: 1 });
        let then_millis = 5000;
        events.insert(
            0,
            Event {
                what: create,
                then_millis,
            },
        );
        History { seed, events }
    })
}
