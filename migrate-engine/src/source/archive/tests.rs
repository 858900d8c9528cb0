//! Archives that are sound, that lie, and that are noise.

use proptest::prelude::*;

use super::{ArchiveError, Member, members};
use crate::source::tests::tar::{Entry, end, entry, reseal};

fn list(bytes: &[u8]) -> Result<Vec<Member>, ArchiveError> {
    members(&bytes, 100)
}

fn archive(entries: &[&[u8]]) -> Vec<u8> {
    end(entries.concat())
}

fn extended(kind: u8, records: &[u8]) -> Vec<u8> {
    Entry {
        kind,
        ..Entry::new("x", records)
    }
    .bytes()
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let body = format!(" {key}={value}\n");
    let len = (body.len()..)
        .find(|len| len.to_string().len() + body.len() == *len)
        .unwrap();
    format!("{len}{body}").into_bytes()
}

#[test]
fn lists_windows_in_order() {
    let found = list(&archive(&[
        &entry("a.ovf", b"hello"),
        &entry("b.vmdk", &[7; 1000]),
    ]))
    .unwrap();
    let told: Vec<_> = found
        .iter()
        .map(|m| (m.name.as_str(), m.window.offset, m.window.len))
        .collect();
    assert_eq!(told, [("a.ovf", 512, 5), ("b.vmdk", 1536, 1000)]);
}

#[test]
fn reads_what_gnu_tar_writes() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.ovf", "b.vmdk"] {
        std::fs::write(dir.path().join(name), name.repeat(1000)).unwrap();
    }
    for format in ["ustar", "gnu", "pax", "v7", "oldgnu"] {
        let made = std::process::Command::new("tar")
            .args([&format!("--format={format}"), "-cf", "x.ova", "a.ovf", "b.vmdk"])
            .current_dir(&dir)
            .status();
        assert!(made.unwrap().success());
        let bytes = std::fs::read(dir.path().join("x.ova")).unwrap();
        let found = list(&bytes).unwrap_or_else(|error| panic!("{format}: {error}"));
        assert_eq!(found.len(), 2, "{format}");
        let window = found[1].window;
        let start = usize::try_from(window.offset).unwrap();
        assert_eq!(&bytes[start..start + 6], b"b.vmdk", "{format}");
        assert_eq!(window.len, 6000, "{format}");
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [
        "../x",
        "/etc/passwd",
        "a/b",
        "./a.ovf",
        "..",
        ".",
        "",
        "a\\b",
        "nbd:x",
        "a\nb",
    ] {
        let error = list(&archive(&[&entry(name, b"x")])).unwrap_err();
        assert!(matches!(error, ArchiveError::Name { .. }), "{name:?}: {error:?}");
    }
    let mut prefixed = entry("passwd", b"x");
    prefixed[345..348].copy_from_slice(b"etc");
    reseal(&mut prefixed);
    assert!(matches!(
        list(&archive(&[&prefixed])),
        Err(ArchiveError::Name { .. })
    ));
}

#[test]
fn only_plain_files_are_members() {
    for kind in b"1234567SLKVMD" {
        let bytes = Entry {
            kind: *kind,
            ..Entry::new("disk", b"")
        }
        .bytes();
        let error = list(&archive(&[&bytes])).unwrap_err();
        assert!(
            matches!(error, ArchiveError::Kind { .. }),
            "{}: {error:?}",
            char::from(*kind)
        );
    }
}

#[test]
fn duplicates_are_refused() {
    let error = list(&archive(&[&entry("a", b"1"), &entry("a", b"2")])).unwrap_err();
    assert!(matches!(error, ArchiveError::Duplicate { .. }), "{error:?}");
}

#[test]
fn every_truncation_is_noticed() {
    let whole = archive(&[&entry("a.ovf", b"hello"), &entry("b.vmdk", &[7; 1000])]);
    // One block of the end marker is enough; without any the archive may go on.
    for len in 0..whole.len() - 512 {
        assert!(
            matches!(list(&whole[..len]), Err(ArchiveError::Truncated { .. })),
            "{len}"
        );
    }
    assert_eq!(list(&whole[..whole.len() - 512]).unwrap().len(), 2);
}

#[test]
fn sizes_that_lie_are_refused() {
    let mut octal = entry("a", &[1; 600]);
    octal[124..136].copy_from_slice(b"77777777777\0");
    let mut binary = entry("a", &[1; 600]);
    binary[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    for mut bytes in [octal, binary] {
        reseal(&mut bytes);
        let error = list(&archive(&[&bytes])).unwrap_err();
        assert!(matches!(error, ArchiveError::Truncated { .. }), "{error:?}");
    }
    for field in [
        *b"-0000000001\0",
        *b"0x000000001\0",
        *b"           \0",
        [0xff; 12],
        [0x80; 12],
    ] {
        let mut bytes = entry("a", b"");
        bytes[124..136].copy_from_slice(&field);
        reseal(&mut bytes);
        let error = list(&archive(&[&bytes])).unwrap_err();
        assert!(
            matches!(error, ArchiveError::Damaged { .. }),
            "{field:?}: {error:?}"
        );
    }
}

#[test]
fn a_flipped_header_bit_is_noticed() {
    let mut binary = archive(&[&entry("a", b"x")]);
    binary[148..156].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 1]);
    assert!(matches!(
        list(&binary),
        Err(ArchiveError::Damaged { offset: 0, .. })
    ));
    let mut bytes = archive(&[&entry("a", b"x")]);
    bytes[0] ^= 1;
    assert!(matches!(
        list(&bytes),
        Err(ArchiveError::Damaged { offset: 0, .. })
    ));
}

#[test]
fn extended_headers_may_not_change_what_is_read() {
    let file = entry("a", b"12345");
    let fine = extended(b'x', &[record("mtime", "1.5"), record("size", "5")].concat());
    assert_eq!(list(&archive(&[&fine, &file])).unwrap().len(), 1);
    for (key, value) in [
        ("path", "../b"),
        ("linkpath", "x"),
        ("size", "4"),
        ("size", "1x"),
        ("GNU.sparse.major", "1"),
        ("hdrcharset", "x"),
    ] {
        for kind in [b'x', b'g'] {
            let error = list(&archive(&[&extended(kind, &record(key, value)), &file])).unwrap_err();
            assert!(
                matches!(error, ArchiveError::Extended { .. }),
                "{key}={value}: {error:?}"
            );
        }
    }
    let noise = extended(b'x', b"99 mtime=1\n");
    assert!(matches!(
        list(&archive(&[&noise, &file])),
        Err(ArchiveError::Extended { .. })
    ));
    let global = list(&archive(&[&extended(b'g', &record("size", "4")), &file]));
    assert!(matches!(global, Err(ArchiveError::Extended { .. })), "{global:?}");
}

#[test]
fn a_large_size_may_stand_in_the_extended_header_only() {
    let large = 9_u64 << 30;
    let mut bytes = extended(b'x', &record("size", &large.to_string()));
    bytes.extend(entry("a", b""));
    let error = list(&end(bytes)).unwrap_err();
    // It was taken, and then found not to be there.
    assert!(
        matches!(error, ArchiveError::Truncated { needed, .. } if needed > large),
        "{error:?}"
    );
}

#[test]
fn members_are_counted() {
    let many: Vec<u8> = (0..101).flat_map(|n| entry(&n.to_string(), b"")).collect();
    assert!(matches!(
        list(&end(many)),
        Err(ArchiveError::TooMany { limit: 100 })
    ));
    let chain = extended(b'g', &record("comment", "x")).repeat(301);
    assert!(matches!(
        list(&end(chain)),
        Err(ArchiveError::TooMany { limit: 100 })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let _outcome = list(&bytes);
    }

    /// Noise in sealed headers gets past the checksum.
    #[test]
    fn sealed_noise_never_panics_and_windows_stay_inside(
        patches in proptest::collection::vec((0_usize..512, any::<u8>()), 0..40),
        kind in prop_oneof![Just(b'0'), Just(b'x'), Just(b'g'), any::<u8>()],
        body in proptest::collection::vec(any::<u8>(), 0..700),
    ) {
        let mut first = Entry { kind, ..Entry::new("a", &body) }.bytes();
        for (at, value) in patches {
            first[at] = value;
        }
        reseal(&mut first);
        let bytes = archive(&[&first, &entry("b", &body)]);
        for member in list(&bytes).unwrap_or_default() {
            prop_assert!(member.window.offset + member.window.len <= bytes.len() as u64);
        }
    }
}
