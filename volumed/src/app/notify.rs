//! What the service manager is told (sd_notify(3)); where there is none, nothing happens.

use std::convert::Infallible;

use sd_notify::NotifyState;

/// The daemon takes work.
pub(super) fn ready() {
    tracing::info!("ready");
    tell(&[NotifyState::Ready, NotifyState::Status("ready")]);
}

/// The daemon is coming to rest.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Shows that the daemon lives, twice as often as asked for, for as long as it is awaited.
pub(super) async fn watchdog() -> Infallible {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(limit / 2);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}
