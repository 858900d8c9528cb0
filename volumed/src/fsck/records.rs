//! Our own rules, as far as the schema cannot say them: what one row tells must fit what the others tell.

use rusqlite::Connection;

use super::FsckFinding;
use crate::model::{AttachmentState, JournalLine, LeaseAccess, VolumeState};
use crate::operation;
use crate::store::{self, MappingRecord, OperationRecord, StoreError, VolumeFilter, VolumeRecord};

const RECORDS_CONTRADICT: &str = "the records contradict each other, as no daemon leaves them";
const RESTORE: &str = "look at the audit trail, then restore a backup or report this as a defect";

/// Examines the rows. `boot_id` is the present boot.
///
/// # Errors
/// Where the rows cannot be read.
pub fn examine(conn: &Connection, boot_id: &str) -> Result<Vec<FsckFinding>, StoreError> {
    let mut found = Vec::new();
    for operation in store::operations::all_open(conn)? {
        found.extend(journal(conn, &operation)?);
    }
    let mappings = store::mappings::all_live(conn)?;
    for volume in volumes(conn)? {
        let mapping = mappings.iter().find(|mapping| mapping.volume_id == volume.id);
        found.extend(state(conn, &volume, mapping)?);
        found.extend(leases(conn, &volume)?);
        found.extend(mapping.and_then(|mapping| mismatch(&volume, mapping)));
    }
    let old = mappings
        .iter()
        .filter(|mapping| mapping.observed.boot_id != boot_id);
    found.extend(old.map(|mapping| {
        FsckFinding::new(
            format!(
                "volume {} is mapped to {} of another boot",
                mapping.volume_id, mapping.observed.device_path
            ),
            "the name may be another disk's by now",
            "start the daemon: it ends the mapping and looks for the device anew",
        )
    }));
    for (volume, recorded) in store::restored::unproven(conn)? {
        found.push(FsckFinding::new(
            format!("volume {volume} was {recorded} in the copy that the database was restored from"),
            "it was not compared with cloud and kernel since, and nothing is changed about it",
            "start the daemon and wait until the cloud has answered",
        ));
    }
    found.extend(lost_keys(conn)?);
    Ok(found)
}

fn volumes(conn: &Connection) -> Result<Vec<VolumeRecord>, StoreError> {
    store::volumes::list(conn, &VolumeFilter::default(), u32::MAX)
}

/// That an open operation's journal is one of its table's, and undone only where it failed.
fn journal(conn: &Connection, operation: &OperationRecord) -> Result<Option<FsckFinding>, StoreError> {
    let records = store::journal::read(conn, operation.id)?;
    let lines: Vec<JournalLine> = records.into_iter().map(|record| record.line).collect();
    Ok(operation::misfit(operation.request.kind(), &lines).map(|why| {
        FsckFinding::new(
            format!(
                "the journal of {} operation {}: {why}",
                operation.request.kind(),
                operation.id
            ),
            "what was done of it cannot be told from its journal",
            RESTORE,
        )
    }))
}

/// That a volume's state fits its operation, its attachment and its mapping.
fn state(
    conn: &Connection,
    volume: &VolumeRecord,
    mapping: Option<&MappingRecord>,
) -> Result<Option<FsckFinding>, StoreError> {
    let (id, state) = (volume.id, volume.state);
    if store::operations::open_for(conn, id)?.is_some() || store::restored::is_unproven(conn, id)? {
        return Ok(None); // under way: recovery, or the comparison after a restore, decides
    }
    let attachment = store::attachments::live(conn, id)?.map(|attachment| attachment.state);
    let why = match (state, attachment, mapping) {
        (VolumeState::InUse, Some(AttachmentState::Attached), _) => return Ok(None),
        (VolumeState::InUse, None, _) => "without an attachment".to_owned(),
        (VolumeState::InUse, Some(other), _) => format!("while its attachment is {other}"),
        (VolumeState::Available | VolumeState::Deleted, None, None) => return Ok(None),
        (VolumeState::Available | VolumeState::Deleted, Some(_), _) => {
            "with an attachment that has not ended".to_owned()
        }
        (VolumeState::Available | VolumeState::Deleted, None, Some(mapping)) => {
            format!("and still mapped to {}", mapping.observed.device_path)
        }
        (VolumeState::Error, ..) => return Ok(None),
        _ => "without an operation that would end that".to_owned(),
    };
    let what = format!("volume {id} is {state} {why}");
    Ok(Some(FsckFinding::new(what, RECORDS_CONTRADICT, RESTORE)))
}

/// That a mapping is of the volume's identity and size.
fn mismatch(volume: &VolumeRecord, mapping: &MappingRecord) -> Option<FsckFinding> {
    let seen = &mapping.observed;
    let why = if volume.identity.as_ref() != Some(&seen.identity) {
        let expected = volume
            .identity
            .as_ref()
            .map_or_else(|| "none".to_owned(), ToString::to_string);
        format!(
            "a device of identity {}, and its own is {expected}",
            seen.identity
        )
    } else if volume.size != seen.size && volume.state != VolumeState::Extending {
        format!("a device of {}, and it has {}", seen.size, volume.size)
    } else {
        return None;
    };
    Some(FsckFinding::new(
        format!("volume {} is mapped to {}, {why}", volume.id, seen.device_path),
        "the device may be another volume's: it is not handed out",
        "`volumectl correlate` binds the right one, with a daemon that runs",
    ))
}

/// That a volume has one writer at most, and that leases are of its present attachment.
fn leases(conn: &Connection, volume: &VolumeRecord) -> Result<Vec<FsckFinding>, StoreError> {
    let live = store::leases::live_of(conn, volume.id)?;
    let mut found = Vec::new();
    let writers = live
        .iter()
        .filter(|lease| lease.access == LeaseAccess::Write)
        .count();
    if writers > 1 {
        found.push(FsckFinding::new(
            format!("volume {} has {writers} writers", volume.id),
            "two programs may write to one disk",
            "stop all but one of them, then release their leases",
        ));
    }
    let strays = live.iter().filter(|lease| lease.generation != volume.generation);
    found.extend(strays.map(|lease| {
        FsckFinding::new(
            format!(
                "lease {} of volume {} is of attachment {}, the present one is {}",
                lease.id, volume.id, lease.generation, volume.generation
            ),
            "its holder uses a device that is no longer the volume's",
            "end the holder, then `volumectl leases release`",
        )
    }));
    Ok(found)
}

/// Keys whose operation or lease is not there: repeating the request would fail for ever.
fn lost_keys(conn: &Connection) -> Result<Option<FsckFinding>, StoreError> {
    let sql = "SELECT count(*) FROM idempotency_keys k
               WHERE NOT EXISTS (SELECT 1 FROM operations o WHERE k.resource = 'operation' AND o.id = k.resource_id)
                 AND NOT EXISTS (SELECT 1 FROM leases l WHERE k.resource = 'lease' AND l.id = k.resource_id)";
    let lost: u64 = conn.query_row(sql, [], |row| row.get(0))?;
    Ok((lost > 0).then(|| {
        FsckFinding::new(
            format!("{lost} idempotency keys lead to nothing"),
            "a client that repeats its request under one of them gets no answer",
            RESTORE,
        )
    }))
}
