//! Errors on the wire: RFC 9457 problem details with a closed code and a sentence that a person can act on.

use serde::{Deserialize, Serialize};

use super::OperationId;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $status:literal;)+) => {
        /// What went wrong; the set is closed, and a code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        // Not `rename` with the macro's text, which the description of the API would not see.
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ErrorCode {
            /// Every code there is.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name),+];

            /// The code as it is written on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$name => $text,)+ }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self { $(ErrorCode::$name => $status,)+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON.
    MalformedJson = "malformed_json", 400;
    /// A field is missing, unknown, or out of its range.
    InvalidRequest = "invalid_request", 422;
    /// The body is larger than the daemon takes.
    BodyTooLarge = "body_too_large", 413;
    /// The body did not come in the time that the daemon waits for one.
    BodyTooSlow = "body_too_slow", 408;
    /// The body is not declared as `application/json`.
    UnsupportedMediaType = "unsupported_media_type", 415;
    /// The request brings no token, or one that does not work.
    Unauthorized = "unauthorized", 401;
    /// The token does not let do this.
    Forbidden = "forbidden", 403;
    /// The caller asks too often; `Retry-After` tells when to ask again.
    RateLimited = "rate_limited", 429;
    /// There is no such token.
    TokenNotFound = "token_not_found", 404;
    /// There is a token of this name.
    TokenExists = "token_exists", 409;
    /// There is no such path.
    RouteNotFound = "route_not_found", 404;
    /// The path does not take this method.
    MethodNotAllowed = "method_not_allowed", 405;
    /// There is no such volume.
    VolumeNotFound = "volume_not_found", 404;
    /// There is no such operation.
    OperationNotFound = "operation_not_found", 404;
    /// The volume has no such snapshot.
    SnapshotNotFound = "snapshot_not_found", 404;
    /// There is no such lease.
    LeaseNotFound = "lease_not_found", 404;
    /// There is no such finding, or it has gone away.
    FindingNotFound = "finding_not_found", 404;
    /// The provider has no such volume.
    ProviderVolumeNotFound = "provider_volume_not_found", 404;
    /// Another operation on the volume is under way; `operation_id` names it.
    OperationInProgress = "operation_in_progress", 409;
    /// The volume is attached already; `GET …/device` tells where.
    AlreadyAttached = "already_attached", 409;
    /// The volume is attached to another VM.
    AttachedElsewhere = "attached_elsewhere", 409;
    /// The volume is not attached.
    NotAttached = "not_attached", 409;
    /// Attaching to a VM that is not this daemon's.
    ForeignVm = "foreign_vm", 422;
    /// The volume's state does not allow this.
    WrongState = "wrong_state", 409;
    /// Somebody holds a lease on the volume.
    VolumeLeased = "volume_leased", 409;
    /// The device is mounted, held or open.
    DeviceBusy = "device_busy", 409;
    /// The volume has snapshots that must go first.
    HasSnapshots = "has_snapshots", 409;
    /// The volume may hold copied data: deleting it takes its name as confirmation.
    ConfirmationRequired = "confirmation_required", 409;
    /// The provider's volume has a record already.
    AlreadyRecorded = "already_recorded", 409;
    /// The daemon cannot mend this: a person must do what the hint says.
    PersonNeeded = "person_needed", 409;
    /// The source disk has a volume already.
    SourceTaken = "source_taken", 409;
    /// The size is smaller than the volume's.
    ShrinkRefused = "shrink_refused", 422;
    /// The size is beyond what the provider can do.
    SizeOutOfRange = "size_out_of_range", 422;
    /// The idempotency key was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused", 422;
    /// The operation has passed the point where it can be cancelled, or has ended.
    NotCancellable = "not_cancellable", 409;
    /// No device of the volume's identity is here.
    DeviceMissing = "device_missing", 409;
    /// More than one device has the volume's identity.
    DeviceAmbiguous = "device_ambiguous", 409;
    /// The device is not of the recorded size.
    SizeMismatch = "size_mismatch", 409;
    /// The device is not the one that was bound.
    DeviceChanged = "device_changed", 409;
    /// The kernel could not be asked about the device.
    DeviceUnverifiable = "device_unverifiable", 409;
    /// The cloud said no.
    CloudRefused = "cloud_refused", 502;
    /// The cloud cannot be reached.
    CloudUnavailable = "cloud_unavailable", 503;
    /// The provider has no room for it.
    NoSpace = "no_space", 507;
    /// The daemon's database cannot take more; reading goes on.
    StoreFull = "store_full", 507;
    /// The database was restored: what the operation came to is not recorded, or the volume was not compared with cloud and
    /// kernel since.
    DatabaseRestored = "database_restored", 409;
    /// The daemon is starting or stopping.
    NotReady = "not_ready", 503;
    /// A defect of the daemon; the log has more under the request id.
    Internal = "internal", 500;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of every error answer (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A URI for the kind of problem: `urn:volumed:problem:` and the code.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// The status line's words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The closed code.
    pub code: ErrorCode,
    /// One sentence about this very case.
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The request, as the daemon's log names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The operation that stands in the way, or that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<OperationId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_written_one_way() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!((400..600).contains(&code.http_status()), "{code}");
        }
    }
}
