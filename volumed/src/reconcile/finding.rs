//! A place where the views do not agree: what it says, what it is about, how long it must stand, and what mends it.

use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use volume_client::types::{FindingKind, FindingRepair, Severity};

use crate::config;
use crate::model::{FindingId, VolumeId};

/// How long what the daemon may mend must stand before it does, and what is often over in a moment before it is shown: most
/// such disagreements are only one view being a moment late.
pub(super) const SETTLING: SignedDuration = SignedDuration::from_secs(3);

/// How long something must stand before it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// What the cloud has and no record is of.
    pub orphan: SignedDuration,
    /// What the cloud is at work on, or does not get rid of.
    pub stuck: SignedDuration,
    /// Who uses a device: longer than the time between two looks, so that it was seen twice.
    pub uses: SignedDuration,
    /// The time between two looks at who uses devices.
    pub uses_every: SignedDuration,
}

impl Bounds {
    /// The bounds that are configured.
    #[must_use]
    pub fn of(config: config::Reconcile) -> Self {
        let signed = |time| SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        let uses_every = signed(config.uses_every);
        Self {
            orphan: signed(config.orphan_grace),
            stuck: signed(config.stuck_after),
            uses: uses_every.saturating_add(uses_every / 2),
            uses_every,
        }
    }
}

/// What a disagreement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A volume of ours, in this attachment of it: what is passed over once is news the next time it is attached.
    Volume { id: VolumeId, generation: u64 },
    /// A volume that only the provider knows, by its id there.
    Provider(String),
    /// A disk that nobody knows, by its identity.
    Disk(String),
}

/// A place where the views do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disagreement {
    pub(super) kind: FindingKind,
    pub(super) severity: Severity,
    pub(super) subject: Subject,
    pub(super) record: String,
    pub(super) cloud: String,
    pub(super) kernel: String,
    /// For people: what is done, or what they can do.
    pub(super) advice: String,
    pub(super) repair: Option<FindingRepair>,
}

impl Disagreement {
    /// What makes it the same disagreement when it is seen again.
    pub(super) fn id(&self) -> FindingId {
        let about = match &self.subject {
            Subject::Volume { id, generation } => format!("volume {id} {generation}"),
            Subject::Provider(provider_ref) => format!("provider {provider_ref}"),
            Subject::Disk(identity) => format!("disk {identity}"),
        };
        FindingId::of_digest(&Sha256::digest(format!("{} {about}", name(self.kind))))
    }

    /// The volume, where it is about one of ours.
    pub(super) fn volume_id(&self) -> Option<VolumeId> {
        match self.subject {
            Subject::Volume { id, .. } => Some(id),
            Subject::Provider(_) | Subject::Disk(_) => None,
        }
    }

    /// The provider's id, where only the provider knows it.
    pub(super) fn provider_volume_id(&self) -> Option<&str> {
        match &self.subject {
            Subject::Provider(provider_ref) => Some(provider_ref),
            Subject::Volume { .. } | Subject::Disk(_) => None,
        }
    }

    /// What it is about, for people.
    pub(super) fn about(&self) -> String {
        match &self.subject {
            Subject::Volume { id, .. } => format!("volume {id}"),
            Subject::Provider(provider_ref) => format!("provider volume {provider_ref}"),
            Subject::Disk(identity) => format!("disk {identity}"),
        }
    }

    /// How long it must stand before it is shown: what is over before was only one view being late.
    pub(super) fn grace(&self, bounds: &Bounds) -> SignedDuration {
        let of_a_stray = matches!(self.subject, Subject::Provider(_));
        match self.kind {
            FindingKind::StuckInCloud => bounds.stuck,
            FindingKind::Unrecorded => bounds.orphan,
            FindingKind::AttachedUnknown if of_a_stray => bounds.orphan,
            FindingKind::LeaseAbandoned | FindingKind::UsedWithoutLease => bounds.uses,
            FindingKind::AttachedUnknown
            | FindingKind::MappingStale
            | FindingKind::SizeChanged
            | FindingKind::ForeignDevice => SETTLING,
            FindingKind::GoneInCloud
            | FindingKind::Phantom
            | FindingKind::AttachedElsewhere
            | FindingKind::DuplicateIdentity
            | FindingKind::DoubleAttached
            | FindingKind::LeakedDevice
            | FindingKind::Unproven => SignedDuration::ZERO,
        }
    }

    /// The repair that the daemon makes without being asked.
    pub(super) fn own_repair(&self) -> Option<FindingRepair> {
        self.repair.filter(|repair| match repair {
            FindingRepair::Correlate | FindingRepair::EndLeases => true,
            FindingRepair::Attach | FindingRepair::Adopt => false,
        })
    }
}

/// A kind in one word, as the API writes it.
pub fn name(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::AttachedUnknown => "attached_unknown",
        FindingKind::GoneInCloud => "gone_in_cloud",
        FindingKind::Phantom => "phantom",
        FindingKind::AttachedElsewhere => "attached_elsewhere",
        FindingKind::MappingStale => "mapping_stale",
        FindingKind::DuplicateIdentity => "duplicate_identity",
        FindingKind::SizeChanged => "size_changed",
        FindingKind::DoubleAttached => "double_attached",
        FindingKind::LeakedDevice => "leaked_device",
        FindingKind::ForeignDevice => "foreign_device",
        FindingKind::Unrecorded => "unrecorded",
        FindingKind::StuckInCloud => "stuck_in_cloud",
        FindingKind::LeaseAbandoned => "lease_abandoned",
        FindingKind::UsedWithoutLease => "used_without_lease",
        FindingKind::Unproven => "unproven",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(kind: FindingKind, subject: Subject) -> Disagreement {
        Disagreement {
            kind,
            severity: Severity::Warning,
            subject,
            record: String::new(),
            cloud: String::new(),
            kernel: String::new(),
            advice: String::new(),
            repair: None,
        }
    }

    #[test]
    fn an_id_follows_from_what_is_said_and_about_what_and_from_nothing_else() {
        let id: VolumeId = "01900000-0000-7000-8000-000000000001".parse().unwrap();
        let phantom = |generation| about(FindingKind::Phantom, Subject::Volume { id, generation });
        let mut later = phantom(1);
        later.kernel = "/dev/vdc now".into();
        assert_eq!(phantom(1).id(), later.id());
        assert_eq!(phantom(1).id().to_string(), "5544cc0eeef7");
        assert_ne!(phantom(1).id(), phantom(2).id());
        let gone = about(FindingKind::GoneInCloud, Subject::Volume { id, generation: 1 });
        assert_ne!(phantom(1).id(), gone.id());
        let text = id.to_string();
        let stray = about(FindingKind::Unrecorded, Subject::Provider(text.clone()));
        let disk = about(FindingKind::Unrecorded, Subject::Disk(text));
        assert_ne!(stray.id(), disk.id());
    }

    #[test]
    fn kinds_are_named_as_the_api_writes_them() {
        use FindingKind::{AttachedUnknown, LeaseAbandoned, StuckInCloud, Unrecorded, UsedWithoutLease};
        for kind in [
            AttachedUnknown,
            LeaseAbandoned,
            StuckInCloud,
            Unrecorded,
            UsedWithoutLease,
        ] {
            assert_eq!(serde_json::to_value(kind).unwrap(), name(kind));
        }
    }

    #[test]
    fn what_only_the_cloud_knows_is_given_time_and_what_endangers_data_is_shown_at_once() {
        let bounds = Bounds::of(config::Reconcile {
            orphan_grace: std::time::Duration::from_secs(300),
            stuck_after: std::time::Duration::from_secs(600),
            uses_every: std::time::Duration::from_secs(30),
        });
        let volume = || Subject::Volume {
            id: VolumeId::new(),
            generation: 1,
        };
        let stray = || Subject::Provider("p".into());
        for (disagreement, seconds) in [
            (about(FindingKind::AttachedUnknown, stray()), 300),
            (about(FindingKind::AttachedUnknown, volume()), 3),
            (about(FindingKind::Unrecorded, stray()), 300),
            (about(FindingKind::StuckInCloud, volume()), 600),
            (about(FindingKind::UsedWithoutLease, volume()), 45),
            (about(FindingKind::DoubleAttached, volume()), 0),
        ] {
            assert_eq!(disagreement.grace(&bounds).as_secs(), seconds, "{disagreement:?}");
        }
    }
}
