//! Watches over exports that stand: their leases, and the server that serves them.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};
use volume_client::types::VolumeId;

use super::PipelineError;
use super::publisher::{Audience, Publisher, Standing};
use crate::config::Afterwards;
use crate::target::{Exports, stopped};

/// How often the server is asked whether it still serves: a server that dies tells nobody.
const LOOK: Duration = Duration::from_secs(2);

/// What happens to an export that nobody asked for.
enum News {
    LeaseLost(VolumeId),
    NotServed(VolumeId),
}

impl News {
    fn volume(&self) -> VolumeId {
        match self {
            Self::LeaseLost(volume) | Self::NotServed(volume) => *volume,
        }
    }
}

impl Publisher {
    /// Returns when the work is cancelled, or when no export stands any more.
    ///
    /// # Errors
    /// Why the first one ended that was not told to; it and those after it are given back already.
    pub(super) async fn watch_over(
        &self,
        standing: &mut Vec<Standing>,
        exports: &Exports,
        audience: &dyn Audience,
    ) -> Result<(), PipelineError> {
        let mut lost = JoinSet::new();
        for export in standing.iter() {
            let (id, waiting) = (export.volume, export.device.wait_lost());
            lost.spawn(async move {
                waiting.await;
                id
            });
        }
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut first: Option<PipelineError> = None;
        while !standing.is_empty() {
            let news = tokio::select! {
                () = stopped(&self.cancel) => break,
                Some(Ok(id)) = lost.join_next() => News::LeaseLost(id),
                id = not_served(standing, exports, &mut look) => News::NotServed(id),
            };
            let Some(at) = standing.iter().position(|export| export.volume == news.volume()) else {
                continue;
            };
            let Some(error) = judge(&news, &standing[at], exports, audience).await else {
                continue;
            };
            audience.say(&error.to_string());
            // Whoever has the volume next is not to be disturbed: it stays as it is.
            let export = standing.remove(at);
            let volume = export.volume;
            if let Err(left) = self.end(export, exports, Afterwards::StayAttached).await {
                audience.say(&format!("volume {volume}: {left}"));
            }
            first.get_or_insert(error);
        }
        first.map_or(Ok(()), Err)
    }
}

/// Why an export must end; `None` where it goes on.
async fn judge(
    news: &News,
    export: &Standing,
    exports: &Exports,
    audience: &dyn Audience,
) -> Option<PipelineError> {
    let volume = export.volume;
    if matches!(news, News::LeaseLost(_)) || export.device.lost() {
        return Some(PipelineError::LeaseOfExportLost { volume });
    }
    match exports.publish(&export.device).await {
        Ok(_) => {
            audience.say(&format!(
                "volume {volume}: its NBD server had died; published again"
            ));
            None
        }
        Err(source) => Some(PipelineError::ServerLost { volume, source }),
    }
}

/// Returns an export that its server surely does not serve any more, once there is one.
async fn not_served(standing: &[Standing], exports: &Exports, look: &mut Interval) -> VolumeId {
    loop {
        look.tick().await;
        for export in standing {
            match exports.serves(&export.publication.name).await {
                Ok(true) => {}
                Ok(false) => return export.volume,
                Err(error) => tracing::warn!(%error, "cannot tell whether an export is served"),
            }
        }
    }
}
