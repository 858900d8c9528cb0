//! Loop devices with known contents, gone when the test ends.

use std::{fs::File, os::fd::OwnedFd, path::PathBuf, process::Command, sync::Arc};

use nbd_export::{Access, ExportName, ExportSource, ExportSpec};

pub const SIZE: u64 = 4 << 20;

/// A loop device whose every byte is `fill`.
pub struct Loop {
    pub path: PathBuf,
    pub fill: u8,
    _backing: tempfile::NamedTempFile,
}

impl Loop {
    pub fn new(fill: u8) -> Self {
        let backing = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(backing.path(), vec![fill; usize::try_from(SIZE).unwrap()]).unwrap();
        let output = Command::new("losetup")
            .args(["-f", "--show"])
            .arg(backing.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "losetup: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let path = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        Self {
            path,
            fill,
            _backing: backing,
        }
    }

    /// The read-only descriptor a careful caller holds.
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::new(File::open(&self.path).unwrap().into())
    }

    pub fn source(&self) -> ExportSource {
        ExportSource::new(&self.path, self.descriptor(), SIZE).unwrap()
    }

    pub fn spec(&self, name: &str, access: Access) -> ExportSpec {
        ExportSpec {
            name: ExportName::new(name).unwrap(),
            source: self.source(),
            access,
            allow: None,
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.path).status();
    }
}
