//! The file of a bundle: a compressed archive for its owner's eyes, which has its name only once it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::cli::failure::Failure;

/// An archive that is being written. Dropped before [`finish`](Self::finish), nothing of it is left.
pub(super) struct Archive {
    tar: Option<tar::Builder<GzEncoder<BufWriter<File>>>>,
    folder: String,
    partial: PathBuf,
    place: PathBuf,
}

impl Archive {
    /// Begins one at `place`, whose parts lie in `folder`.
    pub(super) fn create(place: &Path, folder: &str) -> Result<Self, Failure> {
        if place.exists() {
            return Err(taken(place));
        }
        let mut partial = place.as_os_str().to_owned();
        partial.push(format!(".partial-{}", std::process::id()));
        let partial = PathBuf::from(partial);
        let file = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&partial)?;
        let gz = GzEncoder::new(BufWriter::new(file), Compression::default());
        Ok(Self {
            tar: Some(tar::Builder::new(gz)),
            folder: folder.to_owned(),
            partial,
            place: place.to_owned(),
        })
    }

    pub(super) fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default());
        let path = format!("{}/{name}", self.folder);
        let tar = self.tar.as_mut().expect("it is there until it is finished");
        tar.append_data(&mut header, path, content)
    }

    /// Gives it its name; how many bytes it has.
    pub(super) fn finish(mut self) -> Result<u64, Failure> {
        let tar = self.tar.take().expect("it is finished once");
        let file = tar
            .into_inner()?
            .finish()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let size = file.metadata()?.len();
        // A link never replaces what came there meanwhile.
        match fs::hard_link(&self.partial, &self.place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(taken(&self.place)),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(size),
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // Its content has the other name by then, or is not wanted.
        let _ = fs::remove_file(&self.partial);
    }
}

fn taken(place: &Path) -> Failure {
    Failure::Selection {
        error: format!("{} is there already", place.display()),
        hint: Some("name another file with --output".to_owned()),
    }
}

pub(super) fn sha256(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
