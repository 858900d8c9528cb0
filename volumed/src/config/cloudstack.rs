//! The section `cloudstack`: where the management server is, what volumes are made of, and how the provider asks.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::keys::Reader;

/// The provider `cloudstack`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudStack {
    /// The address of the API: `https://cloud.example.org/client/api`.
    pub url: String,
    /// The file with `api_key` and `secret_key`; `None` for the systemd credential `cloudstack`.
    pub credentials_file: Option<PathBuf>,
    /// The zone, by name or id.
    pub zone: String,
    /// The disk offering that volumes are made of, by name or id; its size is custom.
    pub disk_offering: String,
    /// The project that volumes and VM belong to, by name or id; `None` where they belong to the account.
    pub project: Option<String>,
    /// The id of the VM that this daemon runs in; `None` where the firmware tells it.
    pub vm_id: Option<String>,
    /// By what a volume is recognised.
    pub identity: VolumeIdentity,
    /// The certificates to trust (PEM) instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How often a job is asked for; grows mildly while it lasts.
    pub poll_interval: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// How long a signature is good for: a request that arrives later does nothing.
    pub expiry: Duration,
    /// How many data disks a VM can have; `None` where the server is to be asked.
    pub max_data_disks: Option<u64>,
    /// Clocks that differ by more stop every change.
    pub max_clock_skew: Duration,
}

/// By what a volume is recognised in the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeIdentity {
    /// By the serial that CloudStack gives the disk on KVM.
    Serial,
    /// By nothing that is known beforehand: other hypervisors pass no serial on.
    Appearance,
}

impl CloudStack {
    /// A provider at `url` with the defaults.
    #[must_use]
    pub fn new(url: impl Into<String>, zone: impl Into<String>, disk_offering: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            credentials_file: None,
            zone: zone.into(),
            disk_offering: disk_offering.into(),
            project: None,
            vm_id: None,
            identity: VolumeIdentity::Serial,
            ca_file: None,
            poll_interval: Duration::from_secs(2),
            request_timeout: Duration::from_secs(60),
            expiry: Duration::from_secs(60),
            max_data_disks: None,
            max_clock_skew: Duration::from_secs(30),
        }
    }
}

/// The keys of the section.
pub(super) const KEYS: &[&str] = &[
    "cloudstack.url",
    "cloudstack.credentials_file",
    "cloudstack.zone",
    "cloudstack.disk_offering",
    "cloudstack.project",
    "cloudstack.vm_id",
    "cloudstack.identity",
    "cloudstack.ca_file",
    "cloudstack.allow_http",
    "cloudstack.poll_interval_ms",
    "cloudstack.request_timeout_seconds",
    "cloudstack.expiry_seconds",
    "cloudstack.max_data_disks",
    "cloudstack.max_clock_skew_seconds",
];

const IDENTITIES: &[(&str, VolumeIdentity)] = &[
    ("serial", VolumeIdentity::Serial),
    ("appearance", VolumeIdentity::Appearance),
];

/// Reads the section. What must be there may be missing where another provider is used: then it is `Some(None)`.
pub(super) fn read(reader: &mut Reader<'_>, is_used: bool) -> Option<Option<CloudStack>> {
    let allow_http = reader.switch("cloudstack.allow_http", false);
    let url = reader.checked_text("cloudstack.url", |url| judge_url(url, allow_http == Some(true)));
    let credentials_file = reader.optional_path("cloudstack.credentials_file");
    let zone = reader.text("cloudstack.zone");
    let disk_offering = reader.text("cloudstack.disk_offering");
    let project = reader.text("cloudstack.project");
    let vm_id = reader.checked_text("cloudstack.vm_id", judge_uuid);
    let identity = reader.choice("cloudstack.identity", "serial", IDENTITIES);
    let ca_file = reader.optional_path("cloudstack.ca_file");
    let poll = reader.number("cloudstack.poll_interval_ms", 2000, 20..=60_000);
    let request_timeout = reader.seconds("cloudstack.request_timeout_seconds", 60, 1..=600);
    let expiry = reader.seconds("cloudstack.expiry_seconds", 60, 2..=600);
    let max_data_disks = reader.optional_number("cloudstack.max_data_disks", 1..=256);
    let max_clock_skew = reader.seconds("cloudstack.max_clock_skew_seconds", 30, 1..=600);
    if is_used {
        let required = [
            ("cloudstack.url", &url),
            ("cloudstack.zone", &zone),
            ("cloudstack.disk_offering", &disk_offering),
        ];
        for (key, value) in required {
            if matches!(value, Some(None)) {
                reader.missing(key, "`provider` is \"cloudstack\"");
            }
        }
    }
    let (Some(url), Some(zone), Some(disk_offering)) = (url?, zone?, disk_offering?) else {
        return (!is_used).then_some(None);
    };
    let settings = CloudStack {
        url,
        credentials_file: credentials_file?,
        zone,
        disk_offering,
        project: project?,
        vm_id: vm_id?,
        identity: identity?,
        ca_file: ca_file?,
        poll_interval: Duration::from_millis(poll?),
        request_timeout: request_timeout?,
        expiry: expiry?,
        max_data_disks: max_data_disks?,
        max_clock_skew: max_clock_skew?,
    };
    Some(is_used.then_some(settings))
}

/// What is wrong with an address, if anything. Without TLS anybody on the way can read the answers and repeat a request.
fn judge_url(url: &str, allow_http: bool) -> Result<(), &'static str> {
    let rest = match url.split_once("://") {
        Some(("https", rest)) => rest,
        Some(("http", rest)) if allow_http || is_loopback(rest) => rest,
        Some(("http", _)) => {
            return Err(
                "an https:// address; http:// to another machine takes `cloudstack.allow_http = true`",
            );
        }
        _ => return Err("the address of the API, such as https://cloud.example.org/client/api"),
    };
    if rest.contains(['?', '#', '@']) || rest.starts_with('/') || rest.is_empty() {
        return Err("an address without user, query and fragment");
    }
    Ok(())
}

fn is_loopback(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn judge_uuid(text: &str) -> Result<(), &'static str> {
    match uuid::Uuid::parse_str(text) {
        Ok(id) if id.hyphenated().to_string() == text => Ok(()),
        _ => Err("a UUID in lower case, as the API shows it"),
    }
}
