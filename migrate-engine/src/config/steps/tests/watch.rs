//! A running process takes changes up, and goes on with the last good configuration where a change is bad.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;
use tokio::time::timeout;

use crate::config::alarms::{Alarms, Heard};
use crate::config::steps::{Change, Pace, Steps, StepsError, StepsWatch};

use super::{EXISTING, Place, connection, kvm};

const PATIENCE: Duration = Duration::from_secs(30);

/// Events alone: the timer comes too late to help.
const BY_EVENTS: Pace = Pace {
    quiet: Duration::from_millis(10),
    longest: Duration::from_millis(100),
    rest: Duration::from_secs(3600),
};

async fn started(place: &Place) -> StepsWatch {
    StepsWatch::start_at(place.file(), BY_EVENTS).await.unwrap()
}

async fn stores(steps: &mut Receiver<Arc<Steps>>, storage: &str) {
    timeout(PATIENCE, steps.wait_for(|steps| steps.storage == storage))
        .await
        .unwrap_or_else(|_| panic!("storage did not become {storage}"))
        .unwrap();
}

type Problem = Option<Arc<StepsError>>;

async fn says(problem: &mut Receiver<Problem>, is_expected: impl FnMut(&Problem) -> bool) -> Problem {
    let found = timeout(PATIENCE, problem.wait_for(is_expected)).await;
    found.expect("the problem was not said").unwrap().clone()
}

fn storing(storage: &str) -> String {
    EXISTING.replace("local-lvm", storage)
}

/// As most editors do it.
fn save(place: &Place, text: &str) {
    let new = place.folder().join(".config.json.new~");
    fs::write(&new, text).unwrap();
    fs::rename(new, place.path()).unwrap();
}

#[tokio::test]
async fn changes_of_every_kind_are_taken_up() {
    let place = Place::with(EXISTING);
    let watch = started(&place).await;
    let mut steps = watch.steps();
    assert_eq!(steps.borrow().storage, "local-lvm");
    place.put(&storing("in-place"));
    stores(&mut steps, "in-place").await;
    save(&place, &storing("renamed"));
    stores(&mut steps, "renamed").await;
    save(&place, &storing("renamed-again"));
    stores(&mut steps, "renamed-again").await;
    fs::rename(place.path(), place.folder().join("config.json~")).unwrap();
    place.put(&storing("with-backup"));
    stores(&mut steps, "with-backup").await;
    place.file().apply(&Change::Storage("step".to_owned())).unwrap();
    stores(&mut steps, "step").await;
    assert!(watch.problem().borrow().is_none());
}

#[tokio::test]
async fn a_bad_change_is_said_and_the_last_good_one_stays() {
    let place = Place::with(EXISTING);
    let watch = started(&place).await;
    let (mut steps, mut problem) = (watch.steps(), watch.problem());
    place.put("{\"storage\": \"hunter2\",}");
    let said = says(&mut problem, Option::is_some).await.unwrap();
    assert!(matches!(*said, StepsError::Broken { line: 1, .. }), "{said}");
    place.put("{\"storage\": 7}");
    let said = says(&mut problem, |it| {
        matches!(it.as_deref(), Some(StepsError::Flawed { .. }))
    })
    .await;
    assert!(
        said.unwrap()
            .to_string()
            .contains("`storage` (line 1) is a number")
    );
    assert_eq!(steps.borrow_and_update().storage, "local-lvm");
    place.put(&storing("mended"));
    stores(&mut steps, "mended").await;
    says(&mut problem, Option::is_none).await;
}

#[tokio::test]
async fn a_file_that_is_deleted_and_made_anew_is_taken_up() {
    let place = Place::with(EXISTING);
    let watch = started(&place).await;
    let (mut steps, mut problem) = (watch.steps(), watch.problem());
    fs::remove_file(place.path()).unwrap();
    let said = says(&mut problem, Option::is_some).await.unwrap();
    assert!(matches!(*said, StepsError::Missing { .. }), "{said}");
    assert_eq!(steps.borrow().storage, "local-lvm");
    place.put(&storing("anew"));
    stores(&mut steps, "anew").await;
    says(&mut problem, Option::is_none).await;
}

#[tokio::test]
async fn a_file_that_is_not_there_yet_is_waited_for() {
    let place = Place::empty();
    let watch = started(&place).await;
    assert_eq!(**watch.steps().borrow(), Steps::default());
    assert!(watch.problem().borrow().is_some());
    place.file().apply(&Change::Storage("first".to_owned())).unwrap();
    stores(&mut watch.steps(), "first").await;
    says(&mut watch.problem(), Option::is_none).await;
}

#[tokio::test]
async fn a_broken_file_at_the_start_is_an_error() {
    let error = StepsWatch::start(Place::with("{").file()).await.unwrap_err();
    assert!(matches!(error, StepsError::Broken { .. }), "{error}");
}

#[tokio::test]
async fn behind_a_link_the_target_and_the_link_are_followed() {
    let (place, one, two) = (
        Place::empty(),
        Place::with(EXISTING),
        Place::with(&storing("two")),
    );
    symlink(one.path(), place.path()).unwrap();
    let watch = started(&place).await;
    let mut steps = watch.steps();
    save(&one, &storing("one"));
    stores(&mut steps, "one").await;
    symlink(two.path(), place.folder().join("next")).unwrap();
    fs::rename(place.folder().join("next"), place.path()).unwrap();
    stores(&mut steps, "two").await;
    save(&two, &storing("two-again"));
    stores(&mut steps, "two-again").await;
}

#[tokio::test]
async fn what_does_not_change_what_is_said_wakes_nobody() {
    let place = Place::with(EXISTING);
    let watch = started(&place).await;
    let (mut steps, mut problem) = (watch.steps(), watch.problem());
    place.put("{");
    says(&mut problem, Option::is_some).await;
    steps.mark_unchanged();
    // The problem goes with a look at a file that is good, and says what it said before.
    save(&place, &EXISTING.replace('\n', "\r\n"));
    says(&mut problem, Option::is_none).await;
    assert!(!steps.has_changed().unwrap());
}

#[tokio::test]
async fn a_folder_that_is_never_quiet_does_not_put_a_change_off_for_ever() {
    let place = Place::with(EXISTING);
    let watch = started(&place).await;
    let mut steps = watch.steps();
    let noise = tokio::spawn({
        let other = place.folder().join("other");
        async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(2));
            loop {
                ticks.tick().await;
                fs::write(&other, "x").unwrap();
            }
        }
    });
    place.put(&storing("heard"));
    stores(&mut steps, "heard").await;
    noise.abort();
}

#[tokio::test]
async fn where_events_are_lost_the_file_is_read_all_the_same() {
    let place = Place::with(EXISTING);
    let watch = started(&place).await;
    // On this thread nobody takes events in until we wait.
    let mut alarms = Alarms::new(&place.path()).unwrap();
    alarms.follow(&place.path());
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let (one, two) = (place.folder().join("one"), place.folder().join("two"));
    fs::write(&one, "").unwrap();
    for _ in 0..limit / 4 + 1 {
        fs::rename(&one, &two).unwrap();
        fs::rename(&two, &one).unwrap();
    }
    place.put(&storing("late"));
    stores(&mut watch.steps(), "late").await;
    let overflow = async { while alarms.heard().await != Heard::Overflow {} };
    timeout(PATIENCE, overflow)
        .await
        .expect("the queue did not overflow");
    // What was overrun hears on.
    save(&place, &storing("later"));
    stores(&mut watch.steps(), "later").await;
}

#[tokio::test]
async fn a_folder_that_is_replaced_is_found_by_the_timer() {
    let outer = Place::empty();
    let folder = outer.folder().join("etc");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), EXISTING).unwrap();
    let file = crate::config::steps::StepsFile::at(&folder.join("config.json")).unwrap();
    let pace = Pace {
        rest: Duration::from_millis(50),
        ..BY_EVENTS
    };
    let watch = StepsWatch::start_at(file, pace).await.unwrap();
    let mut steps = watch.steps();
    fs::rename(&folder, outer.folder().join("old")).unwrap();
    says(&mut watch.problem(), Option::is_some).await;
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), storing("replaced")).unwrap();
    stores(&mut steps, "replaced").await;
    fs::write(folder.join("config.json"), storing("and-on")).unwrap();
    stores(&mut steps, "and-on").await;
}

#[tokio::test]
async fn steps_one_after_the_other_end_in_the_last() {
    let place = Place::empty();
    let watch = started(&place).await;
    let file = place.file();
    let writer = tokio::task::spawn_blocking(move || {
        for round in 0..20 {
            file.apply(&Change::Source(connection(&format!("esxi{round}"))))
                .unwrap();
            file.apply(&Change::Kvm(kvm(&format!("kvm{round}")))).unwrap();
        }
    });
    writer.await.unwrap();
    let mut steps = watch.steps();
    let is_last = |steps: &Arc<Steps>| {
        steps.source().is_ok_and(|it| it.host == "esxi19") && steps.kvm().is_ok_and(|it| it.host == "kvm19")
    };
    timeout(PATIENCE, steps.wait_for(is_last)).await.unwrap().unwrap();
}

#[tokio::test]
async fn dropped_it_ends() {
    let place = Place::with(EXISTING);
    let watch = started(&place).await;
    let mut steps = watch.steps();
    drop(watch);
    assert!(timeout(PATIENCE, steps.changed()).await.unwrap().is_err());
}
