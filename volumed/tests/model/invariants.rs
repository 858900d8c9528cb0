//! What holds after every step, whatever happened.

use parking_lot::Mutex;
use rusqlite::Connection;
use volumed::model::{ErrorCode, OperationId, OperationKind, VolumeId, VolumeState};
use volumed::store::{self, OperationFilter, OperationRecord, StoreError};

use crate::client::{Clients, is_of, judge_device, volumes};
use crate::daemon::Daemon;
use crate::reference::leaves;
use crate::world::World;

/// Panics of the daemon's tasks: a step that panics is tried again, and must not be overlooked here.
pub(crate) static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// An operation that runs says within this time what it is at.
const TELLS_WITHIN: i64 = 5;

/// Rows of which there must be none, each with what it would mean.
const NEVER: &[(&str, &str)] = &[
    (
        "two live mappings share a device",
        "SELECT count(*) FROM mappings a JOIN mappings b ON a.id < b.id WHERE a.released_at IS NULL AND b.released_at IS NULL
         AND (a.device_path = b.device_path OR a.devnum = b.devnum OR a.identity = b.identity OR a.volume_id = b.volume_id
              OR (a.boot_id = b.boot_id AND a.diskseq = b.diskseq))",
    ),
    (
        "a volume has two live attachments",
        "SELECT count(*) FROM (SELECT 1 FROM attachments WHERE ended_at IS NULL GROUP BY volume_id HAVING count(*) > 1)",
    ),
    (
        "a volume has two open operations",
        "SELECT count(*) FROM (SELECT 1 FROM operations WHERE completed_at IS NULL GROUP BY volume_id HAVING count(*) > 1)",
    ),
    (
        "a volume has two writers",
        "SELECT count(*) FROM (SELECT 1 FROM leases WHERE released_at IS NULL AND access = 'write'
                               GROUP BY volume_id HAVING count(*) > 1)",
    ),
    (
        "a live mapping belongs to an attachment that has ended",
        "SELECT count(*) FROM mappings m JOIN attachments a ON a.id = m.attachment_id
         WHERE m.released_at IS NULL AND a.ended_at IS NOT NULL",
    ),
    (
        "a volume without an operation under way is in between",
        "SELECT count(*) FROM volumes v WHERE state NOT IN ('available', 'in_use', 'deleted')
         AND NOT EXISTS (SELECT 1 FROM operations WHERE volume_id = v.id AND completed_at IS NULL)",
    ),
    (
        "a volume in use has no attachment",
        "SELECT count(*) FROM volumes v WHERE state = 'in_use'
         AND NOT EXISTS (SELECT 1 FROM attachments WHERE volume_id = v.id AND ended_at IS NULL)",
    ),
    (
        "an available volume has an attachment or a lease",
        "SELECT count(*) FROM volumes v WHERE state IN ('available', 'deleted')
         AND (EXISTS (SELECT 1 FROM attachments WHERE volume_id = v.id AND ended_at IS NULL)
              OR EXISTS (SELECT 1 FROM leases WHERE volume_id = v.id AND released_at IS NULL))",
    ),
    (
        "an operation failed by a defect of ours",
        "SELECT count(*) FROM operations WHERE failure_code = 'internal'",
    ),
];

fn broken(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    for (rule, sql) in NEVER {
        let count: u64 = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        if count > 0 {
            found.push(format!("{rule} ({count})"));
        }
    }
    Ok(found)
}

/// Checks everything, and notes what does not hold.
pub(crate) async fn check(daemon: &Daemon, world: &World, clients: &mut Clients) {
    let mut found = daemon.store.read(broken).await.unwrap();
    found.append(&mut PANICS.lock());
    let operations = daemon.store.read(all).await.unwrap();
    judge_operations(&operations, daemon, world, clients, &mut found).await;
    leases(daemon, clients, &mut found).await;
    bound_right(daemon, world, &mut found).await;
    for rule in found {
        world.now().violated(rule);
    }
    for volume in volumes(daemon).await {
        if volume.state == VolumeState::InUse {
            let device = daemon.operations.verified(volume.id).await;
            judge_device(world, volume.id, device.map(|device| device.observed.device_path));
        }
    }
}

fn all(conn: &Connection) -> Result<Vec<OperationRecord>, StoreError> {
    store::operations::list(conn, &OperationFilter::default(), 1000)
}

async fn judge_operations(
    operations: &[OperationRecord],
    daemon: &Daemon,
    world: &World,
    clients: &mut Clients,
    found: &mut Vec<String>,
) {
    for sent in &clients.sent {
        if !operations.iter().any(|op| op.id == sent.operation) {
            found.push(format!(
                "operation {} was acknowledged and is lost",
                sent.operation
            ));
        }
    }
    for op in operations {
        if op
            .failure
            .as_ref()
            .is_some_and(|failure| failure.code == ErrorCode::Internal && !failure.cancelled)
        {
            found.push(format!("{op:?} failed by a defect of ours"));
        }
        if op.status.is_final() {
            ended(op, operations, daemon, world, clients, found).await;
        } else if op.waiting_for.is_none()
            && daemon.store.now().duration_since(op.updated_at).as_secs() > TELLS_WITHIN
        {
            let id = op.id;
            let journal = daemon
                .store
                .read(move |conn| store::journal::read(conn, id))
                .await
                .unwrap();
            if journal.is_empty() {
                found.push(format!("{op:?} neither has a step nor says what it waits for"));
            }
        }
    }
}

/// An answer stays what it is, and the volume is as the kind of operation leaves it.
async fn ended(
    op: &OperationRecord,
    all: &[OperationRecord],
    daemon: &Daemon,
    world: &World,
    clients: &mut Clients,
    found: &mut Vec<String>,
) {
    let answer = (op.status, op.response.clone());
    match clients.ended.get(&op.id) {
        Some(before) if *before == answer => return,
        Some(before) => return found.push(format!("the answer {before:?} of {} became {answer:?}", op.id)),
        None => {}
    }
    let (id, kind) = (op.volume_id, op.request.kind());
    let shown = format!(
        "{kind} {id} ended {}: {:?}",
        op.status,
        op.failure.as_ref().map(|f| &f.message)
    );
    world.now().tell(format!("daemon: {shown}"));
    clients.ended.insert(op.id, answer);
    if kind == OperationKind::Create && op.failure.is_none() {
        let mut world = world.now();
        let name = world.name_of_ours(id);
        world.cloud.born.extend(name);
    }
    let is_latest = !all.iter().any(|other| other.volume_id == id && other.id > op.id);
    let volume = daemon
        .store
        .read(move |conn| store::volumes::get(conn, id))
        .await
        .unwrap();
    let state = volume.map_or("no record", |volume| volume.state.as_str());
    if is_latest && !leaves(kind, op.status).contains(state) && !is_rebooted(daemon, id).await {
        found.push(format!("{shown}, and left the volume {state}"));
    }
}

/// Whether the volume's latest mapping was of another boot: recovery ends its attachment without an operation.
async fn is_rebooted(daemon: &Daemon, id: VolumeId) -> bool {
    let boot = daemon.operations.boot_id().to_owned();
    let sql = "SELECT coalesce((SELECT boot_id <> ?2 FROM mappings WHERE volume_id = ?1 ORDER BY id DESC LIMIT 1), 0)";
    let asked = daemon
        .store
        .read(move |conn| Ok(conn.query_row(sql, [id.to_string(), boot], |row| row.get(0))?));
    asked.await.unwrap()
}

/// A lease that was renewed in time ends only with what it was taken on.
async fn leases(daemon: &Daemon, clients: &mut Clients, found: &mut Vec<String>) {
    let now = daemon.store.now();
    let mut kept = Vec::new();
    for held in std::mem::take(&mut clients.leases) {
        let id = held.id.to_string();
        let sql = "SELECT released_why FROM leases WHERE id = ?1 AND released_at IS NOT NULL";
        let asked = daemon.store.read(move |conn| {
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query([id])?;
            Ok(match rows.next()? {
                Some(row) => Some(row.get::<_, String>(0)?),
                None => None,
            })
        });
        let Some(why) = asked.await.unwrap() else {
            kept.push(held);
            continue;
        };
        let is_excused = why == "the machine was rebooted"
            || why == "the cloud and the kernel say that it is detached"
            || (why.starts_with("not renewed in time") && held.expires < now);
        if !is_excused {
            found.push(format!("{held:?} was ended: {why}"));
        }
    }
    clients.leases = kept;
}

/// A live mapping of this boot is of a disk with the volume's bytes.
async fn bound_right(daemon: &Daemon, world: &World, found: &mut Vec<String>) {
    let mappings = daemon.store.read(store::mappings::all_live).await.unwrap();
    let world = world.now();
    for mapping in mappings {
        if mapping.observed.boot_id != world.kernel.boot {
            continue;
        }
        let disk = mapping.observed.diskseq.and_then(|seq| world.kernel.disk(seq));
        if let Some(disk) = disk.filter(|disk| !is_of(&disk.content, mapping.volume_id)) {
            found.push(format!("volume {} is bound to {disk:?}", mapping.volume_id));
        }
    }
}

pub(crate) fn shown(op: &OperationRecord) -> (OperationId, OperationKind, Option<&str>) {
    (op.id, op.request.kind(), op.waiting_for.as_deref())
}
