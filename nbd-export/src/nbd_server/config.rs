//! nbd-server's main configuration: ours to write, or an appliance's own that we only check.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    ExportError, ExportName, NbdAddress, NbdEndpoint, Tls,
    handshake::Dial,
    runtime::plain_absolute,
    tls::{AUTHORITY, SERVER_CERTIFICATE, SERVER_KEY, check_listen},
};

/// First line of every file that we may overwrite or remove.
pub(super) const MARKER: &str = "# written by nbd-export; changes are overwritten";

/// How a running server takes new exports up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reload {
    /// [`Reload::Signal`], but [`Reload::Replace`] for versions whose reload corrupts memory (3.20 to 3.24).
    #[default]
    Auto,
    /// SIGHUP; confirmed by opening *every* export, and followed by [`Reload::Replace`] if one does not open.
    Signal,
    /// A new master; the children of the old one go on serving.
    Replace,
}

/// Settings of the backend.
#[derive(Debug, Clone)]
pub struct NbdServerConfig {
    /// The program; found along `PATH` if not absolute.
    pub program: PathBuf,
    /// Main configuration. Written by us, unless one that is not ours is there: then it must include the drop-in
    /// directory and listen where `listen` says.
    pub base_config: PathBuf,
    /// One file per export, `NAME.conf`. Files of others are left alone, and served along while we export something.
    pub drop_in_dir: PathBuf,
    /// Private device nodes, one per export. Must not be on a file system mounted `nodev` (as `/run` often is).
    pub node_dir: PathBuf,
    /// Private directory (created with mode 0700) for lock, log and pid.
    pub runtime_dir: PathBuf,
    /// Where to listen.
    pub listen: NbdAddress,
    /// How connections are encrypted, and who may connect at all. Certificates only.
    pub tls: Option<Tls>,
    /// How new exports are taken up.
    pub reload: Reload,
}

impl Default for NbdServerConfig {
    fn default() -> Self {
        Self {
            program: "nbd-server".into(),
            base_config: "/etc/nbd-server/config-base".into(),
            drop_in_dir: "/etc/nbd-server/export.d".into(),
            node_dir: "/dev/nbd-export".into(),
            runtime_dir: "/run/nbd-export/nbd-server".into(),
            listen: NbdAddress::default(),
            tls: None,
            reload: Reload::default(),
        }
    }
}

impl NbdServerConfig {
    /// Refuses settings that could break out of a configuration line.
    pub(super) fn check(&self) -> Result<(), ExportError> {
        for path in [&self.base_config, &self.drop_in_dir, &self.node_dir] {
            plain_absolute(path)?;
        }
        if let Some(Tls::Keys { .. }) = &self.tls {
            let problem =
                "nbd-server has no pre-shared keys; use certificates, or qemu-storage-daemon".to_owned();
            return Err(ExportError::Config { problem });
        }
        check_listen(&self.listen, self.tls.as_ref())
    }

    /// How the server is dialled by us.
    pub(super) fn dial(&self) -> Result<Dial, ExportError> {
        Tls::dial(self.tls.as_ref(), &self.listen)
    }

    /// Where an export is.
    pub(super) fn endpoint(&self, name: &ExportName) -> NbdEndpoint {
        NbdEndpoint::served(&self.listen, self.tls.as_ref(), name)
    }

    /// Writes the main configuration, or checks the appliance's own.
    pub(super) fn settle_base(&self) -> Result<(), ExportError> {
        match fs::read_to_string(&self.base_config) {
            Ok(text) if text.lines().next() != Some(MARKER) => self.check_foreign(&text),
            Ok(text) if text == self.base() => Ok(()),
            Ok(_) => write_durably(&self.base_config, &self.base()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_durably(&self.base_config, &self.base())
            }
            Err(error) => Err(ExportError::io(format!("reading {}", self.base_config.display()))(error)),
        }
    }

    /// What `[generic]` says of us. nbd-server listens on the Unix socket only when `unixsock` is given without an address (seen
    /// with 3.24), and on every address there is when none is given. `force_tls` lets no option but `STARTTLS` pass in the clear;
    /// with `cacertfile` clients must have a certificate.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = match &self.listen {
            NbdAddress::Tcp(address) => vec![
                ("listenaddr", address.ip().to_string()),
                ("port", address.port().to_string()),
            ],
            NbdAddress::Unix(path) => vec![("unixsock", path.display().to_string())],
        };
        settings.push(("includedir", self.drop_in_dir.display().to_string()));
        settings.push(("allowlist", "true".to_owned()));
        if let Some(tls) = &self.tls {
            let file = |name: &str| tls.folder().join(name).display().to_string();
            settings.push(("certfile", file(SERVER_CERTIFICATE)));
            settings.push(("keyfile", file(SERVER_KEY)));
            settings.push(("cacertfile", file(AUTHORITY)));
            settings.push(("force_tls", "true".to_owned()));
        }
        settings
    }

    fn base(&self) -> String {
        let lines = self
            .settings()
            .into_iter()
            .map(|(key, value)| format!("    {key} = {value}\n"));
        format!("{MARKER}\n[generic]\n{}", lines.collect::<String>())
    }

    fn check_foreign(&self, text: &str) -> Result<(), ExportError> {
        for (key, value) in self.settings() {
            let default = (key == "port").then_some("10809");
            if generic(text, key).or(default) != Some(&value) {
                let base = self.base_config.display();
                let problem = format!("{base} is not ours and lacks \"{key} = {value}\" in [generic]");
                return Err(ExportError::Config { problem });
            }
        }
        Ok(())
    }
}

/// The value of a key in `[generic]`.
fn generic<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .map(str::trim)
        .skip_while(|line| *line != "[generic]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

/// Writes a file whole or not at all: a temporary name that does not end in `.conf`, so that a reload in between
/// does not read half of it, then fsync, rename, and fsync of the directory.
pub(super) fn write_durably(path: &Path, text: &str) -> Result<(), ExportError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    write().map_err(ExportError::io(format!("writing {}", path.display())))
}

pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appliances_own_configuration_is_checked_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let base_config = dir.path().join("config-base");
        let config = NbdServerConfig {
            base_config: base_config.clone(),
            ..NbdServerConfig::default()
        };
        let good = "[generic]\n  port = 10809\n listenaddr=127.0.0.1\n includedir = /etc/nbd-server/export.d\nallowlist=true\n[x]\nport = 1\n";
        for (text, fine) in [
            (good.to_owned(), true),
            (good.replace("10809", "10810"), false),
            (good.replace("export.d", "conf.d"), false),
            // On every address of the machine.
            (good.replace("listenaddr", "user"), false),
            (good.replace("[generic]", "[other]"), false),
        ] {
            fs::write(&base_config, &text).unwrap();
            assert_eq!(config.settle_base().is_ok(), fine, "{text}");
            assert_eq!(fs::read_to_string(&base_config).unwrap(), text);
        }
    }

    #[test]
    fn an_appliances_own_configuration_must_demand_tls_where_we_do() {
        let dir = tempfile::tempdir().unwrap();
        let config = NbdServerConfig {
            base_config: dir.path().join("config-base"),
            tls: Some(Tls::Certificates {
                folder: "/etc/pki".into(),
                hostname: None,
            }),
            ..NbdServerConfig::default()
        };
        let good = config.base().replace(MARKER, "# an appliance's");
        for (text, fine) in [
            (good.clone(), true),
            (good.replace("force_tls = true", "force_tls = false"), false),
            (good.replace("cacertfile", "# cacertfile"), false),
        ] {
            fs::write(&config.base_config, &text).unwrap();
            assert_eq!(config.settle_base().is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn settings_that_could_inject_configuration_are_refused() {
        for bad in ["relative", "/a\nb", "/a b", "/a/../b", "/a=b", "/a]"] {
            let config = NbdServerConfig {
                node_dir: bad.into(),
                ..NbdServerConfig::default()
            };
            assert!(config.check().is_err(), "{bad:?}");
        }
    }
}
