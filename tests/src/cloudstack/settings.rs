//! How a server is set up, and what of it can be changed while it runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::Hypervisor;

/// What a server starts with.
#[derive(Clone)]
pub struct Setup {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// The UUID of the first VM; one by chance where nothing is given.
    pub vm: Option<Uuid>,
    /// The hypervisor of the first VM.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// Where the volumes' files are made; in a directory of its own, removed at the end, where nothing is given.
    pub storage: Option<PathBuf>,
    /// The rest, which can be changed later.
    pub settings: Settings,
}

/// What can be changed while the server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `wait.detach.device`: how long a detach waits for the guest.
    pub detach_patience: Duration,
    /// How long an unplug that the guest has not followed stands in the way of another: for ever with some QEMUs; newer ones forget
    /// it after 5 s, because a guest that boots misses it.
    pub unplug_pends: Duration,
    /// `maxdatavolumeslimit` of the hypervisor.
    pub most_data_volumes: u32,
    /// `max.account.volumes`, root disks counted; none is no limit.
    pub most_volumes: Option<usize>,
    /// Whether `customjobid` is known.
    pub job_ids: JobIds,
    /// `enforce.post.requests.and.timestamps`.
    pub enforcement: Enforcement,
    /// Whether expired requests are refused.
    pub expiry: Expiry,
    /// `api.throttling`; administrators are exempt.
    pub rate_limit: Option<RateLimit>,
    /// Whether new jobs are taken.
    pub service: Service,
}

/// Who chooses the ids of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobIds {
    /// The caller may, by `customjobid`.
    OfTheCaller,
    /// The server does; `customjobid` is a parameter that it does not know, and ignores.
    OfTheServer,
}

/// What the server insists upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// Changes may come by GET, and without signature version 3.
    None,
    /// Changes must be posted, and everything signed must expire.
    PostAndTimestamps,
}

/// What `expires` is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// It is honoured.
    Honoured,
    /// It is not: no server is known to do that, and a client should not lose data to it either.
    Ignored,
}

/// So many calls of an account in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// `api.throttling.max`.
    pub calls: u32,
    /// `api.throttling.interval`.
    pub interval: Duration,
}

/// Whether the server takes jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// It does.
    Open,
    /// It prepares for maintenance: 503 to every new job.
    Maintenance,
}

impl Setup {
    /// A server on a free port of the loopback interface, with one VM on this hypervisor.
    #[must_use]
    pub fn on(hypervisor: Arc<dyn Hypervisor>) -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            vm: None,
            hypervisor,
            storage: None,
            settings: Settings::default(),
        }
    }
}

impl Default for Settings {
    /// As CloudStack comes, on a hypervisor without a row of its own: 10 s for a detach, six data disks.
    fn default() -> Self {
        Self {
            detach_patience: Duration::from_secs(10),
            unplug_pends: Duration::MAX,
            most_data_volumes: 6,
            most_volumes: None,
            job_ids: JobIds::OfTheCaller,
            enforcement: Enforcement::None,
            expiry: Expiry::Honoured,
            rate_limit: None,
            service: Service::Open,
        }
    }
}
