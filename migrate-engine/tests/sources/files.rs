//! A folder with a machine in a file, whatever kind of file that is.

use std::fs::{File, FileTimes};
use std::path::PathBuf;

use async_trait::async_trait;
use migrate_engine::source::{Cycle, FrozenDisk, Source};
use parking_lot::Mutex;

use crate::copying::said;
use crate::fixture::{Fixture, Names, scribbles};
use crate::folders::Bench;
use crate::lost;

/// How a machine with these disks becomes a file: its content.
pub(crate) type Pack = fn(&Bench, &[Vec<u8>]) -> Vec<u8>;

pub(crate) struct Files {
    bench: Bench,
    names: Names,
    pack: Pack,
    refused: &'static [&'static str],
    disks: Mutex<Vec<Vec<u8>>>,
}

impl Files {
    /// A machine of that name in `file`, with disks of these sizes. Whoever asks for `twin` has several to choose from.
    pub(crate) fn new(
        bench: Bench,
        (file, name): (&str, &str),
        sizes: &[usize],
        pack: Pack,
        refused: &'static [&'static str],
    ) -> Self {
        let path = bench.path(file).display().to_string();
        let files = Self {
            names: Names {
                id: file.to_owned(),
                path,
                name: name.to_owned(),
            },
            disks: Mutex::new(sizes.iter().map(|size| vec![0; *size]).collect()),
            bench,
            pack,
            refused,
        };
        for disk in 0..sizes.len() {
            files.scribble(disk, 1000 + disk as u64);
        }
        files.put();
        files
    }

    fn scribble(&self, disk: usize, seed: u64) {
        let mut disks = self.disks.lock();
        let size = disks[disk].len();
        for (offset, bytes) in scribbles(seed, size) {
            disks[disk][offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
    }

    fn put(&self) {
        let content = (self.pack)(&self.bench, &self.disks.lock());
        self.bench.write(&self.names.id, content);
    }

    fn file(&self) -> PathBuf {
        self.bench.path(&self.names.id)
    }

    fn scratch(&self) -> [PathBuf; 2] {
        ["scratch", "scratch-elsewhere"].map(|name| self.bench.root().join(name))
    }
}

#[async_trait]
impl Fixture for Files {
    async fn source(&self) -> Box<dyn Source> {
        Box::new(self.bench.source())
    }

    fn names(&self) -> &Names {
        &self.names
    }

    fn twins(&self) -> Option<&'static str> {
        Some("twin")
    }

    fn refused(&self) -> &'static [&'static str] {
        self.refused
    }

    fn write(&self, seed: u64) {
        self.scribble(0, seed);
        self.put();
    }

    fn grow(&self) -> u64 {
        let size = 12 << 20;
        self.disks.lock()[0].resize(size, 7);
        self.put();
        size as u64
    }

    fn truth(&self, _: &Cycle, disk: &FrozenDisk) -> Vec<u8> {
        let number = disk.id.strip_prefix("vmdisk").map_or(0, |n| n.parse().unwrap());
        self.disks.lock()[number].clone()
    }

    fn freezes(&self) -> bool {
        false
    }

    fn tells_where(&self) -> bool {
        false
    }

    /// Another file of the same bytes and the same time is another file.
    async fn disturb(&self, _: &Cycle) {
        let (file, copy) = (self.file(), self.bench.path(".copy"));
        std::fs::copy(&file, &copy).unwrap();
        let time = file.metadata().unwrap().modified().unwrap();
        let opened = File::options().write(true).open(&copy).unwrap();
        opened.set_times(FileTimes::new().set_modified(time)).unwrap();
        std::fs::rename(copy, file).unwrap();
    }

    async fn lose(&self, cycle: &Cycle) {
        lost::lose(self.bench.root(), &self.names.id, cycle);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while self.left().iter().any(|left| left.contains("qemu")) {
            assert!(std::time::Instant::now() < deadline, "{:?}", self.left());
            tokio::task::yield_now().await;
        }
    }

    fn left(&self) -> Vec<String> {
        self.bench.left()
    }

    /// The file is cut, gone, or there is no room to work in.
    fn hinder(&self, n: usize) -> bool {
        let [scratch, elsewhere] = self.scratch();
        match n {
            0 => {
                let file = File::options().write(true).open(self.file()).unwrap();
                file.set_len(0).unwrap();
            }
            1 => std::fs::remove_file(self.file()).unwrap(),
            2 => std::fs::rename(scratch, elsewhere).unwrap(),
            _ => return false,
        }
        true
    }

    fn unhinder(&self) {
        let [scratch, elsewhere] = self.scratch();
        if elsewhere.exists() {
            std::fs::rename(elsewhere, scratch).unwrap();
        }
        self.put();
    }

    fn secrets(&self) -> &'static [&'static str] {
        &[]
    }

    async fn refusals(&self) -> Vec<String> {
        let source = self.bench.source();
        let mut refusals = Vec::new();
        for name in self.refused {
            refusals.push(said(&source.machine(name, None).await.unwrap_err()));
        }
        refusals
    }
}
