//! The loop, with a clock that can be set, in paused time.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::schedule::testing::{FakeClock, FakeMemory, FakeStarter, at, schedule};
use crate::schedule::{Begun, VmFate};

struct Bench {
    clock: Arc<FakeClock>,
    memory: Arc<FakeMemory>,
    starter: Arc<FakeStarter>,
    schedules: watch::Sender<Vec<Schedule>>,
    timetable: Timetable,
    stopping: CancellationToken,
    running: JoinHandle<()>,
}

/// A scheduler that begins at a moment of Berlin.
async fn bench(now: &str, schedules: Vec<Schedule>, memory: FakeMemory, starter: FakeStarter) -> Bench {
    let (clock, memory, starter) = (FakeClock::new(now), Arc::new(memory), Arc::new(starter));
    let (sender, receiver) = watch::channel(schedules);
    let stopping = CancellationToken::new();
    let scheduler = Scheduler::new(starter.clone(), memory.clone(), clock.clone());
    let timetable = scheduler.timetable();
    let running = tokio::spawn(scheduler.run(receiver, stopping.clone()));
    let bench = Bench {
        clock,
        memory,
        starter,
        schedules: sender,
        timetable,
        stopping,
        running,
    };
    pass(1).await;
    bench
}

fn fates(selections: &[Begun]) -> Vec<VmFate> {
    let starts = selections.iter().flat_map(|begun| &begun.vms);
    starts.map(|start| start.fate.clone()).collect()
}

/// Lets so many seconds pass.
async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

impl Bench {
    fn outcomes(&self, schedule: &str) -> Vec<Outcome> {
        let runs = self.memory.runs.lock();
        let of_it = runs.iter().filter(|(name, ..)| name == schedule);
        of_it.map(|(.., outcome)| outcome.clone()).collect()
    }

    async fn stop(self) -> Arc<FakeMemory> {
        self.stopping.cancel();
        self.running.await.unwrap();
        self.memory
    }
}

fn memory(last_run: &str) -> FakeMemory {
    let memory = FakeMemory::default();
    memory.last_runs.lock().insert("nightly".to_owned(), at(last_run));
    memory
}

#[tokio::test(start_paused = true)]
async fn what_is_due_begins_and_is_recorded() {
    let schedules = vec![schedule("nightly", "02:30", ""), schedule("also", "02:30", "")];
    let bench = bench(
        "2026-11-30T02:00",
        schedules,
        FakeMemory::default(),
        FakeStarter::default(),
    )
    .await;
    pass(1798).await;
    assert!(bench.starter.started.lock().is_empty());
    pass(3).await;
    for name in ["nightly", "also"] {
        assert_eq!(bench.memory.begun(name), ["2026-11-30T02:30:00"], "{name}");
    }
    pass(2 * 24 * 3600).await;
    assert_eq!(bench.memory.begun("nightly").len(), 3);
    assert!(bench.stop().await.missed.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_said_and_not_begun() {
    let schedules = vec![schedule("nightly", "02:30", "")];
    let bench = bench(
        "2026-11-30T12:00",
        schedules,
        memory("2026-11-27T02:30"),
        FakeStarter::default(),
    )
    .await;
    let missed = Missed {
        first: at("2026-11-28T02:30"),
        last: at("2026-11-30T02:30"),
        runs: 3,
    };
    assert_eq!(*bench.memory.missed.lock(), [("nightly".to_owned(), missed)]);
    assert!(bench.starter.started.lock().is_empty());
    pass(24 * 3600).await;
    assert_eq!(bench.stop().await.begun("nightly"), ["2026-12-01T02:30:00"]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_is_noticed_within_a_minute() {
    let schedules = vec![schedule("nightly", "02:30", "")];
    let bench = bench(
        "2026-11-30T00:00",
        schedules,
        FakeMemory::default(),
        FakeStarter::default(),
    )
    .await;
    bench.clock.jump(SignedDuration::from_mins(149));
    pass(121).await;
    assert_eq!(bench.memory.begun("nightly"), ["2026-11-30T02:30:00"]);
    bench.clock.jump(SignedDuration::from_hours(26));
    pass(61).await;
    assert_eq!(bench.memory.missed.lock()[0].1.runs, 1);
    assert_eq!(bench.stop().await.begun("nightly").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_started_is_recorded_and_stops_nothing() {
    let mut broken = schedule("broken", "02:30", "");
    broken.what.push(broken.what[0].clone());
    broken.what[1].vms = vec!["second".to_owned()];
    let schedules = vec![
        broken,
        schedule("bad", "02:30", ""),
        schedule("good", "02:30", ""),
    ];
    let starter = FakeStarter {
        failing: ["broken"].into(),
        panicking: ["bad"].into(),
        ..FakeStarter::default()
    };
    let bench = bench("2026-11-30T02:29", schedules, FakeMemory::default(), starter).await;
    pass(60).await;
    let fates = |name: &str| match &bench.outcomes(name)[..] {
        [Outcome::Begun { selections }] => fates(selections),
        other => panic!("{other:?}"),
    };
    let why = |words: &str| VmFate::Refused {
        why: words.to_owned(),
    };
    assert_eq!(
        fates("broken"),
        [why("broken-vm was not found"), why("second was not found")]
    );
    assert!(matches!(fates("good")[..], [VmFate::Started { .. }]));
    assert!(matches!(&fates("bad")[..], [VmFate::Refused { why }] if why.contains("broke off")));
    pass(24 * 3600).await;
    for name in ["broken", "bad", "good"] {
        assert_eq!(bench.memory.begun(name).len(), 2, "{name}");
    }
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_is_skipped_while_the_earlier_one_is_being_started() {
    let schedules = vec![schedule("slow", "*:0/15", ""), schedule("other", "*:0/15", "")];
    let starter = FakeStarter {
        hanging: ["slow"].into(),
        ..FakeStarter::default()
    };
    let bench = bench("2026-11-30T02:14", schedules, FakeMemory::default(), starter).await;
    pass(16 * 60).await;
    let earlier = at("2026-11-30T02:15");
    assert_eq!(
        bench.outcomes("slow"),
        [Outcome::SkippedWhileStarting { earlier }]
    );
    assert_eq!(bench.memory.begun("other").len(), 2);
    bench.starter.let_go.notify_one();
    pass(1).await;
    assert_eq!(bench.memory.begun("slow"), ["2026-11-30T02:15:00"]);
    pass(15 * 60).await;
    bench.starter.let_go.notify_one();
    pass(1).await;
    assert_eq!(bench.stop().await.begun("slow").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_blackout_defers_or_skips() {
    let office = "blackouts = ['Mon..Fri 08:00-18:00']";
    let schedules = vec![
        schedule("defers", "09:00", office),
        schedule("skips", "09:00", &format!("{office}\nin_blackout = 'skip'")),
    ];
    let bench = bench(
        "2026-11-30T08:59",
        schedules,
        FakeMemory::default(),
        FakeStarter::default(),
    )
    .await;
    pass(60).await;
    let until = at("2026-11-30T18:00");
    assert_eq!(bench.outcomes("skips"), [Outcome::SkippedInBlackout { until }]);
    assert!(bench.starter.started.lock().is_empty());
    pass(9 * 3600).await;
    assert_eq!(bench.memory.begun("defers"), ["2026-11-30T18:00:00"]);
    assert!(bench.stop().await.begun("skips").is_empty());
}

#[tokio::test(start_paused = true)]
async fn schedules_are_replaced_while_it_runs() {
    let bench = bench(
        "2026-11-30T02:00",
        vec![schedule("nightly", "02:30", "")],
        FakeMemory::default(),
        FakeStarter::default(),
    )
    .await;
    let sent = vec![schedule("nightly", "02:20", ""), schedule("new", "02:10", "")];
    bench.schedules.send(sent).unwrap();
    pass(3600).await;
    assert_eq!(bench.memory.begun("new"), ["2026-11-30T02:10:00"]);
    assert_eq!(bench.memory.begun("nightly"), ["2026-11-30T02:20:00"]);
    bench.schedules.send(vec![]).unwrap();
    pass(3 * 24 * 3600).await;
    assert_eq!(bench.starter.started.lock().len(), 2);
    assert!(bench.stop().await.missed.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_broken_memory_stops_nothing() {
    let memory = FakeMemory {
        is_broken: true,
        ..memory("2026-11-27T02:30")
    };
    let schedules = vec![schedule("nightly", "02:30", "")];
    let bench = bench("2026-11-30T02:00", schedules, memory, FakeStarter::default()).await;
    pass(2 * 24 * 3600).await;
    assert_eq!(bench.starter.started.lock().len(), 2);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_starts_and_begins_no_more() {
    let starter = FakeStarter {
        hanging: ["nightly"].into(),
        ..FakeStarter::default()
    };
    let schedules = vec![schedule("nightly", "02:30", "")];
    let bench = bench("2026-11-30T02:29", schedules, FakeMemory::default(), starter).await;
    pass(60).await;
    bench.stopping.cancel();
    pass(24 * 3600).await;
    assert!(!bench.running.is_finished());
    bench.starter.let_go.notify_one();
    assert_eq!(bench.stop().await.begun("nightly"), ["2026-11-30T02:30:00"]);
}

#[tokio::test(start_paused = true)]
async fn the_timetable_tells_what_is_next_also_what_waits_for_a_blackout_to_end() {
    let office = "blackouts = ['Mon..Fri 08:00-18:00']";
    let schedules = vec![
        schedule("waits", "09:00", office),
        schedule("nightly", "02:30", ""),
    ];
    let bench = bench(
        "2026-11-30T08:59",
        schedules,
        FakeMemory::default(),
        FakeStarter::default(),
    )
    .await;
    pass(3600).await;
    let next = async || {
        let standing = bench.timetable.standing().await;
        let runs = standing
            .into_iter()
            .map(|it| (it.schedule.name, it.next.unwrap().begins));
        runs.collect::<Vec<_>>()
    };
    let nightly = ("nightly".to_owned(), at("2026-12-01T02:30"));
    let waits = ("waits".to_owned(), at("2026-11-30T18:00"));
    assert_eq!(next().await, [nightly.clone(), waits]);
    bench
        .schedules
        .send(vec![schedule("nightly", "02:30", "")])
        .unwrap();
    pass(1).await;
    assert_eq!(next().await, [nightly]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_person_starts_begins_now_and_leaves_the_calendar_as_it_is() {
    let starter = FakeStarter {
        failing: ["broken"].into(),
        panicking: ["bad"].into(),
        ..FakeStarter::default()
    };
    let always = "blackouts = ['Mon..Fri 00:00-24:00']";
    let schedules = vec![
        schedule("nightly", "02:30", always),
        schedule("broken", "02:30", ""),
        schedule("bad", "02:30", ""),
    ];
    let bench = bench("2026-11-30T12:00", schedules, FakeMemory::default(), starter).await;
    let settled = bench.memory.last_runs.lock().clone();
    let before = bench.timetable.standing().await;
    let begun = bench.timetable.run_now("nightly").await.unwrap();
    assert!(matches!(fates(&begun)[..], [VmFate::Started { .. }]));
    let begun = bench.timetable.run_now("broken").await.unwrap();
    assert!(matches!(fates(&begun)[..], [VmFate::Refused { .. }]));
    let none = bench.timetable.run_now("nobody").await.unwrap_err();
    assert!(matches!(none, RunNowError::NoSuchSchedule { .. }), "{none}");
    let broken = bench.timetable.run_now("bad").await;
    assert_eq!(broken, Err(RunNowError::BrokeOff));
    pass(1).await;
    assert_eq!(bench.timetable.standing().await, before);
    assert_eq!(*bench.memory.last_runs.lock(), settled);
    assert_eq!(bench.memory.by_hand.lock().len(), 3);
    assert_eq!(bench.timetable.history("bad", 5).await.unwrap().taken.len(), 1);
    assert!(bench.stop().await.runs.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_schedule_is_not_started_twice_at_once() {
    let starter = FakeStarter {
        hanging: ["slow"].into(),
        ..FakeStarter::default()
    };
    let schedules = vec![schedule("slow", "12:15", "")];
    let bench = bench("2026-11-30T12:00", schedules, FakeMemory::default(), starter).await;
    let since = bench.clock.now();
    let timetable = bench.timetable.clone();
    let first = tokio::spawn(async move { timetable.run_now("slow").await });
    pass(1).await;
    let second = bench.timetable.run_now("slow").await;
    let schedule = "slow".to_owned();
    assert_eq!(second, Err(RunNowError::BeingStarted { schedule, since }));
    pass(15 * 60).await;
    let skipped = Outcome::SkippedWhileStarting { earlier: since };
    assert_eq!(bench.outcomes("slow"), [skipped]);
    // Whoever asked goes; the start comes to its end all the same.
    first.abort();
    bench.stopping.cancel();
    pass(1).await;
    assert_eq!(
        bench.timetable.run_now("slow").await,
        Err(RunNowError::BrokeOff),
        "nobody is there any more"
    );
    bench.starter.let_go.notify_one();
    assert_eq!(bench.stop().await.by_hand.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_it_runs_is_not_called_missed_after_a_restart() {
    let bench = bench(
        "2026-11-30T12:00",
        vec![schedule("nightly", "02:30", ""), schedule("stays", "02:30", "")],
        memory("2026-11-30T02:30"),
        FakeStarter::default(),
    )
    .await;
    pass(60).await;
    let changed = vec![
        schedule("nightly", "11:00", ""),
        schedule("stays", "02:30", "blackouts = ['Sat,Sun']"),
        schedule("new", "11:00", ""),
    ];
    bench.schedules.send(changed).unwrap();
    pass(60).await;
    let memory = bench.stop().await;
    let last_runs = memory.last_runs.lock();
    let since_the_change = at("2026-11-30T12:01");
    assert!(last_runs["nightly"] >= since_the_change && last_runs["new"] >= since_the_change);
    assert!(last_runs["stays"] < since_the_change);
}
