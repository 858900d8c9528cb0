//! The keeper of the daemon: kills it at random times and starts it again.

use std::time::Duration;

use super::scene::{Phase, Scene};
use super::{Plan, seen_within};
use crate::{Appliance, Chance};

/// How long the daemon may take to be ready again, with a cloud that misbehaves.
const COMING_UP: Duration = Duration::from_secs(60);

/// Kills and starts the daemon until the lanes are done, and leaves it running. The last fifth of the cycles is one life of
/// the daemon, in which it can show whether it grows.
pub(super) async fn keep(scene: &Scene<'_>, daemon: &mut Appliance, plan: &Plan, mut chance: Chance) {
    let last = plan.cycles - plan.cycles / 5;
    loop {
        let drawn = scene.tally.cycles() + 1 + chance.below(2 * plan.cycles_between_kills);
        let target = if drawn > last { u64::MAX } else { drawn };
        let pauses = [300, 400].map(|most| Duration::from_millis(chance.below(most)));
        while scene.tally.cycles() < target && !scene.has_come(Phase::Settling) {
            if daemon.has_ended() {
                let status = daemon.ended().await;
                scene
                    .tally
                    .violated(format!("the daemon ended by itself: {status}"));
                start(scene, daemon).await;
            }
            scene.idle_until(Phase::Settling, super::PAUSE).await;
        }
        if scene.has_come(Phase::Settling) {
            return;
        }
        tokio::time::sleep(pauses[0]).await;
        daemon.kill().await;
        scene.tally.count(|figures| figures.kills += 1);
        tokio::time::sleep(pauses[1]).await;
        start(scene, daemon).await;
    }
}

async fn start(scene: &Scene<'_>, daemon: &mut Appliance) {
    daemon.launch();
    let ready = seen_within(COMING_UP, async || {
        let readiness = scene.client.readiness().await.ok();
        readiness.filter(|readiness| readiness.ready)
    });
    if ready.await.is_none() {
        let status = scene.client.readiness().await;
        scene.tally.violated(format!(
            "the daemon was not ready within {COMING_UP:?}: {status:?}"
        ));
    }
}
