//! The file that tells how sources are reached: who we are there, and whom to believe to be them. Passwords stand in files
//! of their own.
//!
//! ```toml
//! [[vsphere]]
//! host = "vcenter.example"             # as those who ask for replications name it
//! username = "migration@vsphere.local"
//! password_file = "/etc/migrate-engine/vcenter.password"
//! fingerprint = "AB:CD:…"              # or ca_file = "…"; without either, the system's authorities
//! vddk = "/opt/vmware-vix-disklib-distrib" # reads disks by VMware's own library, see `vddk.rs`
//! ```
//!
//! Folders of images and packages stand in `[[files]]` ([`FilesEntry`]). Those that are reached through a worker stand in `[[worker]]` ([`WorkerEntry`]) instead.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::VddkSettings;
use super::files::{self, FilesEntry};
use super::vddk::VddkKeys;
use super::workers::{self, WorkerEntry};
use crate::model::Secret;

/// How sources are reached.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    entries: Vec<SourceEntry>,
    files: Vec<FilesEntry>,
    workers: Vec<WorkerEntry>,
}

/// A source.
#[derive(Debug, Clone)]
pub struct SourceEntry {
    /// Its name or address, as it is asked for.
    pub host: String,
    /// Who we are there.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// Whom to believe to be it.
    pub believe: Believe,
    /// Whether guests are brought to rest for snapshots.
    pub quiesce: bool,
    /// VMware's own library to read disks with, where it is there.
    pub vddk: Option<VddkSettings>,
}

/// Whom to believe to be a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Believe {
    /// Whoever an authority of this system vouches for.
    SystemRoots,
    /// Whoever an authority of this PEM file vouches for.
    CaFile(PathBuf),
    /// Whoever has the certificate of this fingerprint.
    Fingerprint(String),
    /// Anybody.
    Anybody,
}

/// The file could not be used. Nothing of it is in force.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML, or has other keys than it may have.
    #[error("{} is not what it should be", path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// An entry contradicts itself.
    #[error("{}: source `{host}` {problem}", path.display())]
    Entry {
        /// Which file.
        path: PathBuf,
        /// Which entry.
        host: String,
        /// What is wrong, and what to write.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    vsphere: Vec<Entry>,
    #[serde(default)]
    files: Vec<FilesEntry>,
    #[serde(default)]
    worker: Vec<workers::Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    host: String,
    username: String,
    password_file: PathBuf,
    ca_file: Option<PathBuf>,
    fingerprint: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    quiesce: bool,
    vddk: Option<PathBuf>,
    vddk_transports: Option<String>,
    nbdkit: Option<PathBuf>,
    vddk_plugin: Option<PathBuf>,
}

impl Sources {
    /// Reads the file, and the passwords that it names. Relative paths are those of its own folder.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Self, SourcesError> {
        let text = std::fs::read_to_string(path).map_err(reading(path))?;
        let file: File = toml::from_str(&text).map_err(|source| SourcesError::Form {
            path: path.to_owned(),
            source: source.into(),
        })?;
        let mut entries = Vec::<SourceEntry>::new();
        for entry in file.vsphere {
            if entries.iter().any(|other| other.host == entry.host) {
                return Err(wrong(path, &entry, "is there twice: keep one of them"));
            }
            entries.push(entry.whole(path)?);
        }
        let mut workers = Vec::new();
        for entry in file.worker {
            let entry = entry.whole(path, &workers)?;
            workers.push(entry);
        }
        let sources = Self {
            entries,
            files: files::of(file.files, path)?,
            workers,
        };
        sources.are_told_once(path)?;
        Ok(sources)
    }

    /// Each source is reached in one way.
    fn are_told_once(&self, path: &Path) -> Result<(), SourcesError> {
        let mut seen = HashSet::new();
        match self
            .hosts()
            .into_iter()
            .find(|host| !seen.insert(host.to_ascii_lowercase()))
        {
            None => Ok(()),
            Some(host) => Err(SourcesError::Entry {
                path: path.to_owned(),
                host: host.to_owned(),
                problem: "is there twice: keep one of the ways to it".to_owned(),
            }),
        }
    }

    /// The worker through which a source is reached. Names of hosts have no case.
    #[must_use]
    pub fn worker_of(&self, host: &str) -> Option<&WorkerEntry> {
        let is_it = |name: &String| name.eq_ignore_ascii_case(host.trim());
        self.workers
            .iter()
            .find(|worker| worker.sources.iter().any(is_it))
    }

    /// The worker that has this token: compared by hashes, in constant time.
    #[must_use]
    pub fn worker_with(&self, token: &str) -> Option<&WorkerEntry> {
        let token = blake3::hash(token.as_bytes());
        self.workers.iter().find(|worker| worker.token == token)
    }

    /// The folder of images and packages of this name. Names have no case.
    #[must_use]
    pub fn folder(&self, host: &str) -> Option<&FilesEntry> {
        self.files
            .iter()
            .find(|files| files.host.eq_ignore_ascii_case(host.trim()))
    }

    /// The names of the workers.
    pub fn workers(&self) -> impl Iterator<Item = &str> {
        self.workers.iter().map(|worker| worker.name.as_str())
    }

    /// Whether there are workers.
    #[must_use]
    pub fn has_workers(&self) -> bool {
        !self.workers.is_empty()
    }

    /// The source of this name, where it is reached from here. Names of hosts have no case.
    #[must_use]
    pub fn get(&self, host: &str) -> Option<&SourceEntry> {
        self.entries
            .iter()
            .find(|entry| entry.host.eq_ignore_ascii_case(host.trim()))
    }

    /// The names that there are.
    #[must_use]
    pub fn hosts(&self) -> Vec<&str> {
        let behind = self.workers.iter().flat_map(|worker| &worker.sources);
        let here = self.entries.iter().map(|entry| &entry.host);
        let files = self.files.iter().map(|files| &files.host);
        here.chain(files).chain(behind).map(String::as_str).collect()
    }
}

impl Entry {
    fn whole(self, path: &Path) -> Result<SourceEntry, SourcesError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let believe = match (&self.ca_file, &self.fingerprint, self.insecure) {
            (None, None, false) => Believe::SystemRoots,
            (Some(file), None, false) => Believe::CaFile(folder.join(file)),
            (None, Some(print), false) => Believe::Fingerprint(print.clone()),
            (None, None, true) => Believe::Anybody,
            _ => {
                let problem = "has more than one of ca_file, fingerprint and insecure: keep one of them";
                return Err(wrong(path, &self, problem));
            }
        };
        let vddk = self.vddk_keys().settings(folder);
        let vddk = vddk.map_err(|problem| wrong(path, &self, problem))?;
        let place = folder.join(&self.password_file);
        let text = std::fs::read_to_string(&place).map_err(reading(&place))?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        if password.is_empty() {
            let problem = format!("has an empty password: write it into {}", place.display());
            return Err(wrong(path, &self, problem));
        }
        warn_if_open(&place);
        Ok(SourceEntry {
            password: Secret::new(password),
            host: self.host,
            username: self.username,
            believe,
            quiesce: self.quiesce,
            vddk,
        })
    }

    fn vddk_keys(&self) -> VddkKeys {
        VddkKeys {
            libdir: self.vddk.clone(),
            transports: self.vddk_transports.clone(),
            nbdkit: self.nbdkit.clone(),
            plugin: self.vddk_plugin.clone(),
        }
    }
}

fn wrong(path: &Path, entry: &Entry, problem: impl Into<String>) -> SourcesError {
    SourcesError::Entry {
        path: path.to_owned(),
        host: entry.host.clone(),
        problem: problem.into(),
    }
}

pub(super) fn reading(path: &Path) -> impl FnOnce(std::io::Error) -> SourcesError {
    let path = path.to_owned();
    move |source| SourcesError::Read { path, source }
}

pub(super) fn warn_if_open(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = path.metadata().map(|found| found.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        tracing::warn!(file = %path.display(), "others can read this secret: chmod 600");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Sources, SourcesError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pw"), "hunter2\n").unwrap();
        std::fs::write(dir.path().join("empty"), "\n").unwrap();
        std::fs::write(dir.path().join("token"), "0123456789abcdef\n").unwrap();
        let path = dir.path().join("sources.toml");
        std::fs::write(&path, text).unwrap();
        Sources::read(&path)
    }

    const ONE: &str = "[[vsphere]]\nhost = \"vc\"\nusername = \"u\"\npassword_file = \"pw\"\n";

    #[test]
    fn a_source_is_found_by_its_name_and_its_password_is_not_shown() {
        let sources = read(ONE).unwrap();
        let entry = sources.get(" VC").unwrap();
        assert_eq!(
            (entry.password.reveal(), &entry.believe),
            ("hunter2", &Believe::SystemRoots)
        );
        assert!(!format!("{sources:?}").contains("hunter2"));
        assert!(sources.get("other").is_none());
        assert_eq!(sources.hosts(), ["vc"]);
    }

    const BEHIND: &str = "[[worker]]\nname = \"a\"\ntoken_file = \"token\"\nsources = [\"far\"]\n";

    #[test]
    fn a_source_behind_a_worker_is_found_with_the_worker_and_that_by_its_token() {
        let sources = read(&format!("{ONE}{BEHIND}")).unwrap();
        assert_eq!(sources.hosts(), ["vc", "far"]);
        assert_eq!(sources.worker_of("FAR").unwrap().name, "a");
        assert!(sources.worker_of("vc").is_none() && sources.get("far").is_none());
        assert_eq!(sources.worker_with("0123456789abcdef").unwrap().name, "a");
        assert!(sources.worker_with("0123456789abcdeg").is_none());
    }

    #[test]
    fn a_folder_of_files_is_found_by_its_name() {
        let sources = read("[[files]]\nhost = \"shelf\"\npath = \".\"\n").unwrap();
        assert_eq!(sources.hosts(), ["shelf"]);
        assert!(sources.folder("Shelf").is_some() && sources.get("shelf").is_none());
        let error = read("[[files]]\nhost = \"shelf\"\npath = \"nowhere\"\n").unwrap_err();
        assert!(error.to_string().contains("where nothing is"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_worker_is_said() {
        let short = BEHIND.replace("\"token\"", "\"empty\"");
        let both = format!("{ONE}{}", BEHIND.replace("far", "VC"));
        let twice = format!("{BEHIND}{}", BEHIND.replace("far", "near"));
        let same = format!(
            "{BEHIND}{}",
            BEHIND.replace("far", "near").replace("\"a\"", "\"b\"")
        );
        for (text, expected) in [
            (short, "shorter than"),
            (both, "keep one of the ways"),
            (twice, "there twice"),
            (same, "each needs its own"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn vmwares_library_is_used_where_it_is_named() {
        assert_eq!(read(ONE).unwrap().get("vc").unwrap().vddk, None);
        let named = read(&format!(
            "{ONE}vddk = \"/opt/vddk\"\nvddk_plugin = \"/p/vddk.so\"\n"
        ))
        .unwrap();
        let expected = VddkSettings {
            plugin: "/p/vddk.so".into(),
            ..VddkSettings::new("/opt/vddk".into())
        };
        assert_eq!(named.get("vc").unwrap().vddk, Some(expected));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_place() {
        let twice = format!("{ONE}{ONE}");
        let both = format!("{ONE}insecure = true\nfingerprint = \"AB\"\n");
        let unknown = format!("{ONE}pasword = \"x\"\n");
        let empty = ONE.replace("\"pw\"", "\"empty\"");
        let missing = ONE.replace("\"pw\"", "\"nowhere\"");
        let alone = format!("{ONE}nbdkit = \"nbdkit\"\n");
        for (text, expected) in [
            (alone, "`vc` has nbdkit without vddk"),
            (twice, "twice"),
            (both, "keep one of them"),
            (unknown, "not what it should be"),
            (empty, "empty password"),
            (missing, "nowhere"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
