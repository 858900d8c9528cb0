//! The journal of a disk's copy, in a folder beside the engine's database: taken up when a copy is repeated, removed when it
//! has been proven.

use std::io;
use std::path::Path;
use std::sync::Arc;

use volume_client::types::VolumeId;

use super::PipelineError;
use super::disk::Job;
use crate::block::{BlockWrite, Durability};
use crate::config::{Begin, Verification};
use crate::model::{Size, chain};
use crate::transfer::{Binding, Durable, Journal, JournalError};

/// A journal, and what it said when it was opened.
pub(super) struct Memory {
    pub(super) journal: Arc<Journal>,
    pub(super) durable: Durable,
}

impl Job<'_> {
    /// The journal of this disk's copy into a volume; `None` where a copy begins at its begin and is not remembered: what is
    /// never read back, what cannot be told from another content of the same place, and what cannot be made durable.
    ///
    /// # Errors
    /// Where another run copies into the volume.
    pub(super) fn memory(
        &self,
        volume: VolumeId,
        writer: &dyn BlockWrite,
    ) -> Result<Option<Memory>, PipelineError> {
        let settings = &self.copier.settings;
        let (Some(folder), Some(content)) = (&settings.journal_dir, self.source.content_id()) else {
            return Ok(None);
        };
        if settings.verification != Verification::ReadBack || writer.durability() == Durability::NotOffered {
            return Ok(None);
        }
        let binding = Binding {
            source: content,
            source_size: self.source.capacity_bytes.unwrap_or_default(),
            target: format!("volume {volume}"),
            target_size: writer.size(),
            digest: settings.digest,
        };
        let say = |text: &str| self.watch.say(&format!("disk {}: {text}", self.source.disk_id));
        take_up(folder, volume, &binding, settings.begin, &say).map_err(|source| PipelineError::Journal {
            disk: self.source.disk_id.clone(),
            source,
        })
    }
}

/// The journal in `folder` of what is copied into a volume: taken up where it is of this very copy, begun anew where not.
/// `None`, said, where there can be none.
///
/// # Errors
/// Where another run copies into the volume.
pub(super) fn take_up(
    folder: &Path,
    volume: VolumeId,
    binding: &Binding,
    begin: Begin,
    say: &dyn Fn(&str),
) -> Result<Option<Memory>, JournalError> {
    let path = folder.join(format!("{volume}.journal"));
    let anew = || Journal::start_over(&path, binding).map(|journal| (journal, Durable::default()));
    let opened = std::fs::create_dir_all(folder)
        .map_err(|source| JournalError::Io {
            doing: "make the folder of",
            path: path.clone(),
            source,
        })
        .and_then(|()| match begin {
            Begin::WhereItWas => Journal::open(&path, binding),
            Begin::AtTheBegin => anew(),
        });
    let opened = match opened {
        Err(refused) if refused.is_refusal() => {
            say(&format!("{refused}; copying from the begin"));
            anew()
        }
        opened => opened,
    };
    match opened {
        Ok((journal, durable)) => {
            if !durable.is_empty() {
                let there = Size(durable.data_bytes());
                say(&format!(
                    "going on where a copy was interrupted: {there} of data are there"
                ));
            }
            Ok(Some(Memory {
                journal: Arc::new(journal),
                durable,
            }))
        }
        Err(error @ JournalError::InUse { .. }) => Err(error),
        Err(error) => {
            say(&format!(
                "warning: {}; an interrupted copy begins again",
                chain(&error)
            ));
            Ok(None)
        }
    }
}

impl Memory {
    /// Forgets: the copy is proven, or proven to be wrong, and no copy is to go on from here.
    pub(super) fn forget(self) {
        match self.journal.remove() {
            Ok(()) => {}
            Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(error = chain(&error), "a journal stays behind"),
        }
    }
}
