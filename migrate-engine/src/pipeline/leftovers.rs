//! Cleans up after runs of the engine that were killed: their exports are withdrawn, their folders removed.

use volume_client::types::VolumeId;

use crate::config::{self, ExportBackend, ExportSettings};
use crate::store::{DeadRun, ExportRow, Store};
use crate::target::Exports;

/// Cleans up after `dead`. What cannot be withdrawn now is left, with its record, for the next run.
pub async fn clean_up_after(dead: Vec<DeadRun>, store: &Store, settings: &ExportSettings) {
    for run in dead {
        match withdraw_all(&run, store, settings).await {
            Ok(()) => run.forget(),
            Err(why) => tracing::warn!(run = run.id(), why, "cannot clean up after a run that was killed"),
        }
    }
}

async fn withdraw_all(run: &DeadRun, store: &Store, settings: &ExportSettings) -> Result<(), String> {
    let left = store.live_exports(&run.id()).map_err(|e| e.to_string())?;
    for export in left {
        tracing::info!(
            export = export.name,
            "withdrawing what a run that was killed had published"
        );
        withdraw(&export, settings).await?;
        store.withdrawn(&export.volume_id).map_err(|e| e.to_string())?;
    }
    Ok(())
}

async fn withdraw(export: &ExportRow, settings: &ExportSettings) -> Result<(), String> {
    let backends = [ExportBackend::QemuStorageDaemon, ExportBackend::NbdServer];
    let backend = backends
        .into_iter()
        .find(|backend| backend.name() == export.backend);
    let backend = backend.ok_or_else(|| format!("unknown server `{}`", export.backend))?;
    let listen = config::parse_listen(&export.listen)?;
    let volume: VolumeId = export
        .volume_id
        .parse()
        .map_err(|_| "a volume's id is none".to_owned())?;
    let name = Exports::name(volume);
    let withdrawn = async {
        let exports = Exports::left(&settings.at(backend, listen)).await?;
        exports.withdraw(&name).await?;
        exports.stop_if_idle().await
    };
    withdrawn.await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    })
}
