//! What the service manager is told (sd_notify(3)); where there is none, nothing happens.

use std::convert::Infallible;

use sd_notify::NotifyState;

/// The service takes work; `status` is what `systemctl status` shows. Said again, only the text changes.
pub fn ready(status: &str) {
    tracing::info!("ready");
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What the service is doing, in a line for people.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// The service is coming to rest.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Shows that the service lives, twice as often as asked for, for as long as it is awaited.
pub async fn watchdog() -> Infallible {
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
