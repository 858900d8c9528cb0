//! The end of a soak: nothing goes wrong any more, everything is detached, and then the world must be what the records say.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use uuid::Uuid;
use volume_client::client::{ClientError, VolumeFilter};
use volume_client::types::{Finding, FindingKind, Status, Volume, VolumeState};

use super::content::{BLOCK, Judgement, Model};
use super::process::Footprint;
use super::seen_within;
use super::tally::Tally;
use crate::{CloudSite, loops_within};

/// How long findings may take to go once their cause is gone.
const SETTLING: Duration = Duration::from_secs(30);

/// Everything that must hold when all is over, before and after one more restart of the daemon.
pub(super) async fn check(site: &mut CloudSite, tally: &Tally, before: &Footprint, models: Vec<Model>) {
    check_world(site, tally, &models).await;
    if let Err(more) = before.is_kept(site).await {
        tally.leaked(more);
    }
    site.daemon.kill().await;
    site.daemon.start().await;
    check_world(site, tally, &models).await;
    let images: Vec<_> = models
        .into_iter()
        .filter_map(|model| Some((site.cloud.disk(model.volume)?.image, model)))
        .collect();
    for (image, model) in images {
        match File::open(&image) {
            Ok(file) => check_blocks(&file, &model, tally),
            // It was never attached, so never written.
            Err(_) if model.written().next().is_none() => {}
            Err(error) => tally.violated(format!("volume {} has no file: {error}", model.volume)),
        }
    }
    for violation in site.cloud.violations() {
        tally.violated(format!(
            "a rule of dealing with the cloud was broken: {violation:?}"
        ));
    }
}

/// Every block that was ever written is in the volume's file as it must be, seen from outside.
fn check_blocks(file: &File, model: &Model, tally: &Tally) {
    let mut found = vec![0; BLOCK];
    for block in model.written() {
        let read = file.read_exact_at(&mut found, block * BLOCK as u64);
        let judgement = match read {
            Ok(()) => model.judge(block, &found),
            Err(error) => Judgement::Wrong(format!("block {block} of volume {}: {error}", model.volume)),
        };
        tally.count(|figures| figures.blocks += 1);
        if let Judgement::Wrong(what) = judgement {
            tally.count(|figures| figures.wrong += 1);
            tally.violated(format!("wrong bytes in the volume's file: {what}"));
        }
    }
}

async fn check_world(site: &CloudSite, tally: &Tally, models: &[Model]) {
    let client = site.daemon.client();
    let settled = seen_within(SETTLING, async || {
        let status = client.status().await.ok()?;
        is_settled(&status).then_some(())
    });
    if settled.await.is_none() {
        match client.status().await {
            Ok(status) => tally.leaked(format!(
                "not settled: {:?}, operations {:?}, findings {:?}",
                status.counts, status.operations, status.findings
            )),
            Err(error) => tally.violated(format!("the daemon does not answer: {error}")),
        }
    }
    check_volumes(site, tally, models).await;
    for disk in site.cloud.stranger().plugged(site.cloud.vm_id()).await {
        let volumes = site.cloud.snapshot().volumes;
        let whose = volumes.iter().find(|volume| volume.serial() == disk.serial);
        tally.leaked(format!("still plugged in: {disk:?}, in the cloud {whose:?}"));
    }
    for node in loops_within(site.daemon.dir()) {
        tally.leaked(format!("still a loop device: {node}"));
    }
}

fn is_settled(status: &Status) -> bool {
    let counts = &status.counts;
    let busy = counts.mapped + counts.pinned + counts.leases + counts.open_operations;
    // Disks of other tests on this machine are strangers here; ours are looked for at the hypervisor.
    let is_ours = |finding: &Finding| finding.kind != FindingKind::ForeignDevice;
    busy == 0 && !status.findings.iter().any(is_ours)
}

/// The records, the cloud and the lanes have the same volumes, all of them at rest.
async fn check_volumes(site: &CloudSite, tally: &Tally, models: &[Model]) {
    let records = match volumes(site).await {
        Ok(records) => records,
        Err(error) => return tally.violated(format!("the volumes cannot be listed: {error}")),
    };
    let world = site.cloud.snapshot();
    let in_cloud: BTreeSet<Uuid> = world
        .volumes
        .iter()
        .filter(|volume| !volume.removed && !volume.is_root)
        .map(|volume| volume.id)
        .collect();
    let recorded: BTreeSet<Uuid> = records.iter().filter_map(cloud_id).collect();
    for id in in_cloud.symmetric_difference(&recorded) {
        let volume = world.volumes.iter().find(|volume| volume.id == *id);
        tally.leaked(format!(
            "volume {id} is in the cloud or in the records, not in both: {volume:?}"
        ));
    }
    for model in models.iter().filter(|model| !recorded.contains(&model.volume)) {
        tally.violated(format!("volume {} is lost", model.volume));
    }
    for record in &records {
        if record.state != VolumeState::Available || cloud_id(record).is_none() {
            tally.leaked(format!("not at rest: {record:?}"));
        }
    }
}

async fn volumes(site: &CloudSite) -> Result<Vec<Volume>, ClientError> {
    let all = site.daemon.client().list_all_volumes(VolumeFilter::default());
    all.try_collect().await
}

fn cloud_id(volume: &Volume) -> Option<Uuid> {
    volume.provider_volume_id.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_block_that_landed_in_another_volumes_file_is_found() {
        let (mut ours, mut theirs) = (Model::of(Uuid::from_u128(1)), Model::of(Uuid::from_u128(2)));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&ours.intend(0)).unwrap();
        file.write_all(&theirs.intend(1)).unwrap();
        ours.intend(1);
        ours.settle(0);
        ours.settle(1);
        let tally = Tally::default();
        check_blocks(&file, &ours, &tally);
        let mut seen = (0, 0);
        tally.count(|figures| seen = (figures.blocks, figures.wrong));
        assert_eq!(seen, (2, 1));
    }
}
