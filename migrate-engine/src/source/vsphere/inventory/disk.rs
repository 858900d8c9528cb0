//! A virtual disk: what it is made of, and whether it can be copied.

use std::fmt;

use super::super::change_tracking::ChangeId;

/// A virtual disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// `disk-2000`, after its key: the same for the same disk as long as it stays in its machine.
    pub id: String,
    /// The key of the device in its machine.
    pub key: i32,
    /// The disk's own UUID, where it has one.
    pub uuid: Option<String>,
    /// `[datastore] folder/file.vmdk`; with snapshots, the link that is written to. `None` where the vCenter tells none.
    pub path: Option<String>,
    /// The links below it, nearest first: there are some where there are snapshots, or where it is a linked clone.
    pub parents: Vec<String>,
    /// What people call it, `Hard disk 1`.
    pub label: String,
    /// Its size in bytes; `None` where the vCenter tells none.
    pub capacity_bytes: Option<u64>,
    /// The datastore's name.
    pub datastore: Option<String>,
    /// The kind of datastore, such as `VMFS`, `NFS`, `vsan` or `VVOL`.
    pub datastore_type: Option<String>,
    /// How its space is taken.
    pub provisioning: Provisioning,
    /// What snapshots and power-offs do to it.
    pub mode: DiskMode,
    /// What its bytes lie in.
    pub kind: DiskKind,
    /// Whether several machines write to it.
    pub is_shared: bool,
    /// Whether it is encrypted.
    pub is_encrypted: bool,
    /// Whether its changes are tracked; `None` where that was not asked for (see [`Query`](super::Query)).
    pub is_tracked: Option<bool>,
    /// The point in time that its backing stands for; the one of a *snapshot's* disk is what to go on from.
    pub change_id: Option<ChangeId>,
}

/// How a disk's space is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provisioning {
    /// As it is written.
    Thin,
    /// At once, zeroed as it is written.
    ThickLazyZeroed,
    /// At once, zeroed at once.
    ThickEagerZeroed,
    /// The vCenter does not say.
    Unknown,
}

/// What snapshots and power-offs do to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskMode {
    /// It is part of snapshots.
    Persistent,
    /// It is part of no snapshot.
    IndependentPersistent,
    /// It is part of no snapshot, and forgets at power-off.
    IndependentNonpersistent,
    /// One of the old modes (`undoable`, `nonpersistent`, `append`).
    Other,
}

/// What a disk's bytes lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// A flat file.
    Flat,
    /// A sparse file of hosted products, or an old delta.
    Sparse,
    /// A space-efficient sparse file.
    SeSparse,
    /// A logical unit, through VMware's storage layer: snapshots work.
    RdmVirtual,
    /// A logical unit, as it is: no snapshots, no change tracking.
    RdmPhysical,
    /// An object of a vVol datastore: no file to read.
    VVol,
    /// An object of a vSAN datastore: no flat file to read.
    Vsan,
    /// Something else: a device of the host, persistent memory.
    Other,
}

/// Why a disk cannot be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskProblem {
    /// The vCenter does not say which file it is.
    NoPath,
    /// The vCenter does not say how large it is.
    NoCapacity,
    /// It is part of no snapshot.
    Independent,
    /// It is a logical unit without snapshots.
    RdmPhysical,
    /// Several machines write to it.
    Shared,
    /// It is of a kind that we do not know.
    UnknownKind,
    /// Its file holds nothing but cipher.
    Encrypted,
    /// It lies in no file with its bytes.
    NoFile,
}

impl Disk {
    /// The size in GiB, rounded up.
    #[must_use]
    pub fn size_gb(&self) -> Option<u64> {
        self.capacity_bytes.map(|bytes| bytes.div_ceil(1 << 30))
    }

    /// What keeps it from being copied while its machine runs, if anything does.
    #[must_use]
    pub fn problem(&self) -> Option<DiskProblem> {
        if self.path.is_none() {
            return Some(DiskProblem::NoPath);
        }
        if self.capacity_bytes.is_none_or(|bytes| bytes == 0) {
            return Some(DiskProblem::NoCapacity);
        }
        if self.kind == DiskKind::RdmPhysical {
            return Some(DiskProblem::RdmPhysical);
        }
        if self.mode != DiskMode::Persistent {
            return Some(DiskProblem::Independent);
        }
        if self.is_shared {
            return Some(DiskProblem::Shared);
        }
        (self.kind == DiskKind::Other).then_some(DiskProblem::UnknownKind)
    }

    /// The same for a copy through the files of its datastore ([`Session::flat_file`](super::super::Session::flat_file)),
    /// which cannot read everything that VMware's own library can. To be asked of a discovered machine's disk: a
    /// snapshot's does not know its kind of datastore.
    #[must_use]
    pub fn problem_as_file(&self) -> Option<DiskProblem> {
        match self.kind {
            _ if self.problem().is_some() => self.problem(),
            _ if self.is_encrypted => Some(DiskProblem::Encrypted),
            DiskKind::Flat => None,
            _ => Some(DiskProblem::NoFile),
        }
    }

    /// The same for a copy through VMware's own library ([`Vddk`](super::super::Vddk)), which reads whatever a snapshot holds.
    /// Only of what is encrypted we do not know what it gives.
    #[must_use]
    pub fn problem_through_library(&self) -> Option<DiskProblem> {
        let problem = self.problem();
        problem.or_else(|| self.is_encrypted.then_some(DiskProblem::Encrypted))
    }
}

impl Provisioning {
    /// The word for it: `thin`, `thick`, `thick_eager_zeroed` or `unknown`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Thin => "thin",
            Self::ThickLazyZeroed => "thick",
            Self::ThickEagerZeroed => "thick_eager_zeroed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Provisioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for DiskProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPath => "the vCenter does not say which file it is; is its datastore reachable?",
            Self::NoCapacity => "the vCenter does not say how large it is; is its datastore reachable?",
            Self::Independent => {
                "it is independent, so no snapshot holds it; make it dependent, or copy it while powered off"
            }
            Self::RdmPhysical => {
                "it is a raw device in physical mode, which has no snapshots; copy it on the storage itself"
            }
            Self::Shared => "several machines write to it; stop sharing it first",
            Self::Encrypted => "it is encrypted, and its file holds nothing but cipher; decrypt it first",
            Self::NoFile => {
                "its datastore holds no flat file of it; VMware's own library can read it: install that, and name it by `vddk` in the file of sources"
            }
            Self::UnknownKind => "it lies neither in a file nor in an object that we can read",
        })
    }
}
