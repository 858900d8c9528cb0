//! Power cuts: the virtual appliance is killed under load again and again, and nothing that was acknowledged may be lost.
//!
//! ```text
//! guest:  cut-clients ── API ──► volumed ── fsync ──► virtio-blk ── flush ──► QEMU ── fdatasync ──► host
//!              └── every answer, before going on ──────────────────────────► host: the ledger
//! cut:    SIGKILL to QEMU; what was only in the guest's page cache is gone
//! then:   the same disk and the same cloud, booted again; the database judged by SQLite on the host before a daemon
//!         sees it; recovery; the same requests under the same keys; records, cloud and kernel compared
//! ```
//!
//! What is lost is the guest's memory with its page cache and the journal of its file system, which is what `fsync` is for. What the
//! guest had given to its disk is in the host's page cache and stays, flushed or not: a disk that forgets what it was not told
//! to flush is not imitated. That the attack can succeed is shown with `sabotage`, under which the daemon's SQLite syncs less.

mod listener;
mod records;
pub mod words;

use std::fmt;
use std::time::{Duration, Instant};

use volume_client::types::{Status, Volume, VolumeState};

use crate::virtual_machine::{MachineError, MachineSetup};
use crate::{Chance, SOCKET, VirtualSite, wait_until};
use listener::Listener;
use records::{Ledger, judge};
use words::{Orders, Word};

const DATABASE: &str = "/var/lib/volumed/volumed.db";

/// How many clients there are at once.
const LANES: usize = 4;

/// How many requests are repeated after each cut.
const REPLAYS: usize = 6;

/// How long recovery may take: a call in doubt is waited for until it has expired, under emulation.
const RECOVERY: Duration = Duration::from_secs(180);
/// How often is told what recovery still waits for.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many cuts.
    pub cuts: u64,
    /// With what chance begins.
    pub seed: u64,
    /// How often a machine is cut before another one is made.
    pub per_machine: u64,
    /// What SQLite's `synchronous` is set to instead, to show that acknowledgements can be lost.
    pub sabotage: Option<&'static str>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            cuts: 3,
            seed: 1,
            per_machine: 100,
            sabotage: None,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Cuts under load.
    pub cuts: u64,
    /// Of these, cuts that came while recovery from the one before was still at work.
    pub cuts_of_recovery: u64,
    /// Answers that the daemon gave and the host heard of.
    pub acknowledged: u64,
    /// Acknowledgements that a cut took back, and the cuts that did so.
    pub lost: Vec<String>,
    /// Cuts after which something was lost.
    pub losing_cuts: u64,
    /// Other things that were wrong: an unsound database, a completed operation undone, a key forgotten, views that differ.
    pub wrong: Vec<String>,
    /// Requests that were repeated under their keys, and answered with the same operation.
    pub repeated: u64,
    /// Machines that died by themselves.
    pub inconclusive: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} power cuts ({} of them during recovery), {} acknowledgements, {} lost at {} cuts, {} otherwise wrong; {} requests \
             repeated under their keys; {} machines inconclusive",
            self.cuts,
            self.cuts_of_recovery,
            self.acknowledged,
            self.lost.len(),
            self.losing_cuts,
            self.wrong.len(),
            self.repeated,
            self.inconclusive
        )
    }
}

/// Cuts until all cuts are done; `None`, loudly, where no machine can boot. `progress` is told after each cut.
///
/// # Panics
/// Where a machine fails in a way that is not the emulator's own death.
pub async fn cut(plan: &Plan, mut progress: impl FnMut(&Figures)) -> Option<Figures> {
    let (mut figures, mut chance) = (Figures::default(), Chance::from_seed(plan.seed));
    while figures.cuts < plan.cuts && figures.inconclusive <= 3 + plan.cuts / 50 {
        match machine(plan, &mut chance, &mut figures, &mut progress).await {
            Ok(Some(())) => {}
            Ok(None) => return None,
            Err(error) if error.is_inconclusive() => {
                eprintln!("a machine died after {} cuts: {error}", figures.cuts);
                figures.inconclusive += 1;
            }
            Err(error) => panic!("{figures}: {error}"),
        }
    }
    Some(figures)
}

/// One machine, and the ledger of what was acknowledged in it.
struct Scene {
    site: VirtualSite,
    listener: Listener,
    ledger: Ledger,
    sabotage: Option<&'static str>,
}

async fn machine(
    plan: &Plan,
    chance: &mut Chance,
    figures: &mut Figures,
    progress: &mut impl FnMut(&Figures),
) -> Result<Option<()>, MachineError> {
    let setup = MachineSetup {
        processors: 2,
        ..MachineSetup::default()
    };
    let Some(site) = VirtualSite::boot(setup).await? else {
        return Ok(None);
    };
    let mut scene = Scene {
        site,
        listener: Listener::start().await,
        ledger: Ledger::default(),
        sabotage: plan.sabotage,
    };
    scene.start_daemon().await?;
    let before = figures.acknowledged;
    for _ in 0..plan.per_machine {
        if figures.cuts >= plan.cuts {
            break;
        }
        scene.load_and_cut(chance, figures).await?;
        figures.acknowledged = before + scene.ledger.count();
        let is_last = figures.cuts >= plan.cuts;
        if !is_last && chance.below(4) == 0 {
            // Not waited for: the next load and the next cut come while recovery is at work.
            figures.cuts_of_recovery += 1;
        } else {
            scene.settle(figures).await?;
        }
        progress(figures);
        if plan.sabotage.is_some() && !figures.lost.is_empty() {
            // The cloud has what the records lost: nothing after that says anything more.
            break;
        }
    }
    Ok(Some(()))
}

impl Scene {
    async fn start_daemon(&self) -> Result<(), MachineError> {
        let sabotage = self.sabotage.map(|level| format!("TEST_SYNCHRONOUS={level}"));
        let environment: Vec<&str> = sabotage.as_deref().into_iter().collect();
        self.site.start_daemon_with("", &environment).await?;
        Ok(())
    }

    /// Has clients work until a moment by chance, takes the power away, and judges what is left.
    async fn load_and_cut(&mut self, chance: &mut Chance, figures: &mut Figures) -> Result<(), MachineError> {
        let orders = Orders {
            socket: SOCKET.into(),
            vm: self.site.cloud.vm_id().to_string(),
            host: format!("10.0.2.2:{}", self.listener.address.port()),
            lanes: (0..LANES).map(|lane| format!("lane{lane}-")).collect(),
            seed: chance.below(u64::MAX),
            replays: self.ledger.latest_taken(REPLAYS),
        };
        let orders = serde_json::to_string(&orders).unwrap();
        let command = self.site.machine.command(&["cut-clients", &orders]);
        let clients = command.start("/tmp/cut-clients.log").await?;
        let what = "a word of the clients in the guest";
        let heard = wait_until(what, RECOVERY, async || {
            if self.listener.count() > 0 {
                return Some(Ok(()));
            }
            match clients.is_running().await {
                Ok(true) => None,
                Ok(false) => panic!("the clients ended: {:?}", clients.log().await),
                Err(error) => Some(Err(error)),
            }
        });
        heard.await?;
        tokio::time::sleep(Duration::from_millis(1000 + chance.below(9000))).await;
        figures.cuts += 1;
        self.site.machine.power_cut().await?;
        let words = self.listener.hear_out().await;
        for word in &words {
            match word {
                Word::Repeated(told, Ok(operation)) if *operation == told.operation => figures.repeated += 1,
                Word::Repeated(told, other) => figures
                    .wrong
                    .push(format!("{told:?} was answered with {other:?}")),
                _ => {}
            }
        }
        self.ledger.note(words);
        self.judge(figures).await?;
        self.start_daemon().await
    }

    async fn judge(&self, figures: &mut Figures) -> Result<(), MachineError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volumed.db");
        std::fs::write(&path, self.site.machine.read_file(DATABASE).await?).unwrap();
        // Without a log all of it is in the database.
        match self.site.machine.read_file(&format!("{DATABASE}-wal")).await {
            Ok(log) => std::fs::write(dir.path().join("volumed.db-wal"), log).unwrap(),
            Err(MachineError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        let judgement = judge(&path, &self.ledger);
        figures.losing_cuts += u64::from(!judgement.lost.is_empty());
        figures.lost.extend(judgement.lost);
        figures.wrong.extend(judgement.wrong);
        Ok(())
    }

    /// Waits until recovery has ended, and compares the views.
    async fn settle(&self, figures: &mut Figures) -> Result<(), MachineError> {
        if self.sabotage.is_some() {
            return Ok(());
        }
        let (mut seen, mut told) = (None, Instant::now());
        let settled = async {
            loop {
                let status: Status = self.site.volumectl(&["status"]).await?;
                // What is over in a moment is not shown as a finding: the devices are asked for, too.
                let without = self.without_device().await?;
                if status.operations.is_empty() && status.findings.is_empty() && without.is_empty() {
                    return Ok::<_, MachineError>(());
                }
                seen = Some((status.operations, status.findings, without));
                if told.elapsed() > TELL_EVERY {
                    told = Instant::now();
                    eprintln!("recovery goes on: {seen:?}");
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        match tokio::time::timeout(RECOVERY, settled).await {
            Ok(settled) => settled?,
            Err(_) => figures.wrong.push(format!("recovery did not end: {seen:?}")),
        }
        Ok(())
    }

    /// The volumes that are in use and have no device that is shown, and what is said instead.
    async fn without_device(&self) -> Result<Vec<String>, MachineError> {
        let mut without = Vec::new();
        let volumes: Vec<Volume> = self.site.volumectl(&["volumes"]).await?;
        for volume in volumes.iter().filter(|volume| volume.state == VolumeState::InUse) {
            let id = volume.id.to_string();
            let device = self.site.try_volumectl(&["device", &id]).await?;
            if device.code != Some(0) {
                without.push(format!("volume {id} is in use and has no device: {device:?}"));
            }
        }
        Ok(without)
    }
}
