//! What a strike may leave to a person: a volume that only the cloud knows. The daemon has to show it, and to leave it alone.

use std::time::Duration;

use uuid::Uuid;
use volume_client::types::{Finding, FindingKind, OperationKind};

use super::scenario::{Scenario, Way};
use super::strike::Arm;
use crate::CloudSite;

/// How long it may take until it is shown.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the one volume is found to be that the scenario, struck so, may leave without a record: the request to create it came
/// twice, or its adoption was undone and it is attached as before.
fn may_be_left(scenario: Scenario, arm: Option<&Arm>) -> Option<FindingKind> {
    let came_twice = matches!(arm, Some(Arm::Cloud("doubled") | Arm::CloudAndKill("doubled", _)));
    match (scenario.kind, scenario.way) {
        (OperationKind::Create, _) if came_twice => Some(FindingKind::Unrecorded),
        (OperationKind::Adopt, Way::Spoilt) => Some(FindingKind::AttachedUnknown),
        _ => None,
    }
}

/// Does what a person does about the volume that the strike left: reads the finding, detaches and deletes it in the cloud.
pub(super) async fn attend(site: &CloudSite, scenario: Scenario, arm: Option<&Arm>) -> Result<(), String> {
    let Some(kind) = may_be_left(scenario, arm) else {
        return Ok(());
    };
    let stranger = site.cloud.stranger();
    let strays = strays(site).await?;
    if strays.len() > 1 {
        return Err(format!(
            "more than one volume is left without a record: {strays:?}"
        ));
    }
    for (id, is_attached) in strays {
        shown(site, id, kind).await?;
        if is_attached {
            let detached = stranger.detach(id).await;
            detached.map_err(|error| format!("the stray cannot be detached: {error:?}"))?;
        }
        let deleted = stranger.delete(id).await;
        deleted.map_err(|error| format!("the stray cannot be deleted: {error:?}"))?;
        stranger.purge();
    }
    Ok(())
}

/// The cloud's volumes without a record, and whether each is attached.
async fn strays(site: &CloudSite) -> Result<Vec<(Uuid, bool)>, String> {
    let page = site
        .daemon
        .client()
        .list_volumes(&Default::default(), &Default::default())
        .await;
    let records = page
        .map_err(|error| format!("the volumes cannot be listed: {error}"))?
        .items;
    let is_recorded = |id: Uuid| {
        let mut references = records
            .iter()
            .filter_map(|record| record.provider_volume_id.as_deref());
        references.any(|reference| reference == id.to_string())
    };
    let volumes = site.cloud.snapshot().volumes;
    let strays = volumes
        .iter()
        .filter(|volume| !volume.removed && !volume.is_root && !is_recorded(volume.id));
    Ok(strays
        .map(|volume| (volume.id, volume.attachment.is_some()))
        .collect())
}

async fn shown(site: &CloudSite, id: Uuid, kind: FindingKind) -> Result<(), String> {
    let (began, client) = (std::time::Instant::now(), site.daemon.client());
    loop {
        let findings = client.list_findings(&Default::default()).await;
        let findings = findings
            .map_err(|error| format!("the findings cannot be listed: {error}"))?
            .items;
        let is_it = |one: &Finding| one.kind == kind && one.provider_volume_id == Some(id.to_string());
        if findings.iter().any(is_it) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!(
                "volume {id} has no record and is not shown as {kind:?}: {findings:?}"
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
