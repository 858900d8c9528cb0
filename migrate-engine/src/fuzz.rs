//! Every parser of foreign bytes by its name, for the fuzzer and for the replay of its corpus: none may panic, and what each
//! takes must be as its own function here says.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Sources;
use crate::config::steps;
use crate::model::{Selection, Size};
use crate::schedule::{Calendar, Plan, Zone};
use crate::source::fuzz as source;
use crate::source::vsphere::fuzz as vsphere;
use crate::worker::wire;

/// Its name, and what it does with the fuzzer's bytes.
type Target = (&'static str, fn(&[u8]));

/// What is fuzzed, by the name of its target and of the folder of its seeds.
pub const TARGETS: &[Target] = &[
    ("archive", source::archive),
    ("archive_members", source::archive_with_checksums),
    ("calendar", calendar),
    ("changed_areas", vsphere::changed_areas),
    ("datastore", vsphere::datastore),
    ("image", source::image),
    ("manifest", source::manifest),
    ("ovf", source::ovf),
    ("schedules", schedules),
    ("selection", selection),
    ("soap", vsphere::soap),
    ("sources", sources),
    ("steps", steps_file),
    ("wire", wire),
];

/// The target of this name.
///
/// # Panics
/// Where there is none.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a known target");
    target(bytes);
}

fn calendar(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(calendar) = text.parse::<Calendar>() {
        let printed = calendar.to_string();
        assert!(
            printed
                .parse::<Calendar>()
                .is_ok_and(|again| again.to_string() == printed),
            "{printed}"
        );
        let zone: Zone = "Europe/Berlin".parse().expect("a zone with summer time");
        let mut at = Timestamp::UNIX_EPOCH;
        for _ in 0..8 {
            let Some(next) = calendar.next_after(at, &zone) else {
                break;
            };
            assert!(next > at, "{printed}: {next} after {at}");
            at = next;
        }
    }
    // Shown for people, and not as it is written.
    let _ = text.parse::<Size>().map(|size| size.to_string());
}

fn schedules(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Plan::from_toml(text);
    }
}

fn selection(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for listed in [0, 1, 1000] {
        if let Ok(found) = Selection::parse(text, listed) {
            let serials: Vec<_> = found.selection.serials().collect();
            assert!(
                serials.iter().all(|serial| (1..=listed).contains(serial)),
                "{serials:?}"
            );
            let printed = found.selection.to_string();
            let again = Selection::parse(&printed, listed).expect("what was printed");
            assert!(again.selection.serials().eq(serials), "{printed}");
        }
    }
}

/// A folder with a file of these bytes, for what is read from files only.
fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for a file");
    let file = folder.path().join(name);
    std::fs::write(&file, bytes).expect("a file can be written");
    (folder, file)
}

fn sources(bytes: &[u8]) {
    let (_folder, path) = file("sources.toml", bytes);
    if let Ok(sources) = Sources::read(&path) {
        let hosts = sources.hosts();
        assert!(hosts.len() <= bytes.len());
    }
}

fn steps_file(bytes: &[u8]) {
    let (_folder, path) = file("config.json", bytes);
    let taken = steps::import(&path).is_ok();
    // A second reader: what we take is JSON for it too.
    if taken {
        assert!(serde_json::from_slice::<serde_json::Value>(bytes).is_ok());
    }
}

fn wire(bytes: &[u8]) {
    round_trip::<wire::Report>(bytes);
    round_trip::<wire::Orders>(bytes);
    round_trip::<wire::Call>(bytes);
    round_trip::<wire::Failure>(bytes);
    round_trip::<wire::Moved>(bytes);
    round_trip::<wire::Steer>(bytes);
    if let Ok(answer) = serde_json::from_slice::<wire::Answer>(bytes) {
        believe(answer);
    }
    if let Ok(ranges) = serde_json::from_slice::<wire::Ranges>(bytes)
        && let Ok(ranges) = ranges.within(1 << 40)
    {
        let mut at = 0;
        for range in ranges.iter() {
            assert!(range.start >= at && range.end >= range.start && range.end <= 1 << 40);
            at = range.end;
        }
    }
}

/// As whoever asked does it: what cannot be meant is an error.
fn believe(answer: wire::Answer) {
    match answer {
        wire::Answer::Copied { digest, .. } => {
            if let Ok(digest) = digest.digest() {
                let again = wire::DigestText::from(&digest);
                assert!(again.digest().is_ok_and(|again| again == digest));
            }
        }
        wire::Answer::Changes(wire::ChangesText::Since(ranges)) => drop(ranges.within(1 << 40)),
        _ => {}
    }
}

fn round_trip<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(said) = serde_json::from_slice::<T>(bytes) {
        let written = serde_json::to_value(&said).expect("what was read can be written");
        let again: T = serde_json::from_value(written.clone()).expect("what was written can be read");
        assert_eq!(serde_json::to_value(&again).ok(), Some(written));
    }
}
