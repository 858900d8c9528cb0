//! vCenter and stand-alone ESXi as a source: machines, snapshots, changed blocks, and the files of disks.
//!
//! One SOAP client for vCenter 6.5 to 8 and for hosts alone. Answers are read into tolerant trees: a field or a type
//! that is new, or missing, costs that field and nothing else. Nothing that changes something is ever sent twice; what
//! did not end in time is *unknown*, not failed ([`VsphereError::is_unknown`]).
//!
//! A cycle of a warm copy: [`Session::discover`], [`Session::enable_change_tracking`], [`Session::create_snapshot`],
//! [`Session::snapshot_disks`], [`Disk::goes_on_from`] and [`Session::changed_areas`], [`Session::flat_file`], and a copy
//! from a [`FolderDisk`], or from a [`VddkDisk`] where VMware's own library is installed; the new change ids are kept when the copy is durable; [`Session::remove_snapshot`].

mod change_tracking;
mod credentials;
mod datastore;
mod endpoint;
mod entity_name;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod http;
mod inventory;
mod patience;
mod properties;
mod reader;
mod reference;
mod replication;
mod session;
mod snapshot;
mod soap;
mod task;
#[cfg(test)]
mod tests;
mod thumbprint;
mod vddk;

pub use change_tracking::{
    Area, ChangeId, ChangeIdParseError, Changes, CoverageError, Enabled, FullCopyReason, Page, Since,
    coverage,
};
pub use credentials::Credentials;
pub use datastore::{DatastorePath, DatastorePathParseError, FolderError, FolderFile};
pub use endpoint::{Endpoint, EndpointParseError};
pub use error::VsphereError;
pub use http::HttpError;
pub use inventory::{
    Disk, DiskKind, DiskMode, DiskProblem, Firmware, Inventory, Machine, MachineConfig, NetworkCard,
    Provisioning, Query,
};
pub use patience::Patience;
pub use reader::{FolderDisk, FolderDiskOptions, RequestLimit, SourceBinding};
pub use reference::Reference;
pub use replication::VsphereSource;
pub use session::{About, Session};
pub use snapshot::{Quiesce, SnapshotDisks, SnapshotNode, SnapshotRequest};
pub use soap::{Fault, XmlError};
pub use thumbprint::Thumbprint;
pub use vddk::{Vddk, VddkDisk, VddkError, VddkLogin, VddkPlace};
pub(crate) use volume_client::client::trust::client_config;
pub use volume_client::client::trust::{Fingerprint, FingerprintParseError, Trust, TrustError};
