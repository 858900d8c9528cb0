//! The rules, each for any source.

use migrate_engine::block::BlockRead;
use migrate_engine::model::MachineSpec;
use migrate_engine::source::{
    Category, Changes, Cycle, Frozen, FrozenDisk, Mark, Source, SourceFailure, Wanted,
};
use std::sync::Arc;

use crate::copying::{copy, digest, said, update};
use crate::fixture::{Fixture, OWNER, cycle};

async fn the_machine(fixture: &dyn Fixture, source: &dyn Source) -> MachineSpec {
    source.machine(&fixture.names().id, None).await.unwrap()
}

async fn freeze(fixture: &dyn Fixture, source: &dyn Source, cycle: &Cycle) -> Box<dyn Frozen> {
    let machine = the_machine(fixture, source).await;
    source.freeze(&machine, cycle).await.unwrap()
}

/// A reader as a replication opens it.
async fn reader(frozen: &dyn Frozen, disk: &FrozenDisk) -> Arc<dyn BlockRead> {
    let allocated = match frozen.changes(disk, None).await.unwrap() {
        Changes::All {
            reason: None,
            allocated,
        } => allocated,
        other => panic!("without a mark: {other:?}"),
    };
    frozen.reader(disk, allocated).await.unwrap()
}

async fn content(frozen: &dyn Frozen, disk: &FrozenDisk) -> Vec<u8> {
    copy(&*reader(frozen, disk).await).unwrap().0.bytes()
}

fn mark(disk: &FrozenDisk) -> Mark {
    Mark {
        mark: disk.mark.clone().expect("the suite's machines are tracked"),
        capacity: disk.capacity,
    }
}

fn category<T>(result: Result<T, SourceFailure>) -> Category {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(failure) => failure.category,
    }
}

fn wanted(machine: &str) -> Wanted {
    Wanted {
        machine: Some(machine.to_owned()),
        datacenter: None,
    }
}

pub(crate) async fn a_machine_is_found_by_path_id_and_name(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    let names = fixture.names();
    for by in [&names.path, &names.id, &names.name] {
        let machine = source.machine(by, None).await.unwrap();
        assert_eq!(
            (&machine.id, &machine.path, &machine.name),
            (&names.id, &names.path, &names.name)
        );
        assert_eq!(machine.problem, None, "{by}");
        assert!(!machine.disks.is_empty() && machine.disks.iter().all(|disk| disk.capacity_bytes > Some(0)));
        let listed = source.machines(&wanted(by)).await.unwrap();
        assert_eq!(listed.len(), 1, "{by}");
        assert_eq!(listed[0].disks, machine.disks);
    }
    let all = source.machines(&Wanted::default()).await.unwrap();
    assert_eq!(all.iter().filter(|machine| machine.id == names.id).count(), 1);
    let again = fixture.source().await.machine(&names.id, None).await.unwrap();
    assert_eq!(again, the_machine(fixture, &*source).await, "the same each time");
}

pub(crate) async fn discovery_is_fresh_each_time(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    let before = the_machine(fixture, &*source).await;
    let size = fixture.grow();
    let after = the_machine(fixture, &*source).await;
    assert_eq!(after.disks[0].capacity_bytes, Some(size));
    assert_ne!(before.disks[0].capacity_bytes, Some(size));
    assert_eq!(before.disks[0].id, after.disks[0].id, "it is the same disk");
    let all = source.machines(&Wanted::default()).await.unwrap();
    let listed = all.iter().find(|machine| machine.id == after.id).unwrap();
    assert_eq!(listed.disks, after.disks);
}

pub(crate) async fn what_is_not_one_machine_to_copy_is_told_apart(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    assert_eq!(category(source.machine("nobody", None).await), Category::NotFound);
    assert!(source.machines(&wanted("nobody")).await.unwrap().is_empty());
    let elsewhere = source.machine(&fixture.names().id, Some("nowhere")).await;
    assert_eq!(category(elsewhere), Category::NotFound);
    if let Some(twins) = fixture.twins() {
        assert_eq!(category(source.machine(twins, None).await), Category::Ambiguous);
        let listed = source.machines(&wanted(twins)).await.unwrap();
        assert!(listed.len() > 1, "{listed:?}");
        for twin in listed {
            assert_eq!(source.machine(&twin.path, None).await.unwrap(), twin);
        }
    }
    let all = source.machines(&Wanted::default()).await.unwrap();
    for name in fixture.refused() {
        let refused = source.machine(name, None).await;
        assert_eq!(category(refused), Category::Refused, "{name}");
        let listed = all.iter().find(|machine| machine.name == *name).unwrap();
        assert!(
            listed.problem.as_ref().is_some_and(|why| !why.is_empty()),
            "{listed:?}"
        );
        let frozen = source.freeze(listed, &cycle("1")).await;
        assert_eq!(category(frozen), Category::Refused, "{name}");
    }
    let mut gone = the_machine(fixture, &*source).await;
    gone.id = "vm-99999".to_owned();
    assert_eq!(
        category(source.freeze(&gone, &cycle("1")).await),
        Category::NotFound
    );
}

pub(crate) async fn one_cycle_frozen_twice_is_one_content(fixture: &dyn Fixture) {
    let (one, other) = (fixture.source().await, fixture.source().await);
    fixture.write(1);
    let cycle = cycle("1");
    let first = freeze(fixture, &*one, &cycle).await;
    if fixture.freezes() {
        fixture.write(2);
    }
    let second = freeze(fixture, &*other, &cycle).await;
    assert_eq!(first.disks(), second.disks());
    let mut contents = std::collections::BTreeSet::new();
    for disk in first.disks() {
        assert!(disk.content.is_some() && disk.mark.is_some(), "{disk:?}");
        contents.insert(disk.content.clone());
        let truth = fixture.truth(&cycle, disk);
        assert!(content(&*first, disk).await == truth, "{} differs", disk.label);
        assert!(
            content(&*second, disk).await == truth,
            "{} differs the second time",
            disk.label
        );
    }
    assert_eq!(
        contents.len(),
        first.disks().len(),
        "each disk has a content of its own"
    );
    first.release().await.unwrap();
    second.release().await.unwrap();
    // Another content has another name.
    fixture.write(3);
    let third = freeze(fixture, &*one, &super::fixture::cycle("2")).await;
    assert_ne!(first.disks()[0].content, third.disks()[0].content);
    third.release().await.unwrap();
}

pub(crate) async fn what_changed_since_a_mark_covers_every_changed_byte(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    fixture.write(1);
    let frozen = freeze(fixture, &*source, &cycle("0")).await;
    let disk = frozen.disks()[0].clone();
    let (target, report) = copy(&*reader(&*frozen, &disk).await).unwrap();
    frozen.check().await.unwrap();
    frozen.release().await.unwrap();
    let (mut base, mut since) = (report.digest, mark(&disk));
    for turn in 1..5 {
        let cycle = cycle(&turn.to_string());
        // Two cycles with a write in between, two without.
        let writes = turn % 2 == 1;
        if writes {
            fixture.write(100 + turn);
        }
        let frozen = freeze(fixture, &*source, &cycle).await;
        let truth = fixture.truth(&cycle, &frozen.disks()[0]);
        if fixture.freezes() && writes {
            fixture.write(200 + turn);
        }
        let disk = &frozen.disks()[0];
        let changes = frozen.changes(disk, Some(&since)).await.unwrap();
        match &changes {
            Changes::Since(ranges) => {
                assert_in_order(ranges, disk.capacity);
                // What was written while the one before was read is of this one.
                let is_due = writes || fixture.freezes();
                assert!(is_due || ranges.is_empty(), "turn {turn}: {ranges:?}");
            }
            Changes::All { reason, .. } => {
                assert!(
                    reason.is_some() && writes && !fixture.tells_where(),
                    "turn {turn}: {changes:?}"
                );
            }
        }
        let report = update(
            &target,
            &base,
            &*frozen.reader(disk, None).await.unwrap(),
            &changes,
        );
        assert!(target.bytes() == truth, "turn {turn} differs");
        assert_eq!(report.digest.root(), digest(&truth).root());
        if fixture.tells_where() {
            assert!(
                report.totals.bytes_read < disk.capacity,
                "turn {turn}: {:?}",
                report.totals
            );
        }
        frozen.check().await.unwrap();
        (base, since) = (report.digest, mark(disk));
        frozen.release().await.unwrap();
    }
    // Nobody has written since the last one, which had no writes beside it.
    let frozen = freeze(fixture, &*source, &cycle("9")).await;
    let nothing = frozen.changes(&frozen.disks()[0], Some(&since)).await.unwrap();
    assert_eq!(nothing, Changes::Since(Arc::default()));
    frozen.release().await.unwrap();
}

fn assert_in_order(ranges: &[std::ops::Range<u64>], capacity: u64) {
    assert!(
        ranges
            .iter()
            .all(|range| range.start < range.end && range.end <= capacity),
        "{ranges:?}"
    );
    assert!(
        ranges.windows(2).all(|two| two[0].end <= two[1].start),
        "{ranges:?}"
    );
}

pub(crate) async fn marks_of_something_else_lead_to_all_of_the_disk(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    fixture.write(1);
    let cycle = cycle("1");
    let frozen = freeze(fixture, &*source, &cycle).await;
    let disk = &frozen.disks()[0];
    let now = mark(disk);
    let same = frozen.changes(disk, Some(&now)).await.unwrap();
    assert_eq!(same, Changes::Since(Arc::default()), "what is as it was");
    let with = |mark: &str| Mark {
        mark: mark.to_owned(),
        ..now.clone()
    };
    let mut odd = vec![
        with(""),
        with("nonsense"),
        with("no such epoch/7"),
        with(&format!("{}0", now.mark)),
        Mark {
            capacity: disk.capacity - 512,
            ..now.clone()
        },
        Mark {
            capacity: disk.capacity * 2,
            ..now.clone()
        },
    ];
    odd.extend(frozen.disks().get(1).map(|other| Mark {
        capacity: disk.capacity,
        ..mark(other)
    }));
    for mark in odd {
        match frozen.changes(disk, Some(&mark)).await.unwrap() {
            Changes::All {
                reason: Some(reason),
                allocated,
            } => {
                assert!(!reason.is_empty());
                let reader = frozen.reader(disk, allocated).await.unwrap();
                let found = copy(&*reader).unwrap().0.bytes();
                assert!(found == fixture.truth(&cycle, disk), "{mark:?}");
            }
            other => panic!("{mark:?}: {other:?}"),
        }
    }
    let mut stranger = disk.clone();
    stranger.id = "disk-4711".to_owned();
    assert_eq!(
        category(frozen.changes(&stranger, None).await),
        Category::NotFound
    );
    assert_eq!(category(frozen.reader(&stranger, None).await), Category::NotFound);
    frozen.release().await.unwrap();
}

pub(crate) async fn a_disk_that_grew_is_copied_whole(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    let frozen = freeze(fixture, &*source, &cycle("1")).await;
    let before = mark(&frozen.disks()[0]);
    frozen.release().await.unwrap();
    let size = fixture.grow();
    let next = cycle("2");
    let frozen = freeze(fixture, &*source, &next).await;
    let disk = &frozen.disks()[0];
    assert_eq!(disk.capacity, size);
    let Changes::All {
        reason: Some(reason),
        allocated,
    } = frozen.changes(disk, Some(&before)).await.unwrap()
    else {
        panic!("the disk has another size")
    };
    assert!(reason.contains(&size.to_string()), "{reason}");
    let reader = frozen.reader(disk, allocated).await.unwrap();
    assert!(copy(&*reader).unwrap().0.bytes() == fixture.truth(&next, disk));
    frozen.release().await.unwrap();
}

pub(crate) async fn a_reader_reads_what_was_frozen(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    fixture.write(1);
    let cycle = cycle("1");
    let frozen = freeze(fixture, &*source, &cycle).await;
    let disk = &frozen.disks()[0];
    let truth = fixture.truth(&cycle, disk);
    let reader = reader(&*frozen, disk).await;
    assert_eq!(reader.size(), disk.capacity);
    let blind = frozen.reader(disk, None).await.unwrap();
    for seed in 10..13 {
        if fixture.freezes() {
            fixture.write(seed);
        }
        assert!(
            copy(&*reader).unwrap().0.bytes() == truth,
            "it differs after {seed}"
        );
        assert!(
            copy(&*blind).unwrap().0.bytes() == truth,
            "it differs, holes read, after {seed}"
        );
    }
    frozen.check().await.unwrap();
    // A reader outlives the handle that it came from.
    drop(frozen);
    assert!(copy(&*reader).unwrap().0.bytes() == truth, "the reader alone");
    drop((reader, blind));
    let machine = the_machine(fixture, &*source).await;
    source.clean_up(&machine, OWNER).await.unwrap();
    wait_for_nothing(fixture).await;
}

pub(crate) async fn every_disk_is_copied_to_its_own_digest(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    fixture.write(1);
    let cycle = cycle("1");
    let machine = the_machine(fixture, &*source).await;
    let frozen = source.freeze(&machine, &cycle).await.unwrap();
    let told: Vec<_> = (machine.disks.iter())
        .map(|disk| (disk.id.clone(), disk.capacity_bytes.unwrap()))
        .collect();
    let found: Vec<_> = (frozen.disks().iter())
        .map(|disk| (disk.id.clone(), disk.capacity))
        .collect();
    assert_eq!(told, found, "the machine's disks, in its order");
    let mut readers = Vec::new();
    for disk in frozen.disks() {
        readers.push((disk, reader(&*frozen, disk).await));
    }
    // All at once, as a replication copies them.
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for (disk, reader) in &readers {
                let truth = fixture.truth(&cycle, disk);
                scope.spawn(move || {
                    let (target, report) = copy(&**reader).unwrap();
                    assert!(target.bytes() == truth, "{} differs", disk.label);
                    assert_eq!(report.digest.root(), digest(&truth).root());
                });
            }
        });
    });
    frozen.check().await.unwrap();
    drop(readers);
    frozen.release().await.unwrap();
}

pub(crate) async fn a_change_under_the_reader_is_noticed(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    let cycle = cycle("1");
    let frozen = freeze(fixture, &*source, &cycle).await;
    let reader = reader(&*frozen, &frozen.disks()[0]).await;
    frozen.check().await.unwrap();
    fixture.disturb(&cycle).await;
    let error = frozen.check().await.unwrap_err();
    assert!(!error.is_final(), "another cycle may do: {error:?}");
    assert!(!error.to_string().is_empty());
    // It stays so.
    frozen.check().await.unwrap_err();
    drop(reader);
    frozen.release().await.unwrap();
    // The same cycle again is of another content, the next one in order.
    let again = freeze(fixture, &*source, &cycle).await;
    assert_ne!(again.disks()[0].content, frozen.disks()[0].content);
    again.release().await.unwrap();
    let frozen = freeze(fixture, &*source, &super::fixture::cycle("2")).await;
    let disk = &frozen.disks()[0];
    let found = content(&*frozen, disk).await;
    assert!(found == fixture.truth(&super::fixture::cycle("2"), disk));
    frozen.check().await.unwrap();
    frozen.release().await.unwrap();
}

pub(crate) async fn a_release_may_be_repeated_and_leaves_nothing(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    let frozen = freeze(fixture, &*source, &cycle("1")).await;
    for disk in frozen.disks() {
        content(&*frozen, disk).await;
        let unread = reader(&*frozen, disk).await;
        drop(unread);
    }
    assert!(!fixture.left().is_empty(), "the fixture sees what there is");
    frozen.release().await.unwrap();
    assert_eq!(fixture.left(), [""; 0]);
    frozen.release().await.unwrap();
    let unread = freeze(fixture, &*source, &cycle("2")).await;
    unread.release().await.unwrap();
    drop((frozen, unread));
    assert_eq!(fixture.left(), [""; 0]);
    let machine = the_machine(fixture, &*source).await;
    source.clean_up(&machine, OWNER).await.unwrap();
}

pub(crate) async fn what_a_lost_cycle_left_is_removed_and_nothing_of_others(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    let machine = the_machine(fixture, &*source).await;
    let theirs = Cycle {
        owner: format!("{OWNER}0"),
        ..cycle("1")
    };
    fixture.lose(&theirs).await;
    let only_theirs = fixture.left();
    assert!(!only_theirs.is_empty(), "something is lost");
    fixture.lose(&cycle("1")).await;
    assert!(fixture.left().len() > only_theirs.len());
    source.clean_up(&machine, OWNER).await.unwrap();
    assert_eq!(fixture.left(), only_theirs);
    source.clean_up(&machine, OWNER).await.unwrap();
    assert_eq!(fixture.left(), only_theirs);
    source.clean_up(&machine, &theirs.owner).await.unwrap();
    assert_eq!(fixture.left(), [""; 0]);

    // Another cycle begins with it, the same one goes on.
    fixture.write(1);
    fixture.lose(&cycle("2")).await;
    fixture.write(2);
    let next = cycle("3");
    let frozen = freeze(fixture, &*source, &next).await;
    let disk = &frozen.disks()[0];
    assert!(content(&*frozen, disk).await == fixture.truth(&next, disk));
    frozen.release().await.unwrap();
    assert_eq!(fixture.left(), [""; 0]);
    fixture.lose(&next).await;
    let frozen = freeze(fixture, &*source, &next).await;
    frozen.release().await.unwrap();
    assert_eq!(fixture.left(), [""; 0]);
}

pub(crate) async fn a_freeze_that_fails_leaves_nothing_or_says_so(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    let machine = the_machine(fixture, &*source).await;
    let mut trouble = 0;
    while fixture.hinder(trouble) {
        let failure = match source.freeze(&machine, &cycle("1")).await {
            Ok(_) => panic!("trouble {trouble} was not met"),
            Err(failure) => failure,
        };
        let left = fixture.left();
        assert!(
            left.is_empty() || failure.is_unknown,
            "trouble {trouble} left {left:?}: {failure:?}"
        );
        fixture.unhinder();
        trouble += 1;
    }
    assert!(trouble > 0);
    let frozen = freeze(fixture, &*source, &cycle("2")).await;
    let disk = &frozen.disks()[0];
    assert!(content(&*frozen, disk).await == fixture.truth(&cycle("2"), disk));
    frozen.release().await.unwrap();
    assert_eq!(fixture.left(), [""; 0]);
}

pub(crate) async fn secrets_are_told_to_nobody(fixture: &dyn Fixture) {
    let source = fixture.source().await;
    let mut told = vec![source.place()];
    assert!(!told[0].is_empty());
    told.extend(fixture.refusals().await);
    told.push(said(&source.machine("nobody", None).await.unwrap_err()));
    for machine in source.machines(&Wanted::default()).await.unwrap() {
        told.push(format!("{machine:?}"));
    }
    let frozen = freeze(fixture, &*source, &cycle("1")).await;
    told.push(format!("{:?}", frozen.disks()));
    fixture.disturb(&cycle("1")).await;
    told.push(said(&frozen.check().await.unwrap_err()));
    frozen.release().await.unwrap();
    for text in &told {
        for secret in fixture.secrets() {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// What is killed is not gone at the same moment.
async fn wait_for_nothing(fixture: &dyn Fixture) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !fixture.left().is_empty() {
        assert!(std::time::Instant::now() < deadline, "left: {:?}", fixture.left());
        tokio::task::yield_now().await;
    }
}
