//! Many writers at once: no change is lost, and no reader sees half of one.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::config::steps::{Change, Section, StepsFile};
use crate::model::Selection;

use super::{EXISTING, Place, connection, kvm};

const ROUNDS: usize = 40;

fn writer(place: &Place, change: impl Fn(usize) -> Change + Send) -> impl FnOnce() + Send {
    let file = place.file();
    move || {
        for round in 0..ROUNDS {
            file.apply(&change(round)).unwrap();
        }
    }
}

#[test]
fn writers_of_different_sections_lose_nothing() {
    let place = Place::with(EXISTING);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers = [
            scope.spawn(writer(&place, |n| {
                Change::Source(connection(&format!("esxi{n}")))
            })),
            scope.spawn(writer(&place, |n| Change::Kvm(kvm(&format!("kvm{n}"))))),
            scope.spawn(writer(&place, |n| {
                Change::Proxmox(connection(&format!("pve{n}")))
            })),
            scope.spawn(writer(&place, |n| {
                Change::SelectedVms(Selection::from_iter(1..=n + 1))
            })),
            scope.spawn(writer(&place, |n| Change::Storage(format!("store{n}")))),
        ];
        let (file, done) = (place.file(), &done);
        let reader = scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                file.read().unwrap();
            }
        });
        let written = writers.map(|writer| writer.join());
        done.store(true, Ordering::Relaxed);
        written.into_iter().for_each(|written| written.unwrap());
        reader.join().unwrap();
    });
    let steps = place.file().read().unwrap().steps;
    let last = ROUNDS - 1;
    assert_eq!(steps.source().unwrap().host, format!("esxi{last}"));
    assert_eq!(steps.kvm().unwrap().host, format!("kvm{last}"));
    assert_eq!(steps.proxmox().unwrap().host, format!("pve{last}"));
    assert_eq!(steps.selected_vms.len(), ROUNDS);
    assert_eq!(steps.storage, format!("store{last}"));
    assert_eq!(place.names(), ["config.json", "config.json.lock"]);
}

#[test]
fn the_first_writers_of_a_file_lose_nothing() {
    for _ in 0..20 {
        let place = Place::empty();
        let write = |section: Section| {
            let file: StepsFile = place.file();
            move || file.write_section(section, json!("x")).unwrap()
        };
        std::thread::scope(|scope| {
            for section in [Section::Storage, Section::ExportRoot, Section::Ovftool] {
                scope.spawn(write(section));
            }
        });
        let steps = place.file().read().unwrap().steps;
        assert_eq!(steps.storage, "x");
        assert_eq!(
            (steps.export_root.to_str(), steps.ovftool.to_str()),
            (Some("x"), Some("x"))
        );
    }
}
