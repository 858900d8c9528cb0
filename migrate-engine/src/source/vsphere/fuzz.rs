//! What a fuzzer does with what a vCenter or a host says, and what must hold of whatever is believed.

use hyper::StatusCode;

use super::change_tracking::{self, Page, coverage};
use super::http::Answer;
use super::inventory::put_together;
use super::{ChangeId, Endpoint, Fingerprint, Reference, properties, soap};

/// Answers of SOAP: machines as discovery puts them together, pages of changed areas, faults.
pub(crate) fn soap(bytes: &[u8]) {
    for status in [StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR] {
        let answer = Answer {
            status,
            headers: hyper::HeaderMap::new(),
            body: bytes.to_vec().into(),
        };
        if let Ok(response) = soap::read("RetrievePropertiesEx", &answer) {
            drop(put_together(properties::page(response).objects));
        }
        if let Ok(response) = soap::read("QueryChangedDiskAreas", &answer) {
            change_tracking::page(&response).into_iter().for_each(areas);
        }
    }
}

/// Pages of changed areas: what comes of them is sorted, in whole sectors, within the disk, and lacks nothing.
pub(crate) fn changed_areas(bytes: &[u8]) {
    let mut numbers = bytes.chunks_exact(8).map(|number| {
        let number: [u8; 8] = number.try_into().expect("chunks of eight");
        u64::from_le_bytes(number)
    });
    let Some(capacity) = numbers.next() else { return };
    let mut pages: Vec<Page> = Vec::new();
    while let (Some(start), Some(length)) = (numbers.next(), numbers.next()) {
        match pages.last_mut() {
            Some(page) if start % 3 != 0 => page.areas.push(super::Area { start, length }),
            _ => pages.push(Page {
                start: pages
                    .last()
                    .map_or(0, |page| page.start.saturating_add(page.length)),
                length: length.min(capacity),
                areas: Vec::new(),
            }),
        }
    }
    check(capacity, pages);
}

fn areas(page: Page) {
    check(page.length, vec![page]);
}

fn check(capacity: u64, pages: Vec<Page>) {
    let told: Vec<_> = pages.iter().flat_map(|page| page.areas.clone()).collect();
    let Ok(found) = coverage(capacity, pages) else {
        return;
    };
    let mut before = 0;
    for area in &found {
        let end = area.end().expect("an end on the disk");
        assert!(
            area.start >= before && end > area.start && end <= capacity,
            "{found:?}"
        );
        assert!(
            area.start.is_multiple_of(512) && end.is_multiple_of(512),
            "{found:?}"
        );
        before = end;
    }
    for area in told
        .iter()
        .filter(|area| area.length > 0 && area.start < capacity)
    {
        let end = area
            .end()
            .expect("areas that reach too far are refused")
            .min(capacity);
        let is_in = found
            .iter()
            .any(|found| found.start <= area.start && found.end().is_some_and(|found| found >= end));
        assert!(is_in, "{area:?} is lost: {found:?}");
    }
}

/// Texts of datastores and of those who ask for them.
pub(crate) fn datastore(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    super::datastore::fuzz::texts(text);
    if let Ok(print) = text.parse::<Fingerprint>() {
        assert_eq!(print.to_string().parse(), Ok(print));
    }
    if let Ok(id) = text.parse::<ChangeId>() {
        assert_eq!(id.to_string().parse::<ChangeId>().as_ref(), Ok(&id));
    }
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse::<Endpoint>().as_ref(), Ok(&endpoint));
    }
    let _ = Reference::machine(text);
}
