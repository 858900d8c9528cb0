//! Every seed of the fuzzer, and every input that once broke something, through its parser; and each of them damaged a little.
//!
//! Without the fuzzer's knowledge of what was reached, but in every run. `FUZZ_SEED_MUTATIONS` says how often each is damaged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use whole_system_tests::Chance;

type Target = (&'static str, fn(&[u8]));

fn targets() -> Vec<Target> {
    [migrate_engine::fuzz::TARGETS, volumed::fuzz::TARGETS].concat()
}

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz_dir().join(folder)).unwrap();
    entries
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !name.starts_with("nbd_"))
        .collect()
}

#[test]
fn each_parser_has_seeds_and_a_target_of_the_fuzzer() {
    let known: BTreeSet<_> = targets().iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names_in("seeds"), known);
    assert_eq!(names_in("fuzz_targets"), known);
}

#[test]
fn no_seed_and_no_damaged_seed_breaks_its_parser() {
    let times = std::env::var("FUZZ_SEED_MUTATIONS").map_or(50, |times| times.parse().unwrap());
    let broken: Vec<_> = targets()
        .into_iter()
        .filter_map(|target| broken(target, times))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The first input that breaks this parser, and where to keep it.
fn broken((name, target): Target, times: usize) -> Option<String> {
    let mut seeds = Vec::new();
    for entry in fs::read_dir(fuzz_dir().join("seeds").join(name)).unwrap() {
        seeds.push(fs::read(entry.unwrap().path()).unwrap());
    }
    seeds.sort();
    let mut chance = Chance::from_seed(1);
    let damage = seeds.iter().flat_map(|seed| (0..times).map(move |_| seed));
    let damage: Vec<_> = damage.map(|seed| damaged(seed, &seeds, &mut chance)).collect();
    let culprit = seeds
        .iter()
        .chain(&damage)
        .find(|bytes| panic::catch_unwind(|| target(bytes)).is_err())?;
    Some(format!(
        "put this into fuzz/seeds/{name}: {}",
        culprit.escape_ascii()
    ))
}

/// A seed in which some bytes are others, gone, there twice, or of another seed.
fn damaged(seed: &[u8], seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    const TELLING: &[&[u8]] = &[
        b"\0",
        b"\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"-1",
        b"0",
        b"18446744073709551616",
        b"../",
        b"\n",
        b"\"",
        b"'",
        b"<",
        b"&",
        b"{",
        b"[",
        b"]",
        b",",
        b"%00",
        b"\x1b[2J",
        b"\xc3\xa4",
        b"\xe2\x80\xae",
    ];
    let mut bytes = seed.to_vec();
    for _ in 0..=chance.below(4) {
        let at = pick(chance, bytes.len() + 1);
        let end = (at + pick(chance, 9)).min(bytes.len());
        match chance.below(5) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..end, TELLING[pick(chance, TELLING.len())].iter().copied())),
            2 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            3 => {
                let again = bytes[at..].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let other = &seeds[pick(chance, seeds.len())];
                let from = pick(chance, other.len() + 1);
                bytes.splice(at.., other[from..].iter().copied());
            }
        }
        bytes.truncate(64 << 10);
    }
    bytes
}

fn pick(chance: &mut Chance, most: usize) -> usize {
    usize::try_from(chance.below(most as u64)).unwrap()
}
