//! What a completed operation answers.

use serde_json::{Value, json};

use super::step::Context;
use crate::model::{OperationKind, Request, VolumeState};
use crate::store::StoreError;

/// The response of an operation whose steps are all done.
pub(super) async fn response(cx: &Context) -> Result<Value, StoreError> {
    let volume = cx.volume.id;
    Ok(match cx.op.request.kind() {
        OperationKind::Adopt if cx.volume.state != VolumeState::InUse => json!({
            "volume_id": volume,
            "size_bytes": cx.volume.size.0,
            "message": format!("volume {volume} is recorded and available"),
        }),
        OperationKind::Attach | OperationKind::Correlate | OperationKind::Adopt => {
            let mapping = cx.world.live_mapping(volume).await?;
            mapping.map_or(Value::Null, |mapping| {
                let seen = mapping.observed;
                json!({
                    "device_path": seen.device_path,
                    "message": format!("volume {volume} is attached as {} and verified", seen.device_path),
                    "size_bytes": seen.size.0,
                    "diskseq": seen.diskseq,
                })
            })
        }
        OperationKind::Create => json!({
            "volume_id": volume,
            "size_bytes": cx.volume.size.0,
            "message": format!("volume {volume} is available"),
        }),
        OperationKind::Detach => json!({ "message": format!("volume {volume} is detached") }),
        OperationKind::Delete => json!({ "message": format!("volume {volume} is deleted") }),
        OperationKind::Resize => json!({
            "size_bytes": cx.volume.size.0,
            "message": format!("volume {volume} has {}", cx.volume.size),
        }),
        OperationKind::SnapshotCreate | OperationKind::SnapshotRevert | OperationKind::SnapshotDelete => {
            let id = match &cx.op.request {
                Request::SnapshotCreate { snapshot_id, .. }
                | Request::SnapshotRevert { snapshot_id }
                | Request::SnapshotDelete { snapshot_id } => Some(*snapshot_id),
                _ => None,
            };
            json!({ "snapshot_id": id, "message": format!("{} done", cx.op.request.kind()) })
        }
    })
}
