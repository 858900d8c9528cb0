//! What a copy did, for people and programs. Sizes in bytes, times in seconds.

use jiff::Timestamp;
use serde::Serialize;

/// How the bytes reached the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Written to the device.
    Device,
    /// Sent to the volume's published NBD export.
    Nbd,
}

/// How a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every disk was copied and verified.
    Completed,
    /// A disk was not; the disks before it were.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// The content of a disk, as it was read from the source and as it was read back from the volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DigestReport {
    /// The digest of the source, computed in the pass that copied it.
    pub source: String,
    /// The digest of the volume as it was read back; absent where not all of it was.
    pub target: Option<String>,
}

/// One disk that was copied.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiskReport {
    /// The disk, as its source names it.
    pub disk_id: String,
    /// What people call it.
    pub label: String,
    /// Its capacity.
    pub capacity_bytes: u64,
    /// The volume.
    pub volume_id: String,
    /// The volume's name.
    pub volume_name: String,
    /// The volume's size.
    pub volume_bytes: u64,
    /// Whether a volume that this disk had before was used again.
    pub reused: bool,
    /// The device that was written, as it was verified before the first write.
    pub device_path: String,
    /// How the bytes reached it.
    pub route: Route,
    /// Read from the source.
    pub bytes_read: u64,
    /// Written to the volume.
    pub bytes_written: u64,
    /// Not read, because the source said that they are zero.
    pub bytes_skipped: u64,
    /// Made zero on the volume by one call per range.
    pub bytes_zeroed: u64,
    /// Moved by earlier runs that were interrupted.
    pub bytes_resumed: u64,
    /// How long the copy took, its flush included.
    pub copy_seconds: f64,
    /// How long reading back took.
    pub verify_seconds: Option<f64>,
    /// How much was read back, and was equal.
    pub bytes_verified: u64,
    /// The content.
    pub digest: DigestReport,
    /// Whether the volume is still attached.
    pub attached: bool,
}

/// A whole copy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CopyReport {
    /// What was copied.
    pub source: String,
    /// The machine's name.
    pub machine: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not complete.
    pub error: Option<String>,
    /// What caused that, the nearest first.
    pub causes: Vec<String>,
    /// What a person can do about it.
    pub hint: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// What the source's reader wants people to know.
    pub notes: Vec<String>,
    /// The disks that were copied.
    pub disks: Vec<DiskReport>,
    /// The disks that were not.
    pub not_copied: Vec<String>,
}

impl CopyReport {
    /// Of a copy that begins at `now`.
    #[must_use]
    pub fn begun(source: &str, now: Timestamp) -> Self {
        Self {
            source: source.to_owned(),
            machine: String::new(),
            outcome: Outcome::Completed,
            error: None,
            causes: Vec::new(),
            hint: None,
            started_at: now,
            finished_at: now,
            notes: Vec::new(),
            disks: Vec::new(),
            not_copied: Vec::new(),
        }
    }

    /// Ends it as failed or cancelled, with why.
    pub fn fail(
        &mut self,
        outcome: Outcome,
        error: &(dyn std::error::Error + 'static),
        hint: Option<String>,
    ) {
        self.outcome = outcome;
        self.error = Some(error.to_string());
        self.causes = std::iter::successors(error.source(), |cause| cause.source())
            .map(ToString::to_string)
            .collect();
        self.hint = hint;
    }
}
