//! One daemon under the bench, with its cloud, its volumes and those who wait at it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::TryStreamExt as _;
use volume_client::client::{OperationFilter, VolumeFilter};
use volume_client::types::{Cursor, NewVolume, OperationId, Volume, VolumeId};

use super::Plan;
use super::crowd::Crowd;
use super::question::{self, Question};
use super::traffic::Traffic;
use crate::cloudstack::{Fault, Gate, Hold};
use crate::footprint::Footprint;
use crate::recovery_bench::filling::fill;
use crate::{Chance, CloudSite, Raw, wait_until};

/// Connections beside those who wait: who asks, who causes events, the guide.
const SPARE_CONNECTIONS: u32 = 64;

/// When an event came, counted from the request that caused it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) first_ms: f64,
    pub(super) last_ms: f64,
}

/// The daemon.
pub(super) struct Subject {
    pub(super) volumes: u32,
    attached: Vec<VolumeId>,
    all: Vec<VolumeId>,
    ended: OperationId,
    raw: Raw,
    turn: usize,
    // Before the site: who waits goes before the daemon does.
    crowd: Option<Crowd>,
    gate: Gate,
    site: CloudSite,
}

impl Subject {
    /// Starts a daemon with so many volumes; `None` where this is not root.
    pub(super) async fn make(plan: &Plan, volumes: u32) -> Result<Option<Self>> {
        let attached = plan.attached.min(volumes).max(1);
        let disks = |setup: &mut crate::cloudstack::Setup| setup.settings.most_data_volumes = attached + 1;
        let Some(mut site) = CloudSite::with(disks).await else {
            return Ok(None);
        };
        let setup = &mut site.daemon.setup;
        setup.program.clone_from(&plan.daemon);
        let connections = 2 * plan.streams + SPARE_CONNECTIONS;
        let key = "VOLUMED_HTTP_CONNECTIONS";
        setup.environment.push((key, connections.to_string()));
        setup.environment.push(("VOLUMED_LOG_LEVEL", "warn".to_owned()));
        // Once for the database and the installation's id.
        site.daemon.start().await;
        site.daemon.stop().await;
        fill(&site, volumes).await?;
        site.daemon.start().await;
        let client = site.daemon.client();
        let all: Vec<Volume> = client
            .list_all_volumes(VolumeFilter::default())
            .try_collect()
            .await?;
        let all: Vec<VolumeId> = all.iter().map(|volume| volume.id).collect();
        // Spread over all of them.
        let apart = all.len() / attached as usize;
        let chosen: Vec<_> = all
            .iter()
            .step_by(apart)
            .take(attached as usize)
            .copied()
            .collect();
        for &id in &chosen {
            site.daemon.attach(id).await;
        }
        let (everything, first_page) = (OperationFilter::default(), Cursor::default());
        let operations = client.list_operations(&everything, &first_page).await?;
        let ended = operations.items.first().context("there were attaches")?.id;
        Ok(Some(Self {
            volumes,
            attached: chosen,
            all,
            ended,
            raw: site.daemon.raw(),
            turn: 0,
            crowd: None,
            gate: Gate::default(),
            site,
        }))
    }

    pub(super) fn attached(&self) -> u32 {
        u32::try_from(self.attached.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn footprint(&self) -> Result<Footprint> {
        Footprint::of(self.site.daemon.pid())
    }

    /// Asks the question as often as it is asked in a round: how long each answer took, in milliseconds.
    pub(super) async fn ask(&mut self, question: Question) -> Result<Vec<f64>> {
        let mut took = Vec::new();
        for _ in 0..question.times() {
            self.turn += 1;
            let of = |ids: &[VolumeId]| ids[self.turn * 7919 % ids.len()];
            took.push(match question {
                Question::Device => {
                    let path = format!("/api/v1/volumes/{}/device", of(&self.attached));
                    question::one(&self.raw, &path).await?
                }
                Question::Volume => {
                    let path = format!("/api/v1/volumes/{}", of(&self.all));
                    question::one(&self.raw, &path).await?
                }
                Question::Operation => {
                    let path = format!("/api/v1/operations/{}", self.ended);
                    question::one(&self.raw, &path).await?
                }
                Question::Page => question::one(&self.raw, "/api/v1/volumes").await?,
                Question::Walk => question::walk(&self.raw).await?,
            });
        }
        Ok(took)
    }

    /// Queues the operations behind a cloud that holds them up, and has the crowd gather.
    pub(super) async fn load(&mut self, plan: &Plan) -> Result<()> {
        let held = Fault::Slow(Hold::Until(self.gate.clone()));
        let faults = self.site.cloud.faults();
        faults.by_chance("createVolume", 1000, held, &mut Chance::from_seed(1));
        let client = self.site.daemon.client();
        let mut queued = Vec::new();
        for n in 0..plan.queued {
            let new = NewVolume {
                name: format!("queued-{n}"),
                size_bytes: 1 << 30,
                source: None,
            };
            queued.push(client.create_volume(&new).await?.id);
        }
        let socket = &self.site.daemon.setup.socket;
        self.crowd = Some(Crowd::gather(socket, &self.raw, plan.streams, &queued).await?);
        let expected = 2 * plan.streams as usize;
        let what = format!("{expected} connections");
        wait_until(&what, Duration::from_secs(60), async || {
            let there = self.footprint().ok()?.descriptors;
            (there > expected).then_some(())
        })
        .await;
        let open = client.status().await?.counts.open_operations;
        ensure!(open == u64::from(plan.queued), "{open} operations are queued");
        Ok(())
    }

    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            client: self.site.daemon.client(),
            volume: self.attached[0],
        }
    }

    fn crowd(&self) -> &Crowd {
        self.crowd.as_ref().expect("the load is on")
    }

    /// Causes so many events, one after another, and tells when each came to the streams.
    pub(super) async fn tell_all(&self, events: u32) -> Result<Vec<Arrival>> {
        let (crowd, traffic) = (self.crowd(), self.traffic());
        // One lease, so that the latest number is known.
        let before = crowd.latest();
        traffic.twice(async || ()).await?;
        self.known(before + 2).await;
        let mut arrivals = Vec::new();
        for _ in 0..events {
            let next = crowd.latest() + 1;
            crowd.expect(next);
            let began = Instant::now();
            let mut arrived = None;
            traffic
                .twice(async || arrived = crowd.arrived().await.ok())
                .await?;
            let (first, last) = arrived.context("an event did not come to every stream")?;
            arrivals.push(Arrival {
                first_ms: (first - began).as_secs_f64() * 1e3,
                last_ms: (last - began).as_secs_f64() * 1e3,
            });
            self.known(next + 1).await;
        }
        Ok(arrivals)
    }

    /// Causes at least so many events while nobody reads: what the daemon takes then, and how many streams were told
    /// everything in order afterwards.
    pub(super) async fn stall(&self, events: u32) -> Result<(Footprint, u32)> {
        let (crowd, traffic) = (self.crowd(), self.traffic());
        let before = crowd.latest();
        crowd.pause();
        for _ in 0..events.div_ceil(2) {
            traffic.twice(async || ()).await?;
        }
        self.known(before + i64::from(events)).await;
        let unread = self.footprint()?;
        // The streams meet it late: those who read on at once have met it already where it came early.
        crowd.resume();
        let last = crowd.latest() + 1;
        crowd.expect(last);
        traffic.twice(async || ()).await?;
        crowd.arrived().await?;
        Ok((unread, crowd.in_order()))
    }

    /// Waits until the guide has seen this number.
    async fn known(&self, number: i64) {
        let what = format!("event {number}");
        wait_until(&what, Duration::from_secs(30), async || {
            (self.crowd().latest() >= number).then_some(())
        })
        .await;
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.crowd = None;
        self.gate.open();
    }
}
