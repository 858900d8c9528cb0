//! The keys that there are: the default of each, and what it takes.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};
use toml::Value;

use super::layers::Values;
use super::{
    Config, Devices, Local, Log, LogFormat, LogLevel, Operations, Origin, Problem, Provider, Reconcile,
};
use super::{cloudstack, http};

/// Every key, but those of `cloudstack`, `http` and `tls`.
const KEYS: &[&str] = &[
    "database",
    "socket",
    "listen",
    "provider",
    "shutdown_grace_seconds",
    "local.root",
    "local.vm_id",
    "devices.loop_serials",
    "log.format",
    "log.level",
    "operations.concurrency",
    "operations.attach_timeout_seconds",
    "reconcile.orphan_grace_seconds",
    "reconcile.stuck_after_seconds",
    "reconcile.uses_every_seconds",
];

const PROVIDERS: &[(&str, Provider)] = &[("local", Provider::Local), ("cloudstack", Provider::CloudStack)];
const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

/// The names of all keys.
pub(super) fn every_key() -> impl Iterator<Item = &'static str> {
    KEYS.iter().chain(http::KEYS).chain(cloudstack::KEYS).copied()
}

/// Whether a table under this key holds keys.
pub(super) fn is_section(key: &str) -> bool {
    every_key().any(|known| known.split_once('.').is_some_and(|(section, _)| section == key))
}

/// The key that the environment variable `VOLUMED_` + `rest` sets.
pub(super) fn for_variable(rest: &str) -> Option<&'static str> {
    every_key().find(|key| key.replace('.', "_").to_uppercase() == rest)
}

/// Reads every key; what is wrong is added to `problems`. `None` where a value that must be there is wrong.
pub(super) fn read(values: Values, problems: &mut Vec<Problem>) -> Option<Config> {
    let mut reader = Reader { values, problems };
    let http = http::read(&mut reader);
    let listen = reader.listen(http.as_ref().is_some_and(|http| http.tls.is_some()));
    let socket = reader.socket(listen.as_ref().is_some_and(Option::is_some));
    let database = reader.path("database", "/var/lib/volumed/volumed.db");
    let provider = reader.choice("provider", "local", PROVIDERS);
    let grace = reader.seconds("shutdown_grace_seconds", 20, 1..=600);
    let (root, vm_id) = (
        reader.path("local.root", "/var/lib/volumed/volumes"),
        reader.vm_id(),
    );
    let cloudstack = cloudstack::read(&mut reader, provider == Some(Provider::CloudStack));
    let loop_serials = reader.switch("devices.loop_serials", false);
    let format = reader.choice("log.format", "text", FORMATS);
    let level = reader.choice("log.level", "info", LEVELS);
    let concurrency = reader.count("operations.concurrency", 8, 1..=256);
    let attach = reader.seconds("operations.attach_timeout_seconds", 120, 1..=3600);
    let reconcile = (
        reader.seconds("reconcile.orphan_grace_seconds", 300, 1..=86_400),
        reader.seconds("reconcile.stuck_after_seconds", 600, 1..=86_400),
        reader.seconds("reconcile.uses_every_seconds", 30, 1..=3600),
    );
    reader.refuse_the_rest();
    Some(Config {
        database: database?,
        socket: socket?,
        listen: listen?,
        provider: provider?,
        local: Local {
            root: root?,
            vm_id: vm_id?,
        },
        cloudstack: cloudstack?,
        devices: Devices {
            loop_serials: loop_serials?,
        },
        log: Log {
            format: format?,
            level: level?,
        },
        operations: Operations {
            concurrency: concurrency?,
            attach_timeout: attach?,
        },
        reconcile: Reconcile {
            orphan_grace: reconcile.0?,
            stuck_after: reconcile.1?,
            uses_every: reconcile.2?,
        },
        http: http?,
        shutdown_grace: grace?,
    })
}

/// Takes values out of the tree, one key after the other; what is left at the end is unknown.
pub(super) struct Reader<'p> {
    values: Values,
    problems: &'p mut Vec<Problem>,
}

impl Reader<'_> {
    fn bad(&mut self, key: &str, (value, origin): &(Value, Origin), allowed: impl Into<String>) {
        self.problems.push(Problem::Value {
            key: key.to_owned(),
            value: value.to_string(),
            origin: origin.clone(),
            allowed: allowed.into(),
        });
    }

    /// Says that a key has no value, and why it needs one.
    pub(super) fn missing(&mut self, key: &'static str, because: &'static str) {
        self.problems.push(Problem::Missing { key, because });
    }

    fn path(&mut self, key: &str, default: &str) -> Option<PathBuf> {
        self.optional_path(key).map(|path| path.unwrap_or(default.into()))
    }

    pub(super) fn optional_path(&mut self, key: &str) -> Option<Option<PathBuf>> {
        let Some(found) = self.values.remove(key) else {
            return Some(None);
        };
        let path = found.0.as_str().map(PathBuf::from).filter(|p| p.is_absolute());
        if path.is_none() {
            self.bad(key, &found, "an absolute path");
        }
        path.map(Some)
    }

    /// A text that may not be there.
    pub(super) fn text(&mut self, key: &str) -> Option<Option<String>> {
        self.checked_text(key, |_| Ok(()))
    }

    /// A text that may not be there, judged: what is wrong with it is said as what is allowed.
    pub(super) fn checked_text(
        &mut self,
        key: &str,
        judge: impl Fn(&str) -> Result<(), &'static str>,
    ) -> Option<Option<String>> {
        let Some(found) = self.values.remove(key) else {
            return Some(None);
        };
        let judged = match found.0.as_str() {
            Some(text) if !text.is_empty() && !text.chars().any(char::is_control) => {
                judge(text).map(|()| text.to_owned())
            }
            _ => Err("a text of printable characters"),
        };
        judged
            .map_err(|allowed| self.bad(key, &found, allowed))
            .ok()
            .map(Some)
    }

    pub(super) fn switch(&mut self, key: &str, default: bool) -> Option<bool> {
        let Some(found) = self.values.remove(key) else {
            return Some(default);
        };
        let switch = match (&found.0, &found.1) {
            (Value::Boolean(switch), _) => Some(*switch),
            (Value::String(text), Origin::Environment(_) | Origin::Flag(_)) => text.parse().ok(),
            _ => None,
        };
        if switch.is_none() {
            self.bad(key, &found, "true or false");
        }
        switch
    }

    pub(super) fn optional_number(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<Option<u64>> {
        if !self.values.contains_key(key) {
            return Some(None);
        }
        self.number(key, *range.start(), range).map(Some)
    }

    pub(super) fn number(&mut self, key: &str, default: u64, range: RangeInclusive<u64>) -> Option<u64> {
        let Some(found) = self.values.remove(key) else {
            return Some(default);
        };
        let number = match (&found.0, &found.1) {
            (Value::Integer(number), _) => u64::try_from(*number).ok(),
            (Value::String(text), Origin::Environment(_) | Origin::Flag(_)) => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let allowed = format!("a whole number from {} to {}", range.start(), range.end());
            self.bad(key, &found, allowed);
        }
        number
    }

    pub(super) fn count(&mut self, key: &str, default: u64, range: RangeInclusive<u64>) -> Option<usize> {
        self.number(key, default, range)
            .map(|n| usize::try_from(n).expect("the ranges of counts fit 32 bits"))
    }

    pub(super) fn seconds(
        &mut self,
        key: &str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Option<Duration> {
        self.number(key, default, range).map(Duration::from_secs)
    }

    pub(super) fn choice<T: Copy>(&mut self, key: &str, default: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = self
            .values
            .remove(key)
            .unwrap_or_else(|| (Value::String(default.to_owned()), Origin::Default));
        let chosen = choices.iter().find(|(name, _)| found.0.as_str() == Some(name));
        if chosen.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.bad(key, &found, names.join(", "));
        }
        chosen.map(|(_, value)| *value)
    }

    /// Where TLS is spoken, any address may be listened on.
    fn listen(&mut self, is_tls: bool) -> Option<Option<SocketAddr>> {
        let Some(found) = self.values.remove("listen") else {
            return Some(None);
        };
        let address = found.0.as_str().and_then(|text| text.parse::<SocketAddr>().ok());
        match address {
            Some(address) if is_tls || address.ip().is_loopback() => Some(Some(address)),
            Some(_) => {
                let allowed = "a loopback address such as 127.0.0.1:8090; any other needs TLS and tokens: set \
                               `tls.certificate` and `tls.key`";
                self.bad("listen", &found, allowed);
                None
            }
            None => {
                self.bad("listen", &found, "an address and a port, such as 127.0.0.1:8090");
                None
            }
        }
    }

    fn socket(&mut self, listens: bool) -> Option<Option<PathBuf>> {
        match self.values.get("socket") {
            Some((Value::String(text), _)) if text.is_empty() && listens => {
                self.values.remove("socket");
                Some(None)
            }
            Some((Value::String(text), _)) if text.is_empty() => {
                let found = self.values.remove("socket")?;
                self.bad(
                    "socket",
                    &found,
                    "an absolute path, or empty where `listen` is given",
                );
                None
            }
            _ => self.path("socket", "/run/volumed/volumed.sock").map(Some),
        }
    }

    fn vm_id(&mut self) -> Option<String> {
        let Some(found) = self.values.remove("local.vm_id") else {
            return Some(vm_id_of(
                std::fs::read_to_string("/etc/machine-id").ok().as_deref(),
            ));
        };
        let text = found.0.as_str().filter(|text| is_vm_id(text)).map(str::to_owned);
        if text.is_none() {
            self.bad(
                "local.vm_id",
                &found,
                "1 to 128 characters of letters, digits and `._-`",
            );
        }
        text
    }

    fn refuse_the_rest(&mut self) {
        for (key, (_, origin)) in std::mem::take(&mut self.values) {
            let key = match &origin {
                Origin::Environment(name) => name.clone(),
                _ => key,
            };
            self.problems.push(Problem::UnknownKey {
                key,
                origin,
                known: every_key().collect::<Vec<_>>().join(", "),
            });
        }
    }
}

fn is_vm_id(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=128).contains(&text.len()) && text.chars().all(is_plain)
}

/// A name for this machine that is the same after each boot: machine-id(5) asks that its id be hashed before it is shown.
pub(super) fn vm_id_of(machine_id: Option<&str>) -> String {
    let Some(id) = machine_id.map(str::trim).filter(|id| !id.is_empty()) else {
        return "local".to_owned();
    };
    let digest = Sha256::digest(format!("volumed {id}"));
    let hex: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("local-{hex}")
}
