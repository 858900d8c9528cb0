//! The cloud behind one trait: what a provider must do, and the errors a caller decides by.
//!
//! # Rules that hold for every provider and every wrapper of one
//!
//! *Sizes* are bytes, whole multiples of [`Capabilities::size_unit`], at most [`Capabilities::max_size`]; anything else
//! is [`CloudError::Refused`]. The provider never rounds.
//!
//! *Repetition.* A mutation whose effect is already there succeeds and changes nothing, whoever brought it about. The same
//! [`Call`] may be given again after a crash or a lost answer: a provider that keeps jobs looks the id up first and waits
//! for that job, it starts no second one.
//!
//! *Crash.* A mutation happens wholly or leaves something that the same mutation, asked again, completes or replaces;
//! nothing half-made is ever listed as a usable volume or snapshot.
//!
//! *Dropping the future* of a mutation neither stops nor undoes it: its outcome is then as unknown as after
//! [`CloudError::Unknown`]. A call that has not landed [`Capabilities::call_expiry`] after it was made never will.
//!
//! *Reads* change nothing and answer wholly or not at all: a listing that is cut short is an error, not a short listing.

mod cloudstack;
#[doc(hidden)]
pub mod conformance;
mod error;
mod faulty;
mod layer;
mod local;
mod metered;
mod retry;

use std::time::Duration;

use async_trait::async_trait;

#[cfg(feature = "fuzzing")]
pub(crate) use cloudstack::fuzz;
pub use cloudstack::{CloudStack, CloudStackOpenError, CredentialsError};
pub use error::{Cause, CloudError};
pub use faulty::{Fault, FaultScript, Faulty, Gate};
pub use layer::{Attempt, Layer, Layered, Method};
pub use local::{LocalCloud, LocalConfig, LocalOpenError};
pub use metered::{CallObserver, Metered};
pub use retry::{Retry, RetryPolicy};

use crate::model::{Bytes, Check, Identity};

/// Everything the daemon asks of a cloud. The rules in the module documentation hold for every method.
#[async_trait]
pub trait Cloud: Send + Sync + 'static {
    /// The provider's name in configuration, logs and metrics: `local`, `cloudstack`.
    fn provider(&self) -> &'static str;

    /// What this provider can do; constant while the process lives.
    fn capabilities(&self) -> Capabilities;

    /// The VM that this daemon runs in, as the provider names it.
    async fn own_vm(&self) -> Result<String, CloudError>;

    /// The volume `provider_ref` as it is now, in whatever state; `None` where the provider surely has none of that name.
    ///
    /// A reference that could not have come from this provider is `None` as well.
    async fn volume(&self, provider_ref: &str) -> Result<Option<ProviderVolume>, CloudError>;

    /// The volumes named exactly `name`, in whatever state: finds what a create with a lost answer made. Finding none does
    /// not prove that none is coming before [`Capabilities::call_expiry`] has passed.
    async fn volumes_named(&self, name: &str) -> Result<Vec<ProviderVolume>, CloudError>;

    /// Every volume of our account, ours or not, in whatever state, in no order.
    async fn volumes(&self) -> Result<Vec<ProviderVolume>, CloudError>;

    /// Makes an empty, detached volume of exactly `spec.size`.
    ///
    /// Where a volume of that name exists, it is returned if it was made with the same size, else
    /// [`CloudError::Conflict`]: names are unique, and a second volume of one name is never made.
    /// After a crash the same call with the same name finishes what it began.
    async fn create_volume(&self, call: &Call, spec: &NewVolume) -> Result<ProviderVolume, CloudError>;

    /// Plugs the volume into `vm`; returns when the provider says that it is plugged in. Where the guest sees it is for
    /// the guest's kernel to say.
    ///
    /// Attached to `vm` already: success. Attached to another VM: [`CloudError::AttachedElsewhere`], nothing is stolen.
    /// Still going away from an earlier attachment, busy or unusable: [`CloudError::Conflict`]. A VM that cannot have it:
    /// [`CloudError::Refused`] or [`CloudError::NotFound`]. No such volume: [`CloudError::NotFound`].
    async fn attach(&self, call: &Call, provider_ref: &str, vm: &str) -> Result<(), CloudError>;

    /// Unplugs the volume from `vm`. The kernel may still show the device while somebody holds it open.
    ///
    /// Not attached to anything: success. Attached to another VM: [`CloudError::AttachedElsewhere`], and it stays there.
    /// No such volume: [`CloudError::NotFound`].
    async fn detach(&self, call: &Call, provider_ref: &str, vm: &str) -> Result<(), CloudError>;

    /// Grows the volume to `size` (the new total, never an increment), attached or not.
    ///
    /// Of that size already: success, and an attached device that lags behind is told again. Smaller than now:
    /// [`CloudError::Refused`], volumes never shrink. No such volume: [`CloudError::NotFound`].
    async fn resize(&self, call: &Call, provider_ref: &str, size: Bytes) -> Result<(), CloudError>;

    /// Deletes the volume and its content for good.
    ///
    /// Absent: success. Attached, still going away, or with snapshots: [`CloudError::Conflict`]. After a crash it is
    /// either wholly there or not listed any more.
    async fn delete_volume(&self, call: &Call, provider_ref: &str) -> Result<(), CloudError>;

    /// The snapshots of the volume, in no order. No such volume: [`CloudError::NotFound`].
    async fn snapshots(&self, provider_ref: &str) -> Result<Vec<ProviderSnapshot>, CloudError>;

    /// Keeps the volume's content of one point in time, crash-consistent: what the guest had flushed is in it.
    ///
    /// A snapshot of that name of this volume exists: it is returned, untouched. The provider cannot take one point in
    /// time of an attached volume: [`CloudError::Conflict`]. No such volume: [`CloudError::NotFound`].
    async fn create_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        name: &str,
    ) -> Result<ProviderSnapshot, CloudError>;

    /// Gives the detached volume the content and the size of the snapshot; the snapshot stays. The volume's identity may
    /// change: read it anew before the next attach.
    ///
    /// Repetition brings the same content again. Attached or still going away: [`CloudError::Conflict`]. No such volume or
    /// snapshot: [`CloudError::NotFound`]. After a crash the content is the old or the new one, never a mixture.
    async fn revert_to_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        snapshot_ref: &str,
    ) -> Result<(), CloudError>;

    /// Deletes the snapshot; the volume is untouched. Absent (or its volume is): success.
    async fn delete_snapshot(
        &self,
        call: &Call,
        provider_ref: &str,
        snapshot_ref: &str,
    ) -> Result<(), CloudError>;

    /// What became of a mutation of the volume `provider_ref` that was sent as `call` and whose answer was lost. Where the
    /// volume's own reference is not known yet (a create), it is `None`.
    ///
    /// A provider that keeps no jobs can tell nothing: [`Fate::Unseen`].
    async fn fate(&self, call: &Call, provider_ref: Option<&str>) -> Result<Fate, CloudError> {
        let _ = (call, provider_ref);
        Ok(Fate::Unseen)
    }

    /// Something has happened here that a job under way may have brought about, as a disk that came: a provider that asks for
    /// its jobs from time to time had better ask now. Costs nothing, and promises nothing.
    fn nudge(&self) {}

    /// Looks at everything that this provider needs to work (credentials, permissions, clock, offering, free slots, …)
    /// and says of each how it is and what to do. Changes nothing at the provider.
    async fn diagnose(&self) -> Vec<Check> {
        Vec::new()
    }
}

/// What became of a mutation whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The provider knows nothing of it. Until [`Capabilities::call_expiry`] has passed it may still arrive, thereafter it
    /// never did, or its traces are gone; nothing of it is under way either way.
    Unseen,
    /// The provider has taken it and has not come to its end; says at what it is. Nothing opposite may be sent.
    Pending(String),
    /// It has come to its end, well or badly: the state of the volume tells which. It changes nothing any more.
    Ended,
}

/// What a provider can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Sizes are whole multiples of this.
    pub size_unit: Bytes,
    /// No volume may be larger.
    pub max_size: Bytes,
    /// Whether the provider promises that a fresh volume, and what a resize adds, reads as zeros.
    pub fresh_volumes_read_zero: bool,
    /// After this long a call that was sent and never answered can no longer begin to land.
    pub call_expiry: Duration,
}

/// The identity of one mutating call: journaled before it is made, the same again when the call is repeated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// The job id that we chose: a lower-case UUID, never used for another call.
    pub id: String,
}

/// What a new volume shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVolume {
    /// Unique among our volumes; carries ownership, and finds the volume when the answer is lost.
    pub name: String,
    /// Exact size.
    pub size: Bytes,
}

/// A volume as the provider describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderVolume {
    /// The provider's own id of it.
    pub provider_ref: String,
    /// The name it was given; empty where the provider cannot tell.
    pub name: String,
    /// Whether it is, or may be, the disk that a VM boots from.
    pub is_root: bool,
    /// Its size now.
    pub size: Bytes,
    /// What may be done with it.
    pub state: ProviderState,
    /// The VM that it is plugged into; `None` as soon as a detach has been accepted for good.
    pub attached_to: Option<String>,
    /// What tells this attachment from the one before and the next, where the provider has such a thing (when it was
    /// attached, say): it changes whenever the volume is attached anew, and only then. `None` where it is not attached.
    pub attachment_mark: Option<String>,
    /// How the kernel of that VM will name it; `None` where only an attach decides that.
    pub identity: Option<Identity>,
}

/// What a provider says of a volume's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderState {
    /// Exists in the books, storage comes with the first attach. As good as ready for every call.
    Allocated,
    /// Being made.
    Creating,
    /// Made, and nothing is going on.
    Ready,
    /// The provider is at work on it (a job in flight, a copy); says at what. Wait.
    Busy(String),
    /// There, but of no use until somebody repairs it; says why.
    Unusable(String),
    /// Deleted or on the way there; it will not come back.
    Destroyed,
}

impl ProviderState {
    /// Whether the provider would take a mutation now.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self, ProviderState::Allocated | ProviderState::Ready)
    }
}

/// A snapshot as the provider describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSnapshot {
    /// The provider's own id of it.
    pub snapshot_ref: String,
    /// The name it was given.
    pub name: String,
    /// The size of the volume when it was taken.
    pub size: Bytes,
    /// Whether a volume can be reverted to it already.
    pub ready: bool,
}
