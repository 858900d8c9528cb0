//! What has changed on an export since somebody began to keep track: a dirty bitmap of qemu.

use std::ops::Range;

use super::super::{BlockError, Cancel, ExtentKind};
use super::NbdExport;
use super::connection::{Connection, Pending};
use super::error::NbdError;
use super::handshake::{StatusKind, StatusOf};
use super::wire::{self, Command};
use crate::block::extent;

/// The largest range whose status is asked at once; servers answer for less where they like.
const WINDOW: u64 = 1 << 30;

impl NbdExport {
    /// The ranges that the export's dirty bitmap of this name has marked, in bytes, in order, disjoint. A range that is marked
    /// may hold zeroes.
    ///
    /// # Errors
    /// [`NbdError::NoBitmap`] where the export does not offer it: then nothing is known of what changed. A server that fails
    /// in the middle fails all of it.
    pub fn changes(&self, bitmap: &str, cancel: &Cancel) -> Result<Vec<Range<u64>>, BlockError> {
        let shared = &self.shared;
        let context = format!("{}{bitmap}", wire::DIRTY_BITMAP);
        let status = StatusOf {
            context: &context,
            kind: StatusKind::Dirty,
        };
        let mut connection = Connection::open(&shared.uri, &shared.options, status, cancel)?;
        let terms = connection.terms;
        if terms.size != shared.terms.size {
            return Err(shared.changed(terms.size).into());
        }
        if terms.status_context.is_none() {
            let (export, bitmap) = (shared.uri.export.clone(), bitmap.to_owned());
            return Err(NbdError::NoBitmap { export, bitmap }.into());
        }
        let (mut dirty, mut at) = (Vec::new(), 0);
        while at < terms.size {
            let window = WINDOW.min(terms.size - at);
            let length = u32::try_from(window).expect("a window is at most 1 GiB");
            connection.mapped = None;
            connection.start(Pending::new(Command::BlockStatus, at, length), 0, &[])?;
            let found = loop {
                match connection.mapped.take() {
                    Some(found) => break found?,
                    None => connection.receive()?,
                }
            };
            let marked = found.iter().filter(|extent| extent.kind == ExtentKind::Data);
            dirty.extend(marked.map(extent::Extent::range));
            // An answer has one extent at least, and none of them is empty.
            at = found.last().map_or(terms.size, extent::Extent::end);
        }
        Ok(extent::normalize(dirty))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::block::testing::{Server, have, run};
    use crate::block::{BlockRead, InitialContent, NbdOptions};
    use crate::transfer::{Copy, CopyOptions, Progress, copy};

    /// A qcow2 image with a bitmap, written to after the bitmap was made: the copy of what the bitmap says is enough.
    #[test]
    fn a_dirty_bitmap_of_qemu_tells_what_to_copy_again() {
        if !have(&["qemu-img", "qemu-io", "qemu-nbd"]) {
            return;
        }
        let directory = tempdir().unwrap();
        let (image, target) = (
            directory.path().join("disk.qcow2"),
            directory.path().join("target"),
        );
        let path = image.to_str().unwrap();
        let write = |commands: &[&str]| {
            let commands: Vec<_> = commands.iter().flat_map(|command| ["-c", command]).collect();
            run("qemu-io", &[&["-f", "qcow2"], &commands[..], &[path]].concat());
        };
        run("qemu-img", &["create", "-q", "-f", "qcow2", path, "3G"]);
        write(&["write -P 1 0 3M", "write -P 2 2G 5M"]);
        std::fs::File::create(&target).unwrap().set_len(3 << 30).unwrap();
        let (options, cancel) = (CopyOptions::default(), Cancel::new());
        let serve = |extra: &[&str]| {
            Server::qemu_nbd(
                directory.path(),
                &[&["-r", "-e", "8", "-f", "qcow2"], extra].concat(),
                &image,
            )
        };
        let local = || crate::block::testing::local(&target, InitialContent::Unknown);
        let first = {
            let server = serve(&[]);
            let source = server.connect(NbdOptions::default());
            assert!(matches!(
                source.changes("since", &cancel).unwrap_err(),
                BlockError::Nbd(NbdError::NoBitmap { .. })
            ));
            copy(&source, &local(), &options, &Progress::new(), &cancel).unwrap()
        };

        run(
            "qemu-img",
            &["bitmap", "-f", "qcow2", "--add", "-g", "65536", path, "since"],
        );
        write(&["write -P 3 1M 1000", "write -z 2G 1M", "write -P 4 2500M 64k"]);
        let server = serve(&["-B", "since"]);
        let source = server.connect(NbdOptions::default());
        let changes = source.changes("since", &cancel).unwrap();
        let mib = |at: u64| at << 20;
        assert_eq!(
            changes,
            [
                mib(1)..mib(1) + 65_536,
                mib(2048)..mib(2049),
                mib(2500)..mib(2500) + 65_536
            ]
        );
        let onto = local();
        let update = Copy::new(&source, &onto, &options)
            .changed(&first.digest, &changes)
            .run(&Progress::new(), &cancel);
        let update = update.unwrap();
        assert_eq!(
            (update.totals.bytes_written, update.totals.bytes_zeroed),
            (2 * 65_536, mib(1))
        );
        let uri = format!("nbd+unix:///?socket={}", server.socket.display());
        run(
            "qemu-img",
            &[
                "compare",
                "-f",
                "raw",
                "-F",
                "raw",
                &uri,
                target.to_str().unwrap(),
            ],
        );
        let again = copy(&source, &local(), &options, &Progress::new(), &cancel).unwrap();
        assert_eq!(again.digest, update.digest);
        assert_eq!(BlockRead::size(&source), 3 << 30);
    }
}
