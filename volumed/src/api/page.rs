//! Pages of lists: how many, from where on, and where the next one starts.

use std::str::FromStr;

use volume_client::types::{ErrorCode, Page};

use crate::model::Failure;

const DEFAULT_LIMIT: u32 = 100;

/// How many items a page has at most.
pub(super) fn limit(asked: Option<u32>) -> Result<u32, Failure> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=1000 => Ok(limit),
        _ => Err(Failure::new(
            ErrorCode::InvalidRequest,
            "`limit` must be from 1 to 1000",
        )),
    }
}

/// After which item a page starts: a cursor is the id of the last item of the page before.
pub(super) fn after<T: FromStr>(cursor: Option<&str>) -> Result<Option<T>, Failure> {
    let bad = |_| {
        let message = "`cursor` must be the `next_cursor` of the page before";
        Failure::new(ErrorCode::InvalidRequest, message)
    };
    cursor.map(|text| text.parse().map_err(bad)).transpose()
}

/// The page that `rows` make: one more than `limit` was asked for, to know whether there is a next one.
pub(super) fn page<R, W>(
    mut rows: Vec<R>,
    limit: u32,
    id: impl Fn(&R) -> String,
    view: impl FnMut(R) -> W,
) -> Page<W> {
    let limit = limit as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    Page {
        next_cursor: rows.last().filter(|_| more).map(id),
        items: rows.into_iter().map(view).collect(),
    }
}

/// A list that is always whole.
pub(super) fn whole<W>(items: Vec<W>) -> Page<W> {
    Page {
        items,
        next_cursor: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_starts_after_the_last_item_if_there_is_more() {
        let of = |rows: Vec<u32>| page(rows, 2, u32::to_string, |n| n);
        assert_eq!(of(vec![1, 2, 3]).next_cursor.as_deref(), Some("2"));
        assert_eq!(of(vec![1, 2, 3]).items, [1, 2]);
        assert_eq!(of(vec![1, 2]).next_cursor, None);
        assert_eq!(of(vec![]).next_cursor, None);
    }

    #[test]
    fn limits_and_cursors_are_checked() {
        assert_eq!(limit(None), Ok(100));
        assert!(limit(Some(0)).is_err() && limit(Some(1001)).is_err());
        assert_eq!(after::<u32>(Some("7")), Ok(Some(7)));
        assert!(after::<u32>(Some("x")).is_err());
    }
}
