//! The journal of a copy: what of the target is durable, so that a copy that ended early goes on where it was.
//!
//! An entry is written only after a flush of the target has covered what it tells of; the journal's own `fdatasync`
//! comes last. So a journal may know less than is there, never more. It is bound to source, target and sizes, and one
//! that is bound to anything else is refused.
//!
//! The file: [`MAGIC`]; then frames, each a length (4 bytes), a checksum (8 bytes: XXH3-64 of the frame's content with
//! the checksum before it as seed) and the content. The first frame is the binding as JSON, every other a row of entries.
//! All numbers are little-endian. A frame that is short or does not fit its checksum ends the journal: a crash tore it,
//! and what follows it was never told to anybody. Because each checksum hangs on the one before, a frame of another
//! journal, or out of its place, does not fit either.

mod durable;
mod entry;
mod recorder;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::model::DigestKind;

pub use durable::Durable;
pub(super) use durable::DurableBlock;
pub(super) use entry::Entry;
pub use recorder::{Covered, NonsenseError, Recorder};

const MAGIC: &[u8; 8] = b"vmcopyj1";
/// Longer frames are not written, and not believed.
const LONGEST_FRAME: u32 = 16 << 20;

/// What a journal belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Names the content of the source, not only its place: a change id, a snapshot, a file with its time of change.
    pub source: String,
    /// Size of the source in bytes.
    pub source_size: u64,
    /// Names the target: its volume.
    pub target: String,
    /// Size of the target in bytes.
    pub target_size: u64,
    /// How blocks are hashed.
    pub digest: DigestKind,
}

/// A journal that is written to. It is locked as long as this lives: one copy at a time.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    source_size: u64,
    target_size: u64,
    tail: Mutex<Tail>,
}

#[derive(Debug)]
struct Tail {
    file: File,
    checksum: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sound,
    /// A frame may be torn: nothing may follow it.
    Broken,
}

/// A journal could not be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system said no.
    #[error("cannot {doing} the journal {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The journal.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another copy uses it.
    #[error("the journal {} is in use by another copy", path.display())]
    InUse {
        /// The journal.
        path: PathBuf,
    },
    /// The file is no journal, or its begin is damaged.
    #[error("{} is no journal of a copy, or its begin is damaged", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
    /// It is of another source, target or size.
    #[error("the journal {} is of {what} {theirs}, this copy's is {ours}", path.display())]
    Foreign {
        /// The journal.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the journal says.
        theirs: String,
        /// What this copy says.
        ours: String,
    },
}

impl JournalError {
    /// Whether the journal is of something else, or unreadable: a copy from the start may put a new one in its place.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Foreign { .. } | Self::Unreadable { .. })
    }
}

impl Journal {
    /// Takes up the journal at `path`, or begins one where there is none, in an existing folder.
    ///
    /// # Errors
    /// [`JournalError::Foreign`] and [`JournalError::Unreadable`] leave the file as it is.
    pub fn open(path: &Path, binding: &Binding) -> Result<(Self, Durable), JournalError> {
        match File::options().read(true).write(true).open(path) {
            Ok(file) => resume(file, path, binding),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok((begin(path, binding)?, Durable::default()))
            }
            Err(source) => Err(io_error("open", path)(source)),
        }
    }

    /// Begins a journal in the place of whatever is at `path`.
    ///
    /// # Errors
    /// [`JournalError::InUse`] where a copy uses what is there.
    pub fn start_over(path: &Path, binding: &Binding) -> Result<Self, JournalError> {
        // Held until the new one has the name.
        let former = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(io_error("open", path)(source)),
        };
        if let Some(former) = &former {
            lock(former, path)?;
        }
        begin(path, binding)
    }

    /// Removes the journal of a copy that is complete. What is recorded later is recorded nowhere.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn remove(&self) -> Result<(), JournalError> {
        fs::remove_file(&self.path).map_err(io_error("remove", &self.path))?;
        sync_folder(&self.path).map_err(io_error("remove", &self.path))
    }

    /// Records what a copy elsewhere has told by [`Covered::to_bytes`]: repeating it is harmless.
    ///
    /// # Errors
    /// Bytes that make no sense are not recorded.
    pub fn record_bytes(&self, bytes: &[u8]) -> Result<(), NonsenseError> {
        let entries = entry::decode(bytes, self.source_size, self.target_size).ok_or(NonsenseError)?;
        self.record(&Covered(&entries));
        Ok(())
    }
}

impl Recorder for Journal {
    /// A journal that cannot be written costs a later copy its head start, not this copy its end: it is said once, and
    /// nothing more is recorded.
    fn record(&self, covered: &Covered<'_>) {
        let entries = covered.0;
        if entries.is_empty() {
            return;
        }
        let mut tail = self.tail.lock();
        if tail.state == State::Broken {
            return;
        }
        if let Err(error) = tail.append(entries) {
            tail.state = State::Broken;
            tracing::warn!(
                journal = %self.path.display(), %error,
                "the journal cannot be written: a copy that is interrupted from now on begins again from here"
            );
        }
    }
}

impl Tail {
    fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut content = Vec::new();
        for entry in entries {
            entry.encode(&mut content);
            if content.len() >= LONGEST_FRAME as usize / 2 {
                self.write_frame(&std::mem::take(&mut content))?;
            }
        }
        if !content.is_empty() {
            self.write_frame(&content)?;
        }
        self.file.sync_data()
    }

    fn write_frame(&mut self, content: &[u8]) -> io::Result<()> {
        let (frame, checksum) = frame(content, self.checksum);
        self.file.write_all(&frame)?;
        self.checksum = checksum;
        Ok(())
    }
}

fn begin(path: &Path, binding: &Binding) -> Result<Journal, JournalError> {
    let failed = |source| io_error("begin", path)(source);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    let content = serde_json::to_vec(binding).map_err(|error| failed(error.into()))?;
    let (frame, checksum) = frame(&content, 0);
    let written = file.write_all(MAGIC).and_then(|()| file.write_all(&frame));
    written.and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    // Locked before it has its name: nobody else ever sees it free.
    lock(file.as_file(), path)?;
    let file = file.persist(path).map_err(|error| failed(error.error))?;
    sync_folder(path).map_err(failed)?;
    let tail = Mutex::new(Tail {
        file,
        checksum,
        state: State::Sound,
    });
    Ok(Journal {
        path: path.to_owned(),
        source_size: binding.source_size,
        target_size: binding.target_size,
        tail,
    })
}

fn resume(mut file: File, path: &Path, binding: &Binding) -> Result<(Journal, Durable), JournalError> {
    lock(&file, path)?;
    let failed = |source| io_error("read", path)(source);
    let unreadable = || JournalError::Unreadable {
        path: path.to_owned(),
    };
    let mut reader = io::BufReader::new(&mut file);
    let mut magic = [0; MAGIC.len()];
    let is_ours = read_whole(&mut reader, &mut magic).map_err(failed)? && magic == *MAGIC;
    let mut frames = Frames {
        reader,
        checksum: 0,
        end: MAGIC.len() as u64,
    };
    let first = if is_ours {
        frames.next().map_err(failed)?
    } else {
        None
    };
    let theirs: Binding = first
        .and_then(|content| serde_json::from_slice(&content).ok())
        .ok_or_else(unreadable)?;
    check(binding, &theirs, path)?;
    let mut durable = Durable::default();
    while let Some(content) = frames.next().map_err(failed)? {
        // A frame that fits its checksum and makes no sense was written by another version of us.
        let entries = entry::decode(&content, binding.source_size, binding.target_size);
        for entry in entries.ok_or_else(unreadable)? {
            durable.add(entry);
        }
    }
    durable.tidy();
    let (checksum, end) = (frames.checksum, frames.end);
    drop(frames);
    // What was torn is cut off, so that nothing follows it.
    let cut = file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end)));
    cut.and_then(|_| file.sync_all())
        .map_err(io_error("mend", path))?;
    let tail = Mutex::new(Tail {
        file,
        checksum,
        state: State::Sound,
    });
    let journal = Journal {
        path: path.to_owned(),
        source_size: binding.source_size,
        target_size: binding.target_size,
        tail,
    };
    Ok((journal, durable))
}

fn lock(file: &File, path: &Path) -> Result<(), JournalError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::InUse {
            path: path.to_owned(),
        }),
        Err(error) => Err(io_error("lock", path)(error.into())),
    }
}

fn check(ours: &Binding, theirs: &Binding, path: &Path) -> Result<(), JournalError> {
    let size = |size: u64| format!("of {size} bytes");
    let pairs = [
        ("source", theirs.source.clone(), ours.source.clone()),
        ("a source", size(theirs.source_size), size(ours.source_size)),
        ("target", theirs.target.clone(), ours.target.clone()),
        ("a target", size(theirs.target_size), size(ours.target_size)),
        ("digest", theirs.digest.to_string(), ours.digest.to_string()),
    ];
    match pairs.into_iter().find(|(_, theirs, ours)| theirs != ours) {
        None => Ok(()),
        Some((what, theirs, ours)) => Err(JournalError::Foreign {
            path: path.to_owned(),
            what,
            theirs,
            ours,
        }),
    }
}

fn frame(content: &[u8], before: u64) -> (Vec<u8>, u64) {
    let checksum = XxHash3_64::oneshot_with_seed(before, content);
    let length = u32::try_from(content.len()).expect("a frame is at most 16 MiB");
    let mut frame = Vec::with_capacity(content.len() + 12);
    frame.extend(length.to_le_bytes());
    frame.extend(checksum.to_le_bytes());
    frame.extend(content);
    (frame, checksum)
}

struct Frames<R> {
    reader: R,
    checksum: u64,
    /// Behind the latest frame that was whole.
    end: u64,
}

impl<R: Read> Frames<R> {
    /// The next frame's content; `None` at the end, be it whole or torn.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut head = [0; 12];
        if !read_whole(&mut self.reader, &mut head)? {
            return Ok(None);
        }
        let (length, checksum) = head.split_at(4);
        let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
        let checksum = u64::from_le_bytes(checksum.try_into().expect("eight bytes"));
        if length > LONGEST_FRAME {
            return Ok(None);
        }
        let mut content = vec![0; length as usize];
        let is_whole = read_whole(&mut self.reader, &mut content)?;
        if !is_whole || XxHash3_64::oneshot_with_seed(self.checksum, &content) != checksum {
            return Ok(None);
        }
        self.checksum = checksum;
        self.end += 12 + u64::from(length);
        Ok(Some(content))
    }
}

/// Fills `bytes`; `false` where the file ended before.
fn read_whole(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A name is durable only with its folder.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { doing, path, source }
}
