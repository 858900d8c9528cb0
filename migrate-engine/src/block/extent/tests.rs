//! Properties of the extent algebra, against a byte-by-byte model.

use std::ops::Range;

use proptest::prelude::*;

use super::*;

/// Extents that tile `0..n`, n below ~400, with arbitrary kinds and lengths (equal neighbours included).
fn tiling() -> impl Strategy<Value = Vec<Extent>> {
    prop::collection::vec((1u64..40, any::<bool>()), 1..12).prop_map(|parts| {
        let mut at = 0;
        parts
            .into_iter()
            .map(|(length, data)| {
                let range = at..at + length;
                at += length;
                if data {
                    Extent::data(range)
                } else {
                    Extent::zero(range)
                }
            })
            .collect()
    })
}

/// The kind of every byte, `None` where no extent is.
fn painted(extents: &[Extent]) -> Vec<Option<ExtentKind>> {
    let mut bytes = vec![None; 500];
    for extent in extents {
        for at in extent.range() {
            bytes[usize::try_from(at).unwrap()] = Some(extent.kind);
        }
    }
    bytes
}

fn end(extents: &[Extent]) -> u64 {
    extents.last().map_or(0, Extent::end)
}

proptest! {
    #[test]
    fn merge_keeps_bytes_and_leaves_no_equal_neighbours(extents in tiling()) {
        let merged = merge(extents.clone());
        prop_assert_eq!(painted(&merged), painted(&extents));
        prop_assert!(merged.windows(2).all(|pair| pair[0].kind != pair[1].kind));
        prop_assert_eq!(check_coverage(&merged, &(0..end(&extents))), Ok(()));
    }

    #[test]
    fn split_keeps_bytes_and_respects_the_boundary(extents in tiling(), size in 1u64..50) {
        let pieces: Vec<_> = split_at(&extents, size).collect();
        prop_assert_eq!(painted(&pieces), painted(&extents));
        prop_assert!(pieces.iter().all(|piece| piece.offset / size == (piece.end() - 1) / size));
    }

    #[test]
    fn intersect_and_subtract_are_complements(extents in tiling(), a in 0u64..400, b in 0u64..400, c in 0u64..400, d in 0u64..400) {
        let mut cuts = [a, b, c, d];
        cuts.sort_unstable();
        let holes: [Range<u64>; 2] = [cuts[0]..cuts[1], cuts[2]..cuts[3]];
        let outside = painted(&subtract(&extents, &holes));
        for (at, kind) in painted(&extents).into_iter().enumerate() {
            let inside = holes.iter().any(|hole| hole.contains(&(at as u64)));
            prop_assert_eq!(outside[at], if inside { None } else { kind });
        }
        let inside = painted(&intersect(&extents, &holes[0]));
        for (at, kind) in painted(&extents).into_iter().enumerate() {
            prop_assert_eq!(inside[at], if holes[0].contains(&(at as u64)) { kind } else { None });
        }
    }

    #[test]
    fn normalized_ranges_cover_the_same_bytes_in_order(ranges in prop::collection::vec((0u64..400, 0u64..60), 0..12)) {
        let ranges: Vec<_> = ranges.into_iter().map(|(start, length)| start..start + length).collect();
        let covers = |ranges: &[Range<u64>], at: u64| ranges.iter().any(|range| range.contains(&at));
        let joined = normalize(ranges.clone());
        prop_assert!((0..500).all(|at| covers(&joined, at) == covers(&ranges, at)));
        prop_assert!(joined.windows(2).all(|pair| pair[0].end < pair[1].start));
        let gaps = gaps(&joined, &(20..450));
        prop_assert!((0..500).all(|at| covers(&gaps, at) == ((20..450).contains(&at) && !covers(&ranges, at))));
    }

    #[test]
    fn aligning_never_loses_data(extents in tiling(), power in 0u32..6) {
        let alignment = 1u64 << power;
        let aligned = align_towards_data(&extents, alignment);
        let end = end(&extents);
        prop_assert_eq!(check_coverage(&aligned, &(0..end)), Ok(()));
        for (before, after) in painted(&extents).into_iter().zip(painted(&aligned)) {
            prop_assert!(before != Some(ExtentKind::Data) || after == Some(ExtentKind::Data));
        }
        prop_assert!(aligned.iter().all(|extent| extent.offset % alignment == 0));
        // No more than needed: every aligned granule of new data touches old data.
        let old = painted(&extents);
        for extent in aligned.iter().filter(|extent| extent.kind == ExtentKind::Data) {
            for granule in split_at(&[*extent], alignment) {
                let range = usize::try_from(granule.offset).unwrap()..usize::try_from(granule.end()).unwrap();
                prop_assert!(old[range].contains(&Some(ExtentKind::Data)));
            }
        }
    }

    #[test]
    fn coverage_notices_any_damage(extents in tiling(), pick in any::<prop::sample::Index>()) {
        let range = 0..end(&extents);
        let at = pick.index(extents.len());
        let mut removed = extents.clone();
        removed.remove(at);
        prop_assert!(check_coverage(&removed, &range).is_err());
        let mut doubled = extents.clone();
        doubled.insert(at, extents[at]);
        prop_assert!(check_coverage(&doubled, &range).is_err());
        let mut longer = extents.clone();
        longer[at].length += 1;
        prop_assert!(check_coverage(&longer, &range).is_err());
        let mut empty = extents;
        empty[at].length = 0;
        prop_assert!(check_coverage(&empty, &range).is_err());
    }
}

#[test]
fn the_far_end_of_the_address_space_does_not_overflow() {
    let last = Extent::data(u64::MAX - 10..u64::MAX);
    let hole = 0..u64::MAX - 5;
    assert_eq!(split_at(&[last], 1 << 20).count(), 1);
    assert_eq!(
        subtract(&[last], std::slice::from_ref(&hole)),
        vec![Extent::data(u64::MAX - 5..u64::MAX)]
    );
    assert_eq!(
        align_towards_data(&[last], 4).last().map(Extent::end),
        Some(u64::MAX)
    );
}
