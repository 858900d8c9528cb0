//! The disks of a package or an image that was opened and verified, as long as nobody writes to its files.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::FileSourceError;
use super::lodging::Lodgings;
use super::served::{ServedReader, Server};
use crate::block::BlockRead;
use crate::source::{
    Changes, Frozen, FrozenDisk, Mark, Options, SourceDisk, SourceFailure, SourceMachine, blocking,
};

pub(super) struct FrozenFiles {
    disks: Vec<FrozenDisk>,
    held: Mutex<Option<Held>>,
}

/// What is let go of, in this order.
struct Held {
    servers: Vec<Arc<Server>>,
    sources: Vec<SourceDisk>,
    options: Options,
    lodgings: Arc<Lodgings>,
}

impl FrozenFiles {
    /// `options` are those that `machine` was opened with, `lodgings` their folders.
    pub(super) fn new(
        machine: SourceMachine,
        options: Options,
        lodgings: Lodgings,
    ) -> Result<Self, FileSourceError> {
        let disks: Result<_, _> = machine.disks.iter().map(frozen).collect();
        Ok(Self {
            disks: disks?,
            held: Mutex::new(Some(Held {
                servers: Vec::new(),
                sources: machine.disks,
                options,
                lodgings: Arc::new(lodgings),
            })),
        })
    }

    fn known(&self, disk: &FrozenDisk) -> Result<&FrozenDisk, FileSourceError> {
        let found = self.disks.iter().find(|known| known.id == disk.id);
        found.ok_or_else(|| FileSourceError::NoSuchDisk {
            disk: disk.id.clone(),
        })
    }

    fn look<T>(&self, at: impl FnOnce(&Held) -> T) -> Result<T, FileSourceError> {
        let held = self.held.lock();
        held.as_ref().map(at).ok_or(FileSourceError::Released)
    }

    async fn serve(&self, disk: &FrozenDisk) -> Result<(Arc<Server>, Options), FileSourceError> {
        let (source, options, lodgings) = self.look(|held| {
            let source = held.sources.iter().find(|source| source.disk_id == disk.id);
            let source = source.expect("each frozen disk is one of the opened ones");
            (source.clone(), held.options.clone(), Arc::clone(&held.lodgings))
        })?;
        let served = source
            .serve(&options)
            .await
            .map_err(|source| FileSourceError::Serve {
                disk: disk.label.clone(),
                source,
            })?;
        Ok((Server::new(served, lodgings), options))
    }

    /// The server lives until the release, though its reader may end before.
    fn keep(&self, server: &Arc<Server>) -> Result<(), FileSourceError> {
        let mut held = self.held.lock();
        let held = held.as_mut().ok_or(FileSourceError::Released)?;
        held.servers.push(Arc::clone(server));
        Ok(())
    }
}

/// The content names itself, so it is its own mark.
fn frozen(disk: &SourceDisk) -> Result<FrozenDisk, FileSourceError> {
    let traceless = || FileSourceError::Traceless {
        disk: disk.label.clone(),
    };
    let content = disk.content_id().ok_or_else(traceless)?;
    Ok(FrozenDisk {
        id: disk.disk_id.clone(),
        label: disk.label.clone(),
        capacity: disk.capacity_bytes.ok_or_else(traceless)?,
        mark: Some(content.clone()),
        content: Some(content),
    })
}

#[async_trait]
impl Frozen for FrozenFiles {
    fn disks(&self) -> &[FrozenDisk] {
        &self.disks
    }

    async fn changes(&self, disk: &FrozenDisk, since: Option<&Mark>) -> Result<Changes, SourceFailure> {
        let disk = self.known(disk)?;
        let all = |reason: Option<String>| Changes::All {
            reason,
            allocated: None,
        };
        Ok(match since {
            None => all(None),
            Some(since) if since.capacity != disk.capacity => {
                let (before, now) = (since.capacity, disk.capacity);
                all(Some(format!(
                    "a full copy is needed, because the disk's size changed from {before} to {now} bytes"
                )))
            }
            Some(since) if disk.mark.as_ref() == Some(&since.mark) => Changes::Since(Arc::default()),
            Some(_) => all(Some(
                "the whole disk is read and compared, because its file is another one, or was written to, since \
                 the last copy, and files do not tell where"
                    .to_owned(),
            )),
        })
    }

    /// What is in use, the server tells: `allocated` is not needed.
    async fn reader(
        &self,
        disk: &FrozenDisk,
        _allocated: Option<Arc<[Range<u64>]>>,
    ) -> Result<Arc<dyn BlockRead>, SourceFailure> {
        let disk = self.known(disk)?;
        let (server, options) = self.serve(disk).await?;
        let reader = ServedReader::connect(Arc::clone(&server), &disk.label, &options).await?;
        if reader.size() != disk.capacity {
            let error = FileSourceError::Size {
                disk: disk.label.clone(),
                said: disk.capacity,
                found: reader.size(),
            };
            return Err(error.into());
        }
        self.keep(&server)?;
        Ok(Arc::new(reader))
    }

    async fn check(&self) -> Result<(), SourceFailure> {
        for source in self.look(|held| held.sources.clone())? {
            if let Err(error) = source.verify_unchanged().await {
                let error = FileSourceError::ChangedMeanwhile {
                    disk: source.label.clone(),
                    source: error,
                };
                return Err(error.into());
            }
        }
        Ok(())
    }

    async fn release(&self) -> Result<(), SourceFailure> {
        let held = self.held.lock().take();
        let Some(held) = held else { return Ok(()) };
        let mut stopped = Ok(());
        for server in &held.servers {
            stopped = stopped.and(server.stop().await);
        }
        let removed = blocking::run(move |_| {
            let Held {
                sources, lodgings, ..
            } = held;
            drop(sources);
            // Whoever is about to begin a server keeps them until it is refused.
            Arc::into_inner(lodgings).map_or(Ok(()), Lodgings::close)
        });
        let removed = removed.await;
        stopped?;
        Ok(removed.map_err(FileSourceError::Lodging)?)
    }
}
