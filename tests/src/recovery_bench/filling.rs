//! Volumes in the cloud and in the records, as if the daemon had made them one after another.

use anyhow::{Context as _, Result};
use volumed::model::{Bytes, Identity, VolumeId, VolumeState};
use volumed::store::volumes::{NewRow, Provided};
use volumed::store::{self, Store, StoreError};

use crate::CloudSite;

const GIB: u64 = 1 << 30;

/// Makes so many volumes. The daemon must have run once, and must not run now.
pub(crate) async fn fill(site: &CloudSite, volumes: u32) -> Result<()> {
    let store = Store::open(&site.daemon.setup.database)?;
    let install = store.read(|conn| store::meta::get(conn, "install_id")).await?;
    let install = install.context("the database has no installation's id")?;
    let ids: Vec<VolumeId> = (0..volumes).map(|_| VolumeId::new()).collect();
    let names = ids.iter().map(|id| format!("vd-{install}-{id}"));
    let made = site.cloud.stranger().create_many(names, GIB);
    store
        .write(move |tx| {
            for (n, (id, cloud_id)) in ids.into_iter().zip(made).enumerate() {
                let row = NewRow {
                    name: &format!("volume-{n}"),
                    size: Bytes(GIB),
                    source: None,
                };
                store::volumes::insert(tx, id, "cloudstack", &row)?;
                let serial: String = cloud_id.simple().to_string().chars().take(20).collect();
                let provided = Provided {
                    provider_ref: &cloud_id.to_string(),
                    identity: Some(&Identity::Serial(serial)),
                    size: Bytes(GIB),
                    fresh_zero: false,
                };
                store::volumes::set_provided(tx, id, &provided)?;
                store::volumes::set_state(tx, id, VolumeState::Available)?;
            }
            Ok::<_, StoreError>(())
        })
        .await?;
    store.close().await;
    Ok(())
}
