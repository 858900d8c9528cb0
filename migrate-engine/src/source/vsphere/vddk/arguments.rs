//! What nbdkit is told: its own options, then those of the plugin and the filters. Pure.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::{VddkLogin, VddkPlace};
use crate::config::VddkSettings;

/// The port that VMware's library takes by itself.
const HTTPS: u16 = 443;

/// The filters, the outermost first. The one that opens the disk anew has to be next to the plugin, and the one that ends nbdkit
/// has to be told of the end of a connection before the plugin is.
pub(super) const FILTERS: [&str; 4] = ["exitwhen", "cacheextents", "blocksize", "retry"];

/// Where the server does what.
pub(super) struct Paths<'a> {
    pub(super) socket: &'a Path,
    pub(super) pidfile: &'a Path,
    pub(super) password: &'a Path,
    /// Whose coming asks it to end.
    pub(super) end: &'a Path,
}

pub(super) fn filters() -> impl Iterator<Item = String> {
    FILTERS.iter().map(|filter| format!("--filter={filter}"))
}

pub(super) fn libdir(settings: &VddkSettings) -> OsString {
    with("libdir=", &settings.libdir)
}

/// All arguments. The disk is named by its key, because a bare one with `=` in it could be taken for another key.
pub(super) fn of(
    settings: &VddkSettings,
    login: &VddkLogin,
    place: &VddkPlace,
    paths: &Paths<'_>,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--foreground".into(), "--readonly".into()];
    arguments.push(with("--unix=", paths.socket));
    arguments.push(with("--pidfile=", paths.pidfile));
    arguments.extend(filters().map(OsString::from));
    arguments.push(settings.plugin.clone().into());
    arguments.push(libdir(settings));
    arguments.push(with("server=", login.server.host()));
    if login.server.port() != HTTPS {
        arguments.push(format!("port={}", login.server.port()).into());
    }
    arguments.push(with("user=", login.credentials.username()));
    arguments.push(with("password=+", paths.password));
    arguments.push(format!("thumbprint={}", login.thumbprint).into());
    arguments.push(format!("vm=moref={}", place.machine).into());
    arguments.push(format!("snapshot={}", place.snapshot).into());
    arguments.push(format!("transports={}", settings.transports).into());
    // Zeroes do not travel.
    arguments.push("compression=skipz".into());
    // The library reads whole sectors; more than 2 MiB at once is more than a host's buffers may hold ("NFC error 5").
    arguments.extend(["minblock=512", "maxdata=2M"].map(OsString::from));
    arguments.push(with("exit-when-file-created=", paths.end));
    // Looked at where a connection ends, and never between: before 1.32.5, to look while there is one is a deadlock.
    arguments.push("exit-when-poll=1000000000".into());
    // Half a minute in all.
    arguments.extend(["retries=4", "retry-delay=2"].map(OsString::from));
    arguments.push(with("file=", &place.file));
    arguments
}

fn with(key: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut argument = OsString::from(key);
    argument.push(value);
    argument
}
