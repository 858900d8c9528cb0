//! What is read back is what was recorded, or less of it; never anything else.

use proptest::prelude::*;
use tempfile::tempdir;

use super::*;
use crate::block::Extent;
use crate::block::extent::ExtentKind;
use crate::transfer::digest::{BLOCK_SIZE, BlockDigest};

fn binding() -> Binding {
    Binding {
        source: "snapshot 52 3b a1/7".into(),
        source_size: 9 * BLOCK_SIZE + 12_345,
        target: "volume 0193".into(),
        target_size: 10 * BLOCK_SIZE,
        digest: DigestKind::Blake3,
    }
}

fn block(index: u64, seed: u8) -> Entry {
    let zeros = match seed % 3 {
        0 => Vec::new(),
        1 => std::iter::once(0..12_288).collect(),
        _ => vec![0..4096, 8192..12_288],
    };
    let (digest, moved) = (BlockDigest([seed; 32]), u32::from(seed));
    Entry::Block(index, DurableBlock { digest, moved, zeros })
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let one = prop_oneof![
        (0u64..10, any::<u8>()).prop_map(|(index, seed)| block(index, seed)),
        (0u64..9 << 20, 1u64..1 << 20).prop_map(|(start, length)| Entry::Zeroed(start..start + length)),
    ];
    prop::collection::vec(one, 1..6)
}

fn sum(rows: &[Vec<Entry>]) -> Durable {
    let mut durable = Durable::default();
    rows.iter()
        .flatten()
        .cloned()
        .for_each(|entry| durable.add(entry));
    durable.tidy();
    durable
}

fn written(path: &Path, rows: &[Vec<Entry>]) {
    let (journal, before) = Journal::open(path, &binding()).unwrap();
    assert!(before.is_empty());
    rows.iter().for_each(|row| journal.record(&Covered(row)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_recorded_is_read_back(rows in prop::collection::vec(entries(), 0..6)) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("journal");
        written(&path, &rows);
        let (journal, durable) = Journal::open(&path, &binding()).unwrap();
        prop_assert_eq!(&durable, &sum(&rows));
        // And it goes on from there.
        let more = vec![block(3, 200)];
        journal.record(&Covered(&more));
        drop(journal);
        let all = [rows, vec![more]].concat();
        prop_assert_eq!(Journal::open(&path, &binding()).unwrap().1, sum(&all));
    }

    #[test]
    fn a_torn_or_damaged_file_tells_a_begin_of_it_or_nothing(
        rows in prop::collection::vec(entries(), 1..6), at in any::<prop::sample::Index>(), cut: bool, flip in 1u8..=255,
    ) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("journal");
        written(&path, &rows);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
        fs::write(&path, &bytes).unwrap();
        match Journal::open(&path, &binding()) {
            Err(JournalError::Unreadable { .. }) => prop_assert_eq!(fs::read(&path).unwrap(), bytes),
            Err(error) => prop_assert!(false, "{error}"),
            Ok((journal, durable)) => {
                let known = (0..=rows.len()).find(|count| sum(&rows[..*count]) == durable);
                prop_assert!(known.is_some_and(|count| cut || count < rows.len()), "{durable:?}");
                // What follows is found again: nothing torn stands before it.
                let more = vec![block(3, 200)];
                journal.record(&Covered(&more));
                drop(journal);
                let all = [&rows[..known.unwrap_or(0)], &[more]].concat();
                prop_assert_eq!(Journal::open(&path, &binding()).unwrap().1, sum(&all));
            }
        }
    }

    #[test]
    fn what_is_left_and_what_is_done_are_all_there_is(
        kinds in prop::collection::vec((1u64..600, any::<bool>()), 1..40), entries in entries(),
    ) {
        const GRAIN: u64 = 4096;
        let window = 0..4 * BLOCK_SIZE;
        let mut at = 0;
        let mut extents = Vec::new();
        for (grains, data) in kinds.into_iter().chain([(4096, true)]) {
            let range = at..window.end.min(at + grains * GRAIN);
            at = range.end;
            extents.push(if data { Extent::data(range) } else { Extent::zero(range) });
        }
        let extents = crate::block::extent::merge(extents);
        let entries = entries.into_iter().map(|entry| match entry {
            Entry::Zeroed(range) => Entry::Zeroed(range.start / GRAIN * GRAIN..range.end / GRAIN * GRAIN),
            other => other,
        });
        let durable = sum(&[entries.collect()]);
        let (left, saved) = durable.outstanding(extents.clone(), &window);
        let kind_at = |extents: &[Extent], at: u64| {
            extents.iter().find(|extent| extent.range().contains(&at)).map(|extent| extent.kind)
        };
        let mut place = 0;
        while place < window.end {
            let (index, inside) = (place / BLOCK_SIZE, u32::try_from(place % BLOCK_SIZE).unwrap());
            let block = durable.blocks.get(&index);
            let is_owed = block.is_some_and(|block| block.zeros.iter().any(|run| run.contains(&inside)));
            let is_zeroed = durable.zeroed.iter().any(|range| range.contains(&place));
            let wanted = match (block, kind_at(&extents, place)) {
                (Some(_), _) => (is_owed && !is_zeroed).then_some(ExtentKind::Zero),
                (None, Some(ExtentKind::Zero)) => (!is_zeroed).then_some(ExtentKind::Zero),
                (None, kind) => kind,
            };
            prop_assert_eq!(kind_at(&left, place), wanted, "at {}", place);
            place += GRAIN;
        }
        let known = durable.blocks.range(..4).map(|(_, block)| u64::from(block.moved));
        prop_assert_eq!(saved, known.sum::<u64>());
    }
}

#[test]
fn a_journal_of_anything_else_is_refused_and_kept() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    written(&path, &[vec![block(1, 1)]]);
    let bytes = fs::read(&path).unwrap();
    let others: [fn(&mut Binding); 5] = [
        |b| b.source.push('8'),
        |b| b.source_size += 1,
        |b| b.target.push('x'),
        |b| b.target_size += 1,
        |b| b.digest = DigestKind::Xxh3,
    ];
    for change in others {
        let mut other = binding();
        change(&mut other);
        let error = Journal::open(&path, &other).unwrap_err();
        assert!(
            matches!(error, JournalError::Foreign { .. }) && error.is_refusal(),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    let mut other = binding();
    other.source = "snapshot 8".into();
    drop(Journal::start_over(&path, &other).unwrap());
    assert!(Journal::open(&path, &other).unwrap().1.is_empty());
}

#[test]
fn one_copy_at_a_time() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let (first, _) = Journal::open(&path, &binding()).unwrap();
    let second = Journal::open(&path, &binding()).unwrap_err();
    assert!(matches!(second, JournalError::InUse { .. }) && !second.is_refusal());
    let third = Journal::start_over(&path, &binding()).unwrap_err();
    assert!(matches!(third, JournalError::InUse { .. }));
    first.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_journal_is_left_alone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    for content in ["", "vmcopyj1", "something that somebody keeps here"] {
        fs::write(&path, content).unwrap();
        let error = Journal::open(&path, &binding()).unwrap_err();
        assert!(matches!(error, JournalError::Unreadable { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}
