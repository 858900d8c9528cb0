//! Sources that mean harm, or are broken: each refused for its own reason, with nothing left behind.

use std::os::unix::fs::symlink;

use super::packages::{SIZE, Told, gzip, ovf, stream};
use super::tar::{Entry, end, entry, reseal};
use super::{Bench, chain, qemu_img, tools_missing};
use crate::source::{ArchiveError, Backing, SourceError};

#[tokio::test]
async fn references_out_of_a_qcow2_are_refused() {
    if tools_missing() {
        return;
    }
    let mut bench = Bench::new();
    let top = bench.path("top.qcow2");
    for backing in [
        "/etc/passwd",
        "../base",
        "json:{\"driver\":\"null-co\"}",
        "nbd://localhost/x",
        "file:base.qcow2",
    ] {
        qemu_img(
            &[
                "create",
                "-q",
                "-u",
                "-f",
                "qcow2",
                "-F",
                "raw",
                "-b",
                backing,
                top.to_str().unwrap(),
                "1M",
            ]
            .map(AsRef::as_ref),
        );
        bench.options.backing = Backing::Refuse;
        let error = bench.refused(&top).await;
        assert!(matches!(error, SourceError::BackingFile { .. }), "{error:?}");
        bench.options.backing = Backing::SameFolder;
        let error = bench.refused(&top).await;
        assert!(matches!(error, SourceError::Reference { .. }), "{error:?}");
    }
    symlink("/etc/passwd", bench.path("link")).unwrap();
    qemu_img(
        &[
            "create",
            "-q",
            "-u",
            "-f",
            "qcow2",
            "-F",
            "raw",
            "-b",
            "link",
            top.to_str().unwrap(),
            "1M",
        ]
        .map(AsRef::as_ref),
    );
    assert!(matches!(bench.refused(&top).await, SourceError::Reference { .. }));
    qemu_img(
        &[
            "create",
            "-q",
            "-u",
            "-f",
            "qcow2",
            "-F",
            "qcow2",
            "-b",
            "top.qcow2",
            top.to_str().unwrap(),
            "1M",
        ]
        .map(AsRef::as_ref),
    );
    let error = bench.refused(&top).await;
    assert!(matches!(error, SourceError::Corrupt { .. }), "a ring: {error:?}");
}

#[tokio::test]
async fn a_qcow2_with_its_data_elsewhere_is_refused() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let path = bench.path("a.qcow2");
    let option = format!("data_file={}", bench.path("data").display());
    qemu_img(
        &[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-o",
            &option,
            path.to_str().unwrap(),
            "1M",
        ]
        .map(AsRef::as_ref),
    );
    assert!(matches!(bench.refused(&path).await, SourceError::DataFile { .. }));
}

#[tokio::test]
async fn a_corrupt_qcow2_is_refused() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 1);
    let good = std::fs::read(bench.image(&raw, "good.qcow2", &["qcow2"])).unwrap();
    let patched = |at: usize, bytes: &[u8]| {
        let mut image = good.clone();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        image
    };
    let l1 = usize::try_from(u64::from_be_bytes(good[40..48].try_into().unwrap())).unwrap();
    for (what, image) in [
        (
            "an L1 entry past the end",
            patched(l1, &[0x80, 0, 0, 0xff, 0, 0, 0, 0]),
        ),
        (
            "an L1 table past the end",
            patched(40, &[0, 0, 0xff, 0, 0, 0, 0, 0]),
        ),
        (
            "a refcount table past the end",
            patched(48, &[0, 0, 0xff, 0, 0, 0, 0, 0]),
        ),
        ("half of it", good[..good.len() / 2].to_vec()),
        ("a header", good[..104].to_vec()),
        ("half a header", good[..40].to_vec()),
        ("marked corrupt", patched(79, &[2])),
        ("marked dirty", patched(79, &[1])),
        ("no cluster size", patched(20, &[0xff, 0xff, 0xff, 0xff])),
        ("a size beyond all", patched(24, &[0xff; 8])),
    ] {
        let error = bench.refused(bench.write("bad.qcow2", image)).await;
        assert!(
            matches!(error, SourceError::Corrupt { .. } | SourceError::Open { .. }),
            "{what}: {error:?}"
        );
    }
    let old = bench
        .refused(bench.write("old.qcow2", patched(4, &[0, 0, 0, 1])))
        .await;
    assert!(matches!(old, SourceError::Unsupported { .. }), "{old:?}");
}

#[tokio::test]
async fn extents_that_lead_away_are_refused() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    symlink("/etc/passwd", bench.path("link.vmdk")).unwrap();
    std::fs::create_dir(bench.path("dir.vmdk")).unwrap();
    bench.write("short.vmdk", [0; 512]);
    let pipe = bench.path("pipe.vmdk");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let image = |lines: &str| {
        format!(
            "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n{lines}\n"
        )
    };
    for name in [
        "/etc/passwd",
        "../x",
        "/dev/sda",
        "nbd:x",
        "json:{}",
        "link.vmdk",
        "dir.vmdk",
        "pipe.vmdk",
        "",
    ] {
        let error = bench
            .refused(bench.write("a.vmdk", image(&format!("RW 1 FLAT \"{name}\" 0"))))
            .await;
        assert!(
            matches!(error, SourceError::Reference { .. }),
            "{name}: {error:?}"
        );
    }
    for (what, lines) in [
        ("over two lines", "RW\n1 FLAT \"/etc/passwd\" 0"),
        ("longer than its file", "RW 2 FLAT \"short.vmdk\" 0"),
        ("past its file", "RW 1 FLAT \"short.vmdk\" 1"),
        ("sparse and is not", "RW 1 SPARSE \"short.vmdk\""),
        ("huge", "RW 36028797018963968 FLAT \"short.vmdk\" 0"),
        ("huge in sum", "RW 1 FLAT \"short.vmdk\" 36028797018963968"),
        ("none", ""),
        ("nonsense", "hello"),
    ] {
        let error = bench.refused(bench.write("a.vmdk", image(lines))).await;
        assert!(matches!(error, SourceError::Corrupt { .. }), "{what}: {error:?}");
    }
    for (what, text) in [
        ("not readable", image("RDONLY 1 FLAT \"short.vmdk\" 0")),
        ("a device", image("RW 1 VMFSRDM \"short.vmdk\"")),
        (
            "a delta",
            image("RW 1 FLAT \"short.vmdk\" 0").replace("ffffffff", "12345678"),
        ),
        (
            "a delta by name",
            image("parentFileNameHint=\"/etc/passwd\"\nRW 1 FLAT \"short.vmdk\" 0"),
        ),
    ] {
        let error = bench.refused(bench.write("a.vmdk", text)).await;
        assert!(
            matches!(error, SourceError::Unsupported { .. }),
            "{what}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_sparse_vmdk_cannot_carry_a_descriptor_with_extents() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 2);
    let path = bench.image(&raw, "a.vmdk", &["vmdk"]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[12..20].fill(0);
    bytes[512..640].fill(0);
    let text = b"# Disk DescriptorFile\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/passwd\" 0\n";
    bytes[512..512 + text.len()].copy_from_slice(text);
    assert!(matches!(
        bench.refused(bench.write("b.vmdk", &bytes)).await,
        SourceError::Corrupt { .. }
    ));
    let text = b"RW 4096 SPARSE \"b.vmdk\"\n";
    let descriptor = [
        b"# Disk DescriptorFile\ncreateType=\"twoGbMaxExtentSparse\"\n".as_slice(),
        text,
    ]
    .concat();
    assert!(matches!(
        bench.refused(bench.write("c.vmdk", descriptor)).await,
        SourceError::Corrupt { .. }
    ));
}

#[tokio::test]
async fn damaged_images_of_other_formats_are_refused() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", SIZE, 3);
    for options in [
        &["vmdk", "-o", "subformat=streamOptimized"][..],
        &["vmdk", "-o", "subformat=monolithicSparse"],
        &["vpc"],
        &["vhdx"],
    ] {
        let bytes = std::fs::read(bench.image(&raw, "good", options)).unwrap();
        let error = bench
            .refused(bench.write("half", &bytes[..bytes.len() / 2]))
            .await;
        assert!(
            matches!(error, SourceError::Corrupt { .. } | SourceError::Open { .. }),
            "{options:?}: {error:?}"
        );
    }
    let mut vhd = std::fs::read(bench.image(&raw, "good", &["vpc"])).unwrap();
    let footer = vhd.len() - 512;
    vhd[footer + 63] = 4;
    assert!(matches!(
        bench.refused(bench.write("d.vhd", &vhd)).await,
        SourceError::Unsupported { .. }
    ));
}

#[tokio::test]
async fn what_is_no_disk_is_refused() {
    let bench = Bench::new();
    let pipe = bench.path("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert!(matches!(
        bench.refused(&pipe).await,
        SourceError::NotAFile { found: "a pipe", .. }
    ));
    assert!(matches!(
        bench.refused("/dev/null").await,
        SourceError::NotAFile { .. }
    ));
    assert!(matches!(
        bench.refused(bench.root.path()).await,
        SourceError::NotAFile {
            found: "a folder",
            ..
        }
    ));
    assert!(matches!(
        bench.refused(bench.path("none")).await,
        SourceError::Io { .. }
    ));
    assert!(matches!(
        bench.refused(bench.write("empty", b"")).await,
        SourceError::Corrupt { .. }
    ));
    assert!(matches!(
        bench.refused(bench.write("a.gz", gzip(b"x"))).await,
        SourceError::Unsupported { .. }
    ));
    assert!(matches!(
        bench.refused("json:{\"driver\":\"file\"}").await,
        SourceError::Spec { .. }
    ));
    assert!(matches!(
        bench.refused("https://host/x").await,
        SourceError::Spec { .. }
    ));
}

async fn refused_archive(bench: &Bench, entries: &[&[u8]]) -> SourceError {
    bench.refused(bench.write("x.ova", end(entries.concat()))).await
}

#[tokio::test]
async fn archives_with_members_that_lead_away_are_refused() {
    let bench = Bench::new();
    let document = ovf(&[Told::new("d.vmdk")]);
    let document = entry("x.ovf", document.as_bytes());
    for name in ["../d.vmdk", "/etc/passwd", "sub/d.vmdk"] {
        let error = refused_archive(&bench, &[&document, &entry(name, b"x")]).await;
        assert!(
            matches!(
                error,
                SourceError::Archive {
                    source: ArchiveError::Name { .. },
                    ..
                }
            ),
            "{error:?}"
        );
    }
    for kind in *b"123456S" {
        let mut member = Entry {
            kind,
            ..Entry::new("d.vmdk", b"")
        }
        .bytes();
        member[157..168].copy_from_slice(b"/etc/passwd");
        reseal(&mut member);
        let error = refused_archive(&bench, &[&document, &member]).await;
        assert!(
            matches!(
                error,
                SourceError::Archive {
                    source: ArchiveError::Kind { .. },
                    ..
                }
            ),
            "{error:?}"
        );
    }
    let twice = entry("d.vmdk", b"x");
    let error = refused_archive(&bench, &[&document, &twice, &twice]).await;
    assert!(
        matches!(
            error,
            SourceError::Archive {
                source: ArchiveError::Duplicate { .. },
                ..
            }
        ),
        "{error:?}"
    );
    let error = refused_archive(&bench, &[&document, &document]).await;
    assert!(matches!(error, SourceError::Archive { .. }), "{error:?}");
}

#[tokio::test]
async fn truncated_and_lying_archives_are_refused() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let (_, vmdk) = stream(&bench, 1);
    let document = ovf(&[Told::new("d.vmdk")]);
    let whole = [entry("x.ovf", document.as_bytes()), entry("d.vmdk", &vmdk)].concat();
    for len in [whole.len() / 2, whole.len() - 512, whole.len()] {
        let error = bench.refused(bench.write("x.ova", &whole[..len])).await;
        assert!(
            matches!(
                error,
                SourceError::Archive {
                    source: ArchiveError::Truncated { .. },
                    ..
                }
            ),
            "{error:?}"
        );
    }
    let mut lying = entry("d.vmdk", &vmdk);
    lying[124..136].copy_from_slice(b"00000001000\0");
    reseal(&mut lying);
    let error = refused_archive(&bench, &[&entry("x.ovf", document.as_bytes()), &lying]).await;
    assert!(
        matches!(
            error,
            SourceError::Archive {
                source: ArchiveError::Damaged { .. },
                ..
            }
        ),
        "{error:?}"
    );
    let noise = bench.refused(bench.write("noise.ova", vec![7; 100_000])).await;
    assert!(matches!(noise, SourceError::Archive { .. }), "{noise:?}");
    let bare = refused_archive(&bench, &[&entry("d.vmdk", &vmdk)]).await;
    assert!(matches!(bare, SourceError::Unsupported { .. }), "{bare:?}");
}

#[tokio::test]
async fn documents_that_lie_about_sizes_are_refused() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let (_, vmdk) = stream(&bench, 2);
    for capacity in [SIZE as u64 - 512, SIZE as u64 + 512, 512, 1 << 60] {
        let document = ovf(&[Told {
            capacity,
            ..Told::new("d.vmdk")
        }]);
        let error = refused_archive(
            &bench,
            &[&entry("x.ovf", document.as_bytes()), &entry("d.vmdk", &vmdk)],
        )
        .await;
        assert!(
            matches!(error, SourceError::Capacity { declared, actual, .. } if declared == capacity && actual == SIZE as u64),
            "{error:?}"
        );
    }
    let document = ovf(&[Told {
        attributes: r#"ovf:size="17""#.to_owned(),
        ..Told::new("d.vmdk")
    }]);
    let error = refused_archive(
        &bench,
        &[&entry("x.ovf", document.as_bytes()), &entry("d.vmdk", &vmdk)],
    )
    .await;
    assert!(
        matches!(error, SourceError::FileSize { declared: 17, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn documents_that_lead_away_are_refused() {
    let bench = Bench::new();
    symlink("/etc/passwd", bench.path("link.vmdk")).unwrap();
    for href in [
        "../d.vmdk",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://host/d.vmdk",
        "%2e%2e%2fd.vmdk",
        "link.vmdk",
    ] {
        let error = bench.refused(bench.write("x.ovf", ovf(&[Told::new(href)]))).await;
        assert!(
            matches!(error, SourceError::Reference { .. }),
            "{href}: {error:?}"
        );
    }
    let document = ovf(&[Told::new("gone.vmdk")]);
    assert!(matches!(
        bench.refused(bench.write("x.ovf", &document)).await,
        SourceError::MissingFile { .. }
    ));
    let error = refused_archive(&bench, &[&entry("x.ovf", document.as_bytes())]).await;
    assert!(matches!(error, SourceError::MissingFile { .. }), "{error:?}");
}

#[tokio::test]
async fn a_declared_format_must_be_borne_out() {
    if tools_missing() {
        return;
    }
    let bench = Bench::new();
    let document = ovf(&[Told::new("d.vmdk")]).replace(
        "ovf:fileRef",
        "ovf:format=\"http://www.vmware.com/interfaces/specifications/vmdk.html\" ovf:fileRef",
    );
    let error = refused_archive(
        &bench,
        &[
            &entry("x.ovf", document.as_bytes()),
            &entry("d.vmdk", &vec![0; SIZE]),
        ],
    )
    .await;
    assert!(matches!(error, SourceError::FormatMismatch { .. }), "{error:?}");
}

#[tokio::test]
async fn an_image_in_an_archive_cannot_refer_to_anything() {
    if tools_missing() {
        return;
    }
    let mut bench = Bench::new();
    bench.options.backing = Backing::SameFolder;
    let document = entry("x.ovf", ovf(&[Told::new("d.img")]).as_bytes());
    let top = bench.path("top.qcow2");
    bench.write("base", [0; 512]);
    qemu_img(
        &[
            "create",
            "-q",
            "-u",
            "-f",
            "qcow2",
            "-F",
            "raw",
            "-b",
            "base",
            top.to_str().unwrap(),
            "2M",
        ]
        .map(AsRef::as_ref),
    );
    let error = refused_archive(
        &bench,
        &[&document, &entry("d.img", &std::fs::read(&top).unwrap())],
    )
    .await;
    assert!(matches!(error, SourceError::BackingFile { .. }), "{error:?}");
    let descriptor = b"# Disk DescriptorFile\nRW 1 FLAT \"base\" 0\n";
    let error = refused_archive(&bench, &[&document, &entry("d.img", descriptor)]).await;
    assert!(matches!(error, SourceError::Unsupported { .. }), "{error:?}");
}

#[tokio::test]
async fn bombs_are_refused_and_leave_nothing() {
    let mut bench = Bench::new();
    let attributes = r#"ovf:compression="gzip""#.to_owned();
    let document = |capacity| {
        ovf(&[Told {
            attributes: attributes.clone(),
            capacity,
            ..Told::new("d.gz")
        }])
    };
    let bomb = gzip(&vec![0; 64 << 20]);
    let error = refused_archive(
        &bench,
        &[
            &entry("x.ovf", document(1 << 20).as_bytes()),
            &entry("d.gz", &bomb),
        ],
    )
    .await;
    assert!(matches!(error, SourceError::UnpackedTooLarge { .. }), "{error:?}");
    bench.options.limits.unpack_ratio = 100;
    let error = refused_archive(
        &bench,
        &[
            &entry("x.ovf", document(1 << 60).as_bytes()),
            &entry("d.gz", &bomb),
        ],
    )
    .await;
    assert!(
        matches!(error, SourceError::UnpackRatio { ratio: 100, .. }),
        "{error:?}"
    );
    bench.options.limits.scratch_reserve = u64::MAX;
    let error = refused_archive(
        &bench,
        &[
            &entry("x.ovf", document(1 << 60).as_bytes()),
            &entry("d.gz", &bomb),
        ],
    )
    .await;
    assert!(matches!(error, SourceError::NoSpace { .. }), "{error:?}");
    bench.options.limits.scratch_reserve = 0;
    bench.options.limits.unpack_ratio = 10_000;
    let broken = [
        &entry("x.ovf", document(1 << 30).as_bytes())[..],
        &entry("d.gz", &bomb[..bomb.len() / 2]),
    ];
    let error = refused_archive(&bench, &broken).await;
    assert!(matches!(error, SourceError::Unpack { .. }), "{error:?}");
    let large = format!("{}{}", document(1 << 20), " ".repeat(5 << 20));
    let error = refused_archive(&bench, &[&entry("x.ovf", large.as_bytes())]).await;
    assert!(matches!(error, SourceError::DocumentTooLarge { .. }), "{error:?}");
    let entities = document(1).replace("<Envelope", "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><Envelope");
    let error = refused_archive(&bench, &[&entry("x.ovf", entities.as_bytes())]).await;
    assert!(chain(&error).contains("document type"), "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giving_up_leaves_nothing() {
    let bench = Bench::new();
    let attributes = r#"ovf:compression="gzip""#.to_owned();
    let document = ovf(&[Told {
        attributes,
        capacity: 1 << 40,
        ..Told::new("d.gz")
    }]);
    let mut body = gzip(&vec![1; 32 << 20]);
    body = body.repeat(64);
    let ova = bench.write(
        "x.ova",
        end([entry("x.ovf", document.as_bytes()), entry("d.gz", &body)].concat()),
    );
    let options = bench.options.clone();
    let work = tokio::spawn(async move { crate::source::open(ova, &options).await.map(|_| ()) });
    let scratch = bench.options.scratch_dir.clone();
    let count = move || std::fs::read_dir(&scratch).unwrap().count();
    let started = count.clone();
    tokio::task::spawn_blocking(move || super::wait_until("unpacking", || started() == 1))
        .await
        .unwrap();
    work.abort();
    tokio::task::spawn_blocking(move || super::wait_until("clean-up", || count() == 0))
        .await
        .unwrap();
}
