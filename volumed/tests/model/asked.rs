//! What a client's wish comes to: the volume that it means, and the request.

use volumed::model::{Request, SnapshotId, VolumeId};
use volumed::store;

use crate::client::volumes;
use crate::cloud_state::OWN_VM;
use crate::daemon::Daemon;
use crate::event::{Asked, Which};

const MIB: u64 = 1 << 20;

/// `None` where there is nothing to ask it of.
pub(crate) async fn request(daemon: &Daemon, asked: &Asked) -> Option<(Option<VolumeId>, Request)> {
    let all = volumes(daemon).await;
    let volume = |which: Which| all.get(which % all.len().max(1));
    if let Asked::Create { mib } = asked {
        let request = Request::Create {
            name: format!("volume-{mib}"),
            size_bytes: mib * MIB,
            source: None,
        };
        return (all.len() < 3).then_some((None, request));
    }
    let of = match *asked {
        Asked::Create { .. } => 0,
        Asked::Attach(which) | Asked::Detach(which) | Asked::Correlate(which) => which,
        Asked::Delete { volume, .. }
        | Asked::Resize { volume, .. }
        | Asked::TakeSnapshot { volume, .. }
        | Asked::Revert { volume, .. }
        | Asked::DropSnapshot { volume, .. } => volume,
    };
    let found = volume(of)?;
    let id = found.id;
    let snapshots: Vec<SnapshotId> = daemon
        .store
        .read(move |conn| {
            Ok(store::snapshots::of_volume(conn, id)?
                .into_iter()
                .map(|s| s.id)
                .collect())
        })
        .await
        .unwrap();
    // Where there is none, one that never was.
    let snapshot = |which: Which| {
        let known = snapshots.get(which % snapshots.len().max(1)).copied();
        known.unwrap_or_else(SnapshotId::new)
    };
    let request = match *asked {
        Asked::Create { .. } => return None,
        Asked::Attach(_) => Request::Attach { vm_id: OWN_VM.into() },
        Asked::Detach(_) => Request::Detach {},
        Asked::Correlate(_) => Request::Correlate {},
        Asked::Delete { confirm, .. } => Request::Delete {
            confirm_name: confirm.then(|| found.name.clone()),
        },
        Asked::Resize { mib, .. } => Request::Resize {
            size_bytes: mib * MIB,
        },
        Asked::TakeSnapshot { name, .. } => Request::SnapshotCreate {
            snapshot_id: SnapshotId::new(),
            name: format!("snapshot-{name}"),
        },
        Asked::Revert { snapshot: which, .. } => Request::SnapshotRevert {
            snapshot_id: snapshot(which),
        },
        Asked::DropSnapshot { snapshot: which, .. } => Request::SnapshotDelete {
            snapshot_id: snapshot(which),
        },
    };
    Some((Some(id), request))
}
