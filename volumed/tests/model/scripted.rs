//! Histories that were written down: what random ones found, one test each.

use std::time::Duration;

use volumed::store;

use crate::cloud_state::Fault;
use crate::daemon::Daemon;
use crate::event::{Asked, Event, History, Stranger, What};
use crate::history::play_and;

/// Events with the milliseconds that pass after each.
fn history(events: &[(What, u64)]) -> History {
    let event = |(what, then_millis): &(What, u64)| Event {
        what: what.clone(),
        then_millis: *then_millis,
    };
    History {
        seed: 1,
        events: events.iter().map(event).collect(),
    }
}

fn attached() -> Vec<(What, u64)> {
    vec![
        (What::Ask(Asked::Create { mib: 1 }), 10_000),
        (What::Ask(Asked::Attach(0)), 20_000),
    ]
}

/// The reconciler looked for a disk that was pulled out again and again: a volume was under repair nearly all the time, and
/// whoever wanted to detach it was told so.
#[test]
fn a_repair_that_does_not_help_leaves_the_volume_to_others() {
    let mut events = attached();
    events.push((What::Stranger(Stranger::Pull(0)), 10_000));
    let (turns, down_millis) = (0, 1000);
    events.push((What::Reboot { turns, down_millis }, 0));
    let watched = play_and(&history(&events), async |daemon: &Daemon| {
        let mut busy = 0;
        for _ in 0..1800 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let open = daemon.store.read(store::operations::all_open).await.unwrap();
            busy += usize::from(!open.is_empty());
        }
        assert!(busy > 0, "it was never repaired");
        assert!(busy < 450, "under repair for {busy} of 1800 seconds");
    });
    watched.unwrap();
}

/// The volume of a create that is being undone was found by somebody and attached: its deletion was sent again and again, and
/// only the cloud's refusal stood between it and his data.
#[test]
fn a_create_that_is_undone_deletes_nothing_that_is_plugged_in() {
    let events = [
        (What::Fault(Fault::LostAnswer), 0),
        (What::Ask(Asked::Create { mib: 1 }), 5000),
        (What::Cancel(0), 0),
        (What::Stranger(Stranger::AttachHere(0)), 120_000),
    ];
    let undone = play_and(&history(&events), async |daemon: &Daemon| {
        let open = daemon.store.read(store::operations::all_open).await.unwrap();
        let waits = open
            .first()
            .and_then(|op| op.waiting_for.clone())
            .unwrap_or_default();
        assert!(waits.contains("to detach"), "{open:?}");
    });
    undone.unwrap();
}

/// The same of a volume that somebody has the cloud at work on: its record has no reference yet by which the call would ask.
#[test]
fn a_create_that_is_undone_waits_until_the_cloud_has_done_its_work() {
    let (volume, seconds) = (0, 60);
    let events = [
        (What::Deaf(4), 0),
        (What::Ask(Asked::Create { mib: 1 }), 2000),
        (What::Stranger(Stranger::Work { volume, seconds }), 100_000),
    ];
    play_and(&history(&events), async |_: &Daemon| {}).unwrap();
}

/// A volume was detached by somebody while it was looked for: the search for its device waited for ever for the cloud to say that
/// it was attached.
#[test]
fn a_correlation_ends_where_the_volume_is_detached_meanwhile() {
    let mut events = attached();
    events.extend([
        (What::Ask(Asked::Correlate(0)), 0),
        (What::Pass { seconds: 0 }, 300),
    ]);
    let (volume, late_millis, turns, down_millis) = (0, 0, 0, 0);
    events.extend([
        (What::Stranger(Stranger::Detach { volume, late_millis }), 0),
        (What::Reboot { turns, down_millis }, 0),
    ]);
    play_and(&history(&events), async |_: &Daemon| {}).unwrap();
}
