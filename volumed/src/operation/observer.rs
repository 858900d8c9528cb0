//! Who wants to know how operations go: metrics, in the running daemon.

use std::time::Duration;

use crate::model::{OperationKind, OperationStatus};

/// Told of what operations do. Calls are short and never fail.
pub trait Observer: Send + Sync + 'static {
    /// An operation ended.
    fn operation_finished(&self, kind: OperationKind, status: OperationStatus, took: Duration);

    /// A step ran to its end; `outcome` is `done`, `failed`, `waiting` or `undone`.
    fn step_finished(&self, kind: OperationKind, step: &'static str, outcome: &'static str, took: Duration);

    /// A device was found and proven this long after its wait began.
    fn correlated(&self, took: Duration);

    /// A mapping was committed this long after the kernel's uevent that announced the device.
    fn bound(&self, after_uevent: Duration);

    /// The three views were compared, which took this long.
    fn compared(&self, _took: Duration) {}
}

/// Nobody wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn operation_finished(&self, _: OperationKind, _: OperationStatus, _: Duration) {}
    fn step_finished(&self, _: OperationKind, _: &'static str, _: &'static str, _: Duration) {}
    fn correlated(&self, _: Duration) {}
    fn bound(&self, _: Duration) {}
}
