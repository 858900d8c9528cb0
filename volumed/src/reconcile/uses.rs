//! Who uses the devices of attached volumes, beside the leases on them: pure.

use jiff::Timestamp;
use volume_client::types::{FindingKind, FindingRepair, Severity};

use super::finding::{Disagreement, Subject};
use super::plan::{VolumeViews, cloud_text, record_text};
use crate::model::VolumeState;

/// What users and leases say together:
///
/// | a lease lives | the device is used | a lease has expired | together |
/// |---|---|---|---|
/// | yes | – | – | nothing: its holder answers for the device |
/// | no | no | yes | its holder died: the lease is ended |
/// | no | yes | – | used without a lease: nothing keeps a second writer away, and a detach waits for it |
/// | no | no | no | nothing |
///
/// Where it is not known who uses the device, nothing is said.
pub(super) fn of_uses(of: &VolumeViews, now: Timestamp) -> Option<Disagreement> {
    let users = of
        .users
        .as_ref()
        .filter(|_| of.record.state == VolumeState::InUse)?;
    if of.leases.iter().any(|lease| !lease.expired(now)) {
        return None;
    }
    let (kind, severity, advice, repair) = match (users.is_empty(), of.leases.is_empty()) {
        (true, true) => return None,
        (true, false) => (
            FindingKind::LeaseAbandoned,
            Severity::Info,
            "its holder died: the lease is ended once the kernel shows again that nobody uses the device",
            Some(FindingRepair::EndLeases),
        ),
        (false, _) => (
            FindingKind::UsedWithoutLease,
            Severity::Warning,
            "find out whose process that is and end it, or have it take a lease; nothing else keeps a second writer away. An \
             export that outlived its engine is withdrawn by the engine's next run",
            None,
        ),
    };
    let leases: Vec<_> = of
        .leases
        .iter()
        .map(|lease| format!("lease of {} expired at {}", lease.holder, lease.expires_at))
        .collect();
    Some(Disagreement {
        kind,
        severity,
        subject: Subject::Volume {
            id: of.record.id,
            generation: of.record.generation,
        },
        record: match leases.is_empty() {
            true => format!("{}, no lease", record_text(of)),
            false => format!("{}, {}", record_text(of), leases.join(", ")),
        },
        cloud: cloud_text(&of.cloud),
        kernel: match users.is_empty() {
            true => "nobody uses the device".into(),
            false => users.join(", "),
        },
        advice: advice.into(),
        repair,
    })
}
