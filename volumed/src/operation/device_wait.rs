//! Waiting for a device: until exactly one is proven to be the expected one, in slices, so that the cloud can be asked between.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use volume_client::types::ConditionKind;

use super::device_failure::{mismatch, missing, refusal};
use super::kernel::SETTLE;
use super::step::{Context, StepError};
use crate::device::{Correlation, HeldDisk, Inventory};
use crate::model::{DeviceExpectation, Failure, Identity};
use crate::store;

/// A disk that has not come by then may have been overlooked by the bus.
const RESCAN_AFTER: Duration = Duration::from_secs(30);

/// A disk that has not come by then is worth a person's attention.
const MISSING_AFTER: Duration = Duration::from_secs(60);

/// How long is waited before the cloud is asked again whether it still has the volume attached.
const SLICE: Duration = Duration::from_secs(5);

/// How soon is looked again at what no change of the inventory announces.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A wait for a device, from its begin to its end or time-out.
pub(super) struct DeviceWait<'a> {
    cx: &'a Context,
    expected: &'a DeviceExpectation,
    timeout: Duration,
    began: Instant,
    rescanned: bool,
    /// Since when some disk has been in transition: what it carries is not known yet.
    in_transition: Option<Instant>,
}

impl<'a> DeviceWait<'a> {
    pub(super) fn new(cx: &'a Context, expected: &'a DeviceExpectation) -> Self {
        Self {
            cx,
            expected,
            timeout: cx.world.settings.attach_timeout,
            began: Instant::now(),
            rescanned: false,
            in_transition: None,
        }
    }

    /// Waits until the device is proven, and holds it open. `None` after a while without one: ask the cloud, then go on.
    ///
    /// # Errors
    /// Where a device was refused, and where none came within the time that an attach has.
    pub(super) async fn slice(&mut self) -> Result<Option<Arc<dyn HeldDisk>>, StepError> {
        let kernel = &self.cx.world.kernel;
        let over = Instant::now() + SLICE;
        let _watched = kernel.expect_change();
        let mut inventory = kernel.look().await?;
        let mut refused: Option<Instant> = None;
        loop {
            let failure = match self.judge(&inventory).await? {
                Ok(Some(pin)) => return Ok(Some(pin)),
                Ok(None) => None,
                Err(failure) => Some(failure),
            };
            let pause = match failure {
                // Links settle, scanners close what they opened: nothing but "missing" decides at once.
                Some(failure) => {
                    let stood = refused.get_or_insert_with(Instant::now).elapsed();
                    if stood >= SETTLE {
                        return Err(failure.into());
                    }
                    // Who uses a disk is no part of the inventory: it is asked again before long.
                    (SETTLE - stood).min(LOOK_AGAIN)
                }
                None => {
                    refused = None;
                    let left = self.timeout.saturating_sub(self.began.elapsed());
                    if left.is_zero() {
                        return Err(missing(&inventory, self.expected, self.timeout).into());
                    }
                    let now = Instant::now();
                    if now >= over {
                        self.note_overdue().await?;
                        return Ok(None);
                    }
                    let soon = self.in_transition.map_or(SLICE, |_| LOOK_AGAIN);
                    left.min(over - now).min(soon)
                }
            };
            tokio::select! {
                () = self.cx.interrupted.cancelled() => return Err(StepError::Interrupted),
                () = tokio::time::sleep(pause) => inventory = kernel.look().await?,
                changed = kernel.changed_since(&inventory) => inventory = changed,
            }
        }
    }

    /// The device, held open; `None` while there is none, or another one may be about to be; why one is not taken.
    async fn judge(
        &mut self,
        inventory: &Arc<Inventory>,
    ) -> Result<Result<Option<Arc<dyn HeldDisk>>, Failure>, StepError> {
        let world = &self.cx.world;
        if inventory.unsettled.is_empty() {
            self.in_transition = None;
        } else if self.in_transition.get_or_insert_with(Instant::now).elapsed() < SETTLE {
            return Ok(Ok(None));
        }
        Ok(match world.kernel.correlate(inventory, self.expected).await? {
            Correlation::Matched(disk) => match world.kernel.open(disk, self.expected).await? {
                Ok(pin) => {
                    world.observer.correlated(self.began.elapsed());
                    Ok(Some(pin))
                }
                Err(error) => Err(refusal(&error)),
            },
            Correlation::Missing => Ok(None),
            other => Err(mismatch(&other, self.expected)),
        })
    }

    /// What is done about a disk that is long in coming: it is said what is waited for, the bus is asked once to look for it,
    /// then people are told.
    async fn note_overdue(&mut self) -> Result<(), StepError> {
        let (waited, world) = (self.began.elapsed(), &self.cx.world);
        let (id, text) = (
            self.cx.op.id,
            format!(
                "a device with {} to appear, which the cloud says is attached",
                self.expected.identity
            ),
        );
        world
            .store
            .write(move |tx| store::operations::set_waiting(tx, id, Some(&text)))
            .await?;
        let has_bus = matches!(self.expected.identity, Identity::Serial(_));
        if waited >= RESCAN_AFTER && has_bus && !self.rescanned {
            self.rescanned = true;
            let asked = world.kernel.rescan_bus().await;
            tracing::info!(volume = %self.cx.volume.id, ?asked, "the disk is long in coming: asked the PCI bus to look for it");
        }
        if waited >= MISSING_AFTER {
            let text = format!(
                "the cloud has attached the volume, but no device with {} has appeared yet",
                self.expected.identity
            );
            let hint = "it is waited for; see `volumectl devices` and the VM's log on the hypervisor's host";
            let kind = ConditionKind::DeviceMissing;
            world.conditions.raise(self.cx.volume.id, kind, text, hint);
        }
        Ok(())
    }
}
