//! What the caller can do about an error of a vCenter.

use super::super::{FolderError, HttpError, VsphereError};
use crate::source::{Category, SourceFailure};

impl From<VsphereError> for SourceFailure {
    fn from(error: VsphereError) -> Self {
        let is_unknown = error.is_unknown();
        SourceFailure::new(category(&error), error).unknown_if(is_unknown)
    }
}

impl From<FolderError> for SourceFailure {
    fn from(error: FolderError) -> Self {
        let category = match &error {
            FolderError::Http { source, .. } => of_http(source),
            FolderError::NotFlat { .. } | FolderError::Path(_) | FolderError::Forbidden { .. } => {
                Category::Refused
            }
            _ => Category::Other,
        };
        SourceFailure::new(category, error)
    }
}

fn category(error: &VsphereError) -> Category {
    match error {
        VsphereError::WrongCredentials { .. } => Category::Credentials,
        VsphereError::Trust(_) => Category::Trust,
        VsphereError::Http(error) => of_http(error),
        VsphereError::NotTheApi { .. } => Category::Unreachable,
        VsphereError::MachineNotFound { .. } | VsphereError::DatacenterNotFound { .. } => Category::NotFound,
        VsphereError::MachineAmbiguous { .. } => Category::Ambiguous,
        VsphereError::MachineIncomplete { .. }
        | VsphereError::NoDisk { .. }
        | VsphereError::Disk { .. }
        | VsphereError::NoPermission { .. }
        | VsphereError::SnapshotsInTheWay { .. }
        | VsphereError::SnapshotsOfOthers { .. } => Category::Refused,
        _ => Category::Other,
    }
}

fn of_http(error: &HttpError) -> Category {
    match error {
        HttpError::CertificateMismatch { .. } | HttpError::CertificateUntrusted { .. } => Category::Trust,
        _ => Category::Unreachable,
    }
}
