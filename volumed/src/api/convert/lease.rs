//! Leases.

use jiff::Timestamp;
use volume_client::types::{Lease, LeaseAccess, LeaseGrant, LeasePurpose};

use super::device;
use crate::model;
use crate::operation::VerifiedDevice;
use crate::store::LeaseRecord;

/// The lease as it stands at `now`.
pub(in crate::api) fn view(record: LeaseRecord, now: Timestamp) -> Lease {
    Lease {
        expired: record.expired(now),
        id: record.id,
        volume_id: record.volume_id,
        purpose: purpose(record.purpose),
        access: access(record.access),
        holder: record.holder,
        detail: record.detail,
        acquired_at: record.acquired_at,
        expires_at: record.expires_at,
    }
}

/// The answer to a new lease.
pub(in crate::api) fn grant(record: LeaseRecord, verified: VerifiedDevice, now: Timestamp) -> LeaseGrant {
    LeaseGrant {
        known_zero: record.known_zero,
        lease: view(record, now),
        device: device::verified(verified),
    }
}

fn purpose(purpose: model::LeasePurpose) -> LeasePurpose {
    match purpose {
        model::LeasePurpose::Export => LeasePurpose::Export,
        model::LeasePurpose::Transfer => LeasePurpose::Transfer,
        model::LeasePurpose::Conversion => LeasePurpose::Conversion,
        model::LeasePurpose::Inspection => LeasePurpose::Inspection,
    }
}

fn access(access: model::LeaseAccess) -> LeaseAccess {
    match access {
        model::LeaseAccess::Read => LeaseAccess::Read,
        model::LeaseAccess::Write => LeaseAccess::Write,
    }
}

/// The purpose that a caller names.
pub(in crate::api) fn purpose_of(purpose: LeasePurpose) -> model::LeasePurpose {
    match purpose {
        LeasePurpose::Export => model::LeasePurpose::Export,
        LeasePurpose::Transfer => model::LeasePurpose::Transfer,
        LeasePurpose::Conversion => model::LeasePurpose::Conversion,
        LeasePurpose::Inspection => model::LeasePurpose::Inspection,
    }
}

/// The access that a caller names.
pub(in crate::api) fn access_of(access: LeaseAccess) -> model::LeaseAccess {
    match access {
        LeaseAccess::Read => model::LeaseAccess::Read,
        LeaseAccess::Write => model::LeaseAccess::Write,
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use volume_client::types::{LeaseId, VolumeId};

    use super::*;

    #[test]
    fn a_lease_that_was_not_renewed_in_time_is_marked() {
        let record = LeaseRecord {
            id: LeaseId::new(),
            volume_id: VolumeId::new(),
            generation: 1,
            purpose: model::LeasePurpose::Export,
            access: model::LeaseAccess::Read,
            holder: "a test".into(),
            detail: None,
            known_zero: false,
            ttl_seconds: 60,
            acquired_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(60),
            released_at: None,
        };
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        assert!(!view(record.clone(), at(60)).expired);
        assert!(view(record, at(61)).expired);
    }

    #[test]
    fn purposes_and_accesses_read_the_same_on_both_sides() {
        for &there in model::LeasePurpose::ALL {
            assert_eq!(serde_json::to_value(purpose(there)).unwrap(), there.as_str());
            assert_eq!(purpose_of(purpose(there)), there);
        }
        for &there in model::LeaseAccess::ALL {
            assert_eq!(serde_json::to_value(access(there)).unwrap(), there.as_str());
            assert_eq!(access_of(access(there)), there);
        }
    }
}
