//! Asking a host what changed on a disk, page by page.

use super::super::reference::Reference;
use super::super::snapshot::is_gone;
use super::super::soap::{Call, Element, Xml};
use super::super::{Session, VsphereError};
use super::coverage::Coverage;
use super::{Area, ChangeId, FullCopyReason, Page};

const METHOD: &str = "QueryChangedDiskAreas";

/// Since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// Since this point in time.
    Change(ChangeId),
    /// Since the disk was made: all that is in use; the rest reads as zeros. Of NFS and vSAN it may be the whole disk.
    Creation,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// These areas, sorted, whole sectors, without overlaps. More than changed may be in them, never less.
    Areas(Vec<Area>),
    /// It is not known.
    FullCopy(FullCopyReason),
}

impl Since {
    fn as_str(&self) -> &str {
        match self {
            Self::Change(id) => id.as_str(),
            Self::Creation => "*",
        }
    }
}

impl Session {
    /// What changed on the disk `key` of `machine` between `since` and `snapshot`; `capacity` is the disk's size in that
    /// snapshot, in bytes. Reads only. Ask [`Disk::goes_on_from`](super::super::Disk::goes_on_from) before.
    ///
    /// # Errors
    /// [`VsphereError::SnapshotGone`], or what keeps us from the vCenter. That the host does not know what changed is no
    /// error: it is [`Changes::FullCopy`].
    pub async fn changed_areas(
        &self,
        machine: &Reference,
        snapshot: &Reference,
        key: i32,
        since: &Since,
        capacity: u64,
    ) -> Result<Changes, VsphereError> {
        let doubtful = |error| Ok(Changes::FullCopy(FullCopyReason::Doubtful(error)));
        let mut coverage = match Coverage::new(capacity) {
            Ok(coverage) => coverage,
            Err(error) => return doubtful(error),
        };
        while let Some(start) = coverage.next() {
            let asked = self.changed_page(machine, snapshot, key, since, start).await;
            let page = match asked {
                Ok(page) => page,
                Err(error) => return refused(error, since, snapshot),
            };
            if let Err(error) = coverage.add(page) {
                return doubtful(error);
            }
        }
        coverage.finish().map(Changes::Areas).or_else(doubtful)
    }

    async fn changed_page(
        &self,
        machine: &Reference,
        snapshot: &Reference,
        key: i32,
        since: &Since,
        start: u64,
    ) -> Result<Page, VsphereError> {
        let arguments = Xml::new()
            .reference("snapshot", snapshot)
            .text("deviceKey", &key.to_string())
            .text("startOffset", &start.to_string())
            .text("changeId", since.as_str());
        let response = self.call(&Call::reading(METHOD, machine, arguments)).await?;
        page(&response).ok_or_else(|| self.lacks(METHOD, "offset, length or areas"))
    }
}

fn refused(error: VsphereError, since: &Since, snapshot: &Reference) -> Result<Changes, VsphereError> {
    if is_gone(&error) {
        return Err(VsphereError::SnapshotGone {
            snapshot: snapshot.id.clone(),
        });
    }
    let reason = error
        .fault()
        .and_then(|fault| FullCopyReason::of(fault, since.as_str()));
    reason.map(Changes::FullCopy).ok_or(error)
}

/// Reads a page. One number that cannot be read spoils all of it: an area left out would be a change left out.
pub(super) fn page(response: &Element) -> Option<Page> {
    let result = response.child("returnval")?;
    let area = |element: &Element| {
        Some(Area {
            start: element.child_number("start")?,
            length: element.child_number("length")?,
        })
    };
    Some(Page {
        start: result.child_number("startOffset")?,
        length: result.child_number("length")?,
        areas: result.children("changedArea").map(area).collect::<Option<_>>()?,
    })
}
