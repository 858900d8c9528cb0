//! A writer that is killed at any point leaves a whole file, and what it leaves besides does no harm.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::config::steps::{Change, StepsFile};

use super::{EXISTING, Place, connection, wait_until};

const VICTIM: &str = "MIGRATE_ENGINE_TEST_STEPS_FILE";

/// Not a test: what the test below runs and kills.
#[test]
#[ignore = "run by the test that kills it"]
fn writes_for_ever() {
    let Some(path) = std::env::var_os(VICTIM) else {
        return;
    };
    let file = StepsFile::at(Path::new(&path)).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let rounds = (0_u64..).take_while(|_| Instant::now() < until);
    for round in rounds {
        file.apply(&Change::Source(connection(&format!("esxi{round}"))))
            .unwrap();
    }
}

/// A process that does not outlive the test.
struct Victim(Child);

impl Victim {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn killed_at_any_point_the_file_is_whole_and_the_next_change_cleans_up() {
    let place = Place::with(EXISTING);
    let around = EXISTING.split_once("\"destination\"").unwrap().1;
    for _ in 0..12 {
        let before = place.text();
        let victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "config::steps::tests::crash::writes_for_ever",
                "--ignored",
            ])
            .env(VICTIM, place.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut victim = Victim(victim);
        wait_until("a change", || fs::read_to_string(place.path()).unwrap() != before);
        victim.kill();
        let steps = place.file().read().unwrap().steps;
        assert!(steps.source().unwrap().host.starts_with("esxi"));
        assert!(place.text().ends_with(around));
    }
    place.file().apply(&Change::Source(connection("h"))).unwrap();
    assert_eq!(place.names(), ["config.json", "config.json.lock"]);
}

#[test]
fn what_a_killed_writer_left_is_harmless_and_goes_with_the_next_change() {
    let place = Place::with(EXISTING);
    let left = place.folder().join(".config.json.under-way-abcdefghijkl");
    let others = [
        ".config.json.swp",
        "config.json.tmp",
        ".other.json.under-way-abcdefghijkl",
    ];
    fs::write(&left, "{\"source\": ").unwrap();
    for name in others {
        fs::write(place.folder().join(name), "theirs").unwrap();
    }
    assert!(place.file().read().is_ok());
    assert!(left.exists(), "reading changes nothing");
    place.file().apply(&Change::Source(connection("h"))).unwrap();
    assert!(!left.exists());
    for name in others {
        assert!(place.folder().join(name).exists(), "{name}");
    }
}
