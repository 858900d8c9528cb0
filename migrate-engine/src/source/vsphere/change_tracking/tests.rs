//! Change ids, the coverage of a disk by pages, and what refusals come to.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::inventory::{Disk, DiskKind, DiskMode, Provisioning};
use super::super::soap::{Fault, parse};
use super::query::page;
use super::{Area, ChangeId, CoverageError, FullCopyReason, Page, coverage};

const SECTOR: u64 = 512;

fn id(text: &str) -> ChangeId {
    text.parse().unwrap()
}

#[test]
fn ids_are_split_at_the_last_slash() {
    let real = id("52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/81");
    assert_eq!(real.epoch(), "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63");
    assert_eq!(
        (real.number(), real.to_string().as_str()),
        (81, "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/81")
    );
    assert_eq!(id("a/b/7").epoch(), "a/b");
    for text in ["", "*", "/1", "abc", "abc/", "abc/x", "abc/+1", "- -/1"] {
        assert!(text.parse::<ChangeId>().is_err(), "{text}");
    }
}

#[test]
fn epochs_are_the_same_however_they_are_written() {
    let spaced = id("52 DE c0 d9-61/81");
    assert!(spaced.is_same_epoch(&id("52dec0d9-61/2")));
    assert!(!spaced.is_same_epoch(&id("52dec0d9-62/81")));
}

fn disk(change_id: Option<&str>, capacity: u64) -> Disk {
    Disk {
        id: "disk-2000".to_owned(),
        key: 2000,
        uuid: None,
        path: None,
        parents: Vec::new(),
        label: "Hard disk 1".to_owned(),
        capacity_bytes: Some(capacity),
        datastore: None,
        datastore_type: None,
        provisioning: Provisioning::Thin,
        mode: DiskMode::Persistent,
        kind: DiskKind::Flat,
        is_shared: false,
        is_encrypted: false,
        is_tracked: None,
        change_id: change_id.map(id),
    }
}

#[test]
fn a_copy_goes_on_only_within_an_epoch_forwards_and_at_the_same_size() {
    let before = id("aa/5");
    let asked = |now, capacity| disk(now, capacity).goes_on_from(&before, 1024);
    assert_eq!(asked(Some("aa/6"), 1024), Ok(()));
    assert_eq!(asked(Some("aa/5"), 1024), Ok(()));
    assert_eq!(asked(None, 1024), Err(FullCopyReason::NotTracked));
    assert!(matches!(
        asked(Some("bb/9"), 1024),
        Err(FullCopyReason::Reset { .. })
    ));
    assert!(matches!(
        asked(Some("aa/4"), 1024),
        Err(FullCopyReason::WentBack { .. })
    ));
    let resized = FullCopyReason::Resized {
        before: 1024,
        now: 2048,
    };
    assert_eq!(asked(Some("aa/6"), 2048), Err(resized));
}

fn fault(kind: &str, inner: &str) -> Fault {
    let text = format!(
        "<error><fault xmlns:q=\"urn:q\" q:type=\"{kind}\">{inner}</fault><localizedMessage>no</localizedMessage></error>"
    );
    Fault::of_task(&parse(text.as_bytes()).unwrap())
}

#[test]
fn refusals_say_why_a_full_copy_is_needed() {
    let key = |key: &str| {
        format!("<faultMessage><key>vim.hostd.vmsvc.cbt.{key}</key></faultMessage><file>[d] x.vmdk</file>")
    };
    let of = |kind: &str, inner: &str| FullCopyReason::of(&fault(kind, inner), "aa/5");
    let unknown = Some(FullCopyReason::Unknown {
        change_id: "aa/5".to_owned(),
    });
    assert_eq!(of("FileFault", &key("noTrack")), Some(FullCopyReason::NotTracked));
    assert_eq!(
        of("FileFault", &key("noEpoch")),
        Some(FullCopyReason::EpochMissing)
    );
    assert_eq!(of("FileFault", &key("cannotGetChanges")), unknown);
    assert_eq!(of("FileFault", ""), Some(FullCopyReason::Unreadable));
    let argument = |name| {
        of(
            "InvalidArgument",
            &format!("<invalidProperty>{name}</invalidProperty>"),
        )
    };
    assert_eq!(argument("changeId"), unknown);
    assert_eq!(
        argument("deviceKey"),
        Some(FullCopyReason::Argument {
            argument: "deviceKey".to_owned()
        })
    );
    assert_eq!(of("MethodNotFound", ""), Some(FullCopyReason::Unsupported));
    for kind in ["NotAuthenticated", "NoPermission", "ManagedObjectNotFound"] {
        assert_eq!(of(kind, ""), None, "{kind}");
    }
}

#[test]
fn pages_are_read_whole_or_not_at_all() {
    let read =
        |inner: &str| page(&parse(format!("<r><returnval>{inner}</returnval></r>").as_bytes()).unwrap());
    let good = "<startOffset>0</startOffset><length>1024</length><changedArea><start>512</start><length>512</length></changedArea>";
    assert_eq!(
        read(good),
        Some(Page {
            start: 0,
            length: 1024,
            areas: vec![area(512, 512)]
        })
    );
    assert_eq!(
        read("<startOffset>0</startOffset><length>1024</length>")
            .unwrap()
            .areas,
        []
    );
    assert_eq!(
        read(&good.replace("<start>512</start>", "<start>-1</start>")),
        None
    );
    assert_eq!(read("<length>1024</length>"), None);
}

fn area(start: u64, length: u64) -> Area {
    Area { start, length }
}

fn empty(start: u64, length: u64) -> Page {
    Page {
        start,
        length,
        areas: Vec::new(),
    }
}

#[test]
fn pages_that_do_not_tile_the_disk_are_refused() {
    let refused = |capacity, pages: &[Page]| coverage(capacity, pages.iter().cloned()).unwrap_err();
    let two = 2 * SECTOR;
    assert_eq!(
        refused(two, &[empty(0, SECTOR)]),
        CoverageError::Short {
            reached: SECTOR,
            capacity: two
        }
    );
    assert_eq!(
        refused(two, &[]),
        CoverageError::Short {
            reached: 0,
            capacity: two
        }
    );
    let elsewhere = |expected, found| CoverageError::Elsewhere { expected, found };
    assert_eq!(refused(two, &[empty(SECTOR, SECTOR)]), elsewhere(0, SECTOR));
    assert_eq!(
        refused(two, &[empty(0, two), empty(SECTOR, SECTOR)]),
        elsewhere(two, SECTOR)
    );
    assert_eq!(refused(two, &[empty(0, 0)]), CoverageError::NoProgress { at: 0 });
    let beyond = CoverageError::Beyond { capacity: two };
    assert_eq!(refused(two, &[empty(0, two + 1)]), beyond);
    assert_eq!(refused(two, &[empty(0, u64::MAX)]), beyond);
    assert_eq!(refused(two, &[empty(0, two), empty(two, SECTOR)]), beyond);
    assert_eq!(
        refused(SECTOR + 1, &[]),
        CoverageError::Capacity { capacity: SECTOR + 1 }
    );
}

#[test]
fn areas_are_grown_to_sectors_merged_and_cut_at_the_end() {
    let page = Page {
        start: 0,
        length: 4096,
        areas: vec![
            area(4000, 9999),
            area(600, 10),
            area(1024, 1),
            area(5000, 10),
            area(0, 0),
        ],
    };
    assert_eq!(
        coverage(4096, [page]).unwrap(),
        [area(512, 1024), area(3584, 512)]
    );
    let overflowing = Page {
        areas: vec![area(u64::MAX - 10, 100)],
        ..empty(0, 512)
    };
    assert!(matches!(
        coverage(512, [overflowing]),
        Err(CoverageError::Overflow { .. })
    ));
    assert_eq!(coverage(0, []).unwrap(), []);
}

/// A disk in sectors, the lengths of pages that tile it, and areas in bytes.
fn disk_and_pages() -> impl Strategy<Value = (u64, Vec<Page>)> {
    vec((1_u64..50, vec((0_u64..30_000, 0_u64..5_000), 0..6)), 1..8).prop_map(|parts| {
        let mut start = 0;
        let pages = parts
            .into_iter()
            .map(|(sectors, areas)| {
                let page = Page {
                    start,
                    length: sectors * SECTOR,
                    areas: areas
                        .into_iter()
                        .map(|(start, length)| area(start, length))
                        .collect(),
                };
                start += page.length;
                page
            })
            .collect();
        (start, pages)
    })
}

proptest! {
    #[test]
    fn no_changed_byte_is_ever_lost((capacity, pages) in disk_and_pages()) {
        let areas = coverage(capacity, pages.iter().cloned()).unwrap();
        let holds = |byte: u64| areas.iter().any(|area| area.start <= byte && byte < area.start + area.length);
        for told in pages.iter().flat_map(|page| &page.areas) {
            for byte in [told.start, told.start + told.length / 2, (told.start + told.length).saturating_sub(1)] {
                if told.length > 0 && byte < capacity {
                    prop_assert!(holds(byte), "{byte} of {told:?} in {areas:?}");
                }
            }
        }
    }

    #[test]
    fn the_result_is_in_order_whole_and_adds_less_than_a_sector((capacity, pages) in disk_and_pages()) {
        let areas = coverage(capacity, pages.iter().cloned()).unwrap();
        for pair in areas.windows(2) {
            prop_assert!(pair[0].start + pair[0].length < pair[1].start);
        }
        for found in &areas {
            prop_assert!(found.length > 0 && found.start % SECTOR == 0 && found.length % SECTOR == 0);
            prop_assert!(found.start + found.length <= capacity);
        }
        let told = |sector: u64| pages.iter().flat_map(|page| &page.areas).any(|area| {
            area.length > 0 && area.start < sector + SECTOR && sector < area.start + area.length
        });
        for found in &areas {
            for sector in (found.start..found.start + found.length).step_by(512) {
                prop_assert!(told(sector), "nobody told of {sector}");
            }
        }
    }

    #[test]
    fn any_change_of_a_page_is_noticed((capacity, pages) in disk_and_pages(), which: prop::sample::Index, by in 1_u64..9_999, grows: bool) {
        let mut changed = pages;
        let page = which.get_mut(&mut changed);
        page.length = if grows { page.length + by } else { page.length.saturating_sub(by) };
        prop_assert!(coverage(capacity, changed).is_err());
    }

    #[test]
    fn a_page_left_out_or_given_twice_is_noticed((capacity, pages) in disk_and_pages(), which: prop::sample::Index) {
        let at = which.index(pages.len());
        let mut fewer = pages.clone();
        fewer.remove(at);
        prop_assert!(coverage(capacity, fewer).is_err());
        let mut more = pages;
        more.insert(at, more[at].clone());
        prop_assert!(coverage(capacity, more).is_err());
    }

    #[test]
    fn any_pages_end_in_an_answer_or_an_error(capacity in 0_u64..10_000, pages in vec((any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()), 0..5)) {
        let pages = pages.into_iter().map(|(start, length, a, b)| Page { start, length, areas: vec![area(a, b)] });
        let _ = coverage(capacity, pages);
    }

    #[test]
    fn an_id_reads_as_it_is_shown(epoch in "[0-9a-f]{2}( [0-9a-f]{2}|-[0-9a-f]{2}){0,15}", number: u64) {
        let text = format!("{epoch}/{number}");
        let read = id(&text);
        prop_assert_eq!(read.to_string(), text);
        prop_assert_eq!(read.number(), number);
    }
}
