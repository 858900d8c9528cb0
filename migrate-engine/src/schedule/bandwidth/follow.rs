//! Keeps a cap on the bandwidth's table while time goes by.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::Clock;
use super::super::clock::nap;
use super::Bandwidth;
use crate::transfer::RateLimit;

/// Sets `limit` to what the table says, now and at each change of the rate, until it is stopped. A new table takes effect
/// at once. Where nobody can send one any more, the last stays.
///
/// Between two changes the cap is left alone, so that what a person set by hand holds until the next. When it ends, the
/// cap stays as it is.
pub async fn follow(
    mut bandwidth: watch::Receiver<Bandwidth>,
    limit: RateLimit,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
) {
    let (mut set, mut sender_lives) = (None, true);
    loop {
        let now = bandwidth.borrow_and_update().at(clock.now());
        if set != Some(now.rate) {
            limit.set(now.rate.bytes_per_second());
            tracing::info!(rate = %now.rate, until = ?now.changes.map(|at| at.to_string()), "bandwidth");
            set = Some(now.rate);
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = bandwidth.changed(), if sender_lives => sender_lives = changed.is_ok(),
            () = nap(&*clock, now.changes) => {}
        }
    }
}
