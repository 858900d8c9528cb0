//! The use of an attached volume: opened proven, two blocks checked against the model, one written, closed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::Advice;
use volume_client::client::{ClientError, OpenDevice, OpenedDevice};
use volume_client::types::{ErrorCode, LeaseAccess, LeasePurpose, VolumeId};

use super::content::{BLOCK, Judgement, Model};
use super::scene::Scene;
use super::seen_within;
use super::tally::add;
use crate::backing_file;

/// How long an opening is tried that nothing but a passing state stands in the way of.
const OPENING: Duration = Duration::from_secs(20);

/// The block that says whose the volume is.
pub(super) const MARKER: u64 = 0;

/// Which blocks are used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    /// Read and compared, beside the marker.
    pub(super) read: u64,
    /// Written.
    pub(super) write: u64,
}

/// What using a device met.
enum Met {
    Right,
    Wrong(String),
    Failed,
}

impl Scene<'_> {
    /// Opens the volume's device, checks and writes it. Whatever comes of it is counted.
    pub(super) async fn make_use(&self, id: VolumeId, model: &mut Model, blocks: Blocks) {
        let opened = match self.open(id).await {
            Ok(opened) => opened,
            Err(error) => {
                let name = error.code().map_or("by_the_kernel", ErrorCode::as_str);
                return self.tally.count(|figures| add(&mut figures.refused, name));
            }
        };
        self.check_size(&opened, model);
        let device = opened.device().clone();
        let behind = backing_file(&device.device_path);
        let mut written = vec![blocks.write];
        if !model.is_settled(MARKER) {
            written.push(MARKER);
        }
        let met = self.check_and_write(&opened, model, blocks.read, &written).await;
        let closed = opened.close().await;
        match (met, closed) {
            (Met::Wrong(what), _) => {
                self.tally.count(|figures| figures.wrong += 1);
                self.tally.violated(format!(
                    "wrong bytes at {}: {what}; {device:?}, with {behind:?} behind it; before that:{}",
                    Timestamp::now(),
                    self.evidence(model.volume)
                ));
            }
            (Met::Failed, _) => self.tally.count(|figures| figures.failed += 1),
            (Met::Right, closed) => {
                self.tally.count(|figures| figures.right += 1);
                // Flushed and closed; that the lease could not be given back is for the daemon to sort out.
                if !matches!(closed, Err(ClientError::DeviceIo { .. })) {
                    written.iter().for_each(|block| model.settle(*block));
                }
            }
        }
    }

    async fn open(&self, id: VolumeId) -> Result<OpenedDevice, ClientError> {
        let mut last = None;
        let opened = seen_within(OPENING, async || {
            let open = OpenDevice::new(LeaseAccess::Write, LeasePurpose::Transfer, "the soak");
            match self.client.open_device(id, open).await {
                Ok(opened) => Some(Ok(opened)),
                Err(error) if is_passing(&error) => {
                    last = Some(error);
                    None
                }
                Err(error) => Some(Err(error)),
            }
        });
        match opened.await {
            Some(result) => result,
            None => Err(last.expect("what passes was met, or there would be a result")),
        }
    }

    /// A device that is handed out is as large as the cloud says the volume is.
    fn check_size(&self, opened: &OpenedDevice, model: &Model) {
        let Some(volume) = self.cloud.volume(model.volume) else {
            return;
        };
        let found = opened.device().size_bytes;
        if found != volume.size {
            self.tally.violated(format!(
                "handed out with {found} bytes, and the volume has {}: {:?}",
                volume.size,
                opened.device()
            ));
        }
    }

    async fn check_and_write(
        &self,
        opened: &OpenedDevice,
        model: &mut Model,
        read: u64,
        written: &[u64],
    ) -> Met {
        let Ok(file) = opened.try_clone() else {
            return Met::Failed;
        };
        let known = model.clone();
        let writes: Vec<_> = written
            .iter()
            .map(|block| (*block, model.intend(*block)))
            .collect();
        let work = tokio::task::spawn_blocking(move || {
            let met = compare(&file, &known, &[MARKER, read])?;
            if matches!(met, Met::Right) {
                for (block, bytes) in writes {
                    file.write_all_at(&bytes, block * BLOCK as u64)?;
                }
            }
            Ok::<_, io::Error>(met)
        });
        work.await
            .expect("reading and writing do not panic")
            .unwrap_or(Met::Failed)
    }
}

/// Compares blocks as they are on the disk, not as they were read before.
fn compare(file: &File, model: &Model, blocks: &[u64]) -> io::Result<Met> {
    rustix::fs::fadvise(file, 0, None, Advice::DontNeed)?;
    let mut found = vec![0; BLOCK];
    for block in blocks {
        file.read_exact_at(&mut found, block * BLOCK as u64)?;
        if let Judgement::Wrong(what) = model.judge(*block, &found) {
            return Ok(Met::Wrong(what));
        }
    }
    Ok(Met::Right)
}

/// Whether it may be otherwise in a moment, without anybody doing anything about it.
fn is_passing(error: &ClientError) -> bool {
    match error.code() {
        Some(code) => matches!(
            code,
            ErrorCode::NotReady | ErrorCode::OperationInProgress | ErrorCode::DeviceBusy
        ),
        None => matches!(
            error,
            ClientError::Unreachable { .. }
                | ClientError::TimedOut { .. }
                | ClientError::AnswerLost { .. }
                | ClientError::DeviceBusy { .. }
        ),
    }
}
