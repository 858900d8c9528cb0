//! One strike: the daemon is armed, the operation is asked for, the blow falls, and then everything must come right.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use volume_client::client::{ClientError, IdempotencyKey};
use volume_client::types::{ErrorCode, Operation, OperationStatus, VolumeState};

use super::scenario::{Scenario, Subject, Way};
use super::{Figures, stray, world};
use crate::CloudSite;
use crate::cloudstack::{Fault, Hold};

/// Longer than a lost request stays in doubt, and than the daemon waits for a cloud.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

const CRASH: &str = "TEST_CRASH_AT";
const CRASH_LOG: &str = "TEST_CRASH_LOG";
const STORE_FAULT: &str = "TEST_STORE_FAULT";

/// The blow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arm {
    /// SIGKILL at this point, at the time named.
    Kill(String, u64),
    /// The database fails at this change of it and the two after, `full` or `busy`.
    Store(&'static str, u64),
    /// The cloud has this fault, one of [`CLOUD_FAULTS`], the first time that it is asked for the change.
    Cloud(&'static str),
    /// The cloud has this fault, and SIGKILL at this point.
    CloudAndKill(&'static str, String),
}

impl Arm {
    /// What kind of blow it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill(..) => "killed",
            Self::Store("busy", _) => "database busy",
            Self::Store(..) => "database full",
            Self::Cloud(fault) => fault,
            Self::CloudAndKill(..) => "a fault of the cloud, and killed",
        }
    }
}

/// What goes wrong between the daemon and the cloud: what is asked gets lost, what is answered gets lost or breaks off, it
/// comes late, it comes twice, it takes long.
pub const CLOUD_FAULTS: [&str; 6] = [
    "lost request",
    "lost answer",
    "garbled",
    "late",
    "doubled",
    "slow",
];

/// How late what is late comes.
const LATE: Duration = Duration::from_millis(900);

fn cloud_fault(name: &str) -> Fault {
    let late = || Hold::For(LATE);
    match name {
        "lost request" => Fault::LoseRequest,
        "lost answer" => Fault::LoseAnswer,
        "garbled" => Fault::Garbled,
        "late" => Fault::Delay(late()),
        "doubled" => Fault::Duplicate(late()),
        _ => Fault::Slow(late()),
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(point, time) => write!(f, "{point}#{time}"),
            Self::Store(kind, number) => write!(f, "store/write {kind}#{number}"),
            Self::Cloud(fault) => write!(f, "cloud/{fault}"),
            Self::CloudAndKill(fault, point) => write!(f, "{point} with {fault}"),
        }
    }
}

/// What an operation passes when nothing strikes it.
#[derive(Debug, Clone)]
pub struct Learned {
    /// The points, and how often each.
    pub points: BTreeMap<String, u64>,
    /// The numbers of its changes of the database.
    pub changes: RangeInclusive<u64>,
}

/// A site whose daemon is struck again and again.
#[derive(Debug)]
pub struct Matrix {
    site: CloudSite,
    strikes: u64,
    /// The operation of the strike before, and what the cloud had received when it had ended.
    ended: Option<(Operation, usize)>,
}

/// What became of a request.
enum Taken {
    Yes(Box<Operation>),
    Refused(ErrorCode),
    /// The daemon died, and nobody was told anything.
    Died,
}

/// How an operation came to its end.
enum End {
    /// It ended, and the daemon lives.
    Ended(Box<Operation>),
    /// The daemon died.
    Died,
}

impl Matrix {
    /// A site whose daemon does not run yet; `None`, loudly, where this is not root.
    pub async fn new() -> Option<Self> {
        let mut site = CloudSite::new().await?;
        let soon = ("VOLUMED_RECONCILE_ORPHAN_GRACE_SECONDS", "1".to_owned());
        site.daemon.setup.environment.push(soon);
        Some(Self {
            site,
            strikes: 0,
            ended: None,
        })
    }

    /// Does the operation once, and says what it passed.
    ///
    /// # Errors
    /// Where it went wrong all by itself.
    pub async fn learn(&mut self, scenario: Scenario) -> Result<Learned, String> {
        let log = self.log();
        self.arm([(CRASH_LOG, log.display().to_string())]);
        self.start().await?;
        let changes = || changes(&log);
        let subject = self.prepare(scenario).await;
        let first = changes() + 1;
        let held = scenario.set_course(&self.site, &subject).await;
        let key = IdempotencyKey::fresh();
        let taken = self.submit(scenario, &subject, &key).await?;
        let Taken::Yes(operation) = taken else {
            return Err(format!("{scenario:?} was not taken"));
        };
        let End::Ended(operation) = self.follow(&operation).await? else {
            return Err(format!("{scenario:?}: the daemon died by itself"));
        };
        // What comes later is clearing up.
        let last = changes();
        let mut points = BTreeMap::new();
        let ours = format!("{}/", scenario.name());
        for point in read(&log).into_iter().filter(|point| point.starts_with(&ours)) {
            *points.entry(point).or_default() += 1;
        }
        self.finish((scenario, None), subject, *operation, held).await?;
        Ok(Learned {
            points,
            changes: first..=last,
        })
    }

    /// Strikes once. The figures say what came of it.
    pub async fn strike(&mut self, scenario: Scenario, arm: &Arm) -> Figures {
        let mut figures = Figures::default();
        match self.struck(scenario, arm, &mut figures).await {
            Ok(end) => *figures.ends.entry(end).or_default() += 1,
            Err(what) => {
                figures
                    .violations
                    .push(format!("{scenario:?} struck by {arm:?}: {what}"));
                // Whatever it left behind would be blamed on the next strike.
                if let Some(fresh) = Self::new().await {
                    *self = fresh;
                }
            }
        }
        figures
    }

    async fn struck(
        &mut self,
        scenario: Scenario,
        arm: &Arm,
        figures: &mut Figures,
    ) -> Result<String, String> {
        let log = self.log();
        self.arm(match arm {
            Arm::Kill(point, time) => vec![(CRASH, format!("{point}#{time}"))],
            Arm::CloudAndKill(_, point) => vec![(CRASH, point.clone())],
            Arm::Store(kind, number) => vec![
                (STORE_FAULT, format!("{kind}#{number}")),
                (CRASH_LOG, log.display().to_string()),
            ],
            Arm::Cloud(_) => Vec::new(),
        });
        self.start().await?;
        let subject = self.prepare(scenario).await;
        let held = scenario.set_course(&self.site, &subject).await;
        if let Arm::Cloud(fault) | Arm::CloudAndKill(fault, _) = arm {
            self.site
                .cloud
                .faults()
                .next(scenario.command(), cloud_fault(fault));
        }
        let key = IdempotencyKey::fresh();
        let mut taken = self.submit(scenario, &subject, &key).await?;
        if let (Taken::Refused(code), Arm::Store(..)) = (&taken, arm) {
            // Refused cleanly; the same request is taken once the database is well.
            if !matches!(code, ErrorCode::StoreFull | ErrorCode::Internal) {
                return Err(format!("the failure of the database was answered with {code}"));
            }
            taken = self.submit_until_taken(scenario, &subject, &key).await?;
        }
        let mut end = match &taken {
            Taken::Yes(operation) => self.follow(operation).await?,
            Taken::Refused(code) => return Err(format!("it was refused: {code}")),
            Taken::Died => End::Died,
        };
        match (arm, &end) {
            (Arm::Kill(..) | Arm::CloudAndKill(..), End::Died) => {
                figures.kills += 1;
                self.site.daemon.ended().await;
                self.arm([]);
                self.start().await?;
                let again = match self.submit(scenario, &subject, &key).await? {
                    Taken::Yes(again) => again,
                    Taken::Refused(code) => {
                        return Err(format!("asked again under its key it was refused: {code}"));
                    }
                    Taken::Died => return Err("the daemon died once more".to_owned()),
                };
                if let Taken::Yes(seen) = &taken
                    && seen.id != again.id
                {
                    return Err(format!(
                        "the key led to another operation: {} and {}",
                        seen.id, again.id
                    ));
                }
                end = self.follow(&again).await?;
            }
            (Arm::Kill(..) | Arm::CloudAndKill(..), End::Ended(_)) => {
                figures.missed += 1;
                self.disarm().await?;
            }
            (Arm::Store(_, number), End::Ended(_)) => {
                match changes(&log) >= *number {
                    true => figures.store_faults += 1,
                    false => figures.missed += 1,
                }
                self.disarm().await?;
            }
            (Arm::Cloud(_), End::Ended(_)) => figures.cloud_faults += 1,
            (Arm::Store(..) | Arm::Cloud(_), End::Died) => {}
        }
        let End::Ended(operation) = end else {
            return Err("the daemon died without having been struck".to_owned());
        };
        let as_expected = match scenario.way {
            Way::Through | Way::Believed => operation.status == OperationStatus::Completed,
            // What had taken place before the blow need not be undone.
            Way::Refused | Way::Spoilt => operation.status != OperationStatus::Cancelled,
        };
        if !as_expected {
            return Err(format!("it ended otherwise: {operation:?}"));
        }
        if let Arm::Cloud(_) | Arm::CloudAndKill(..) = arm {
            // What is delayed or comes twice has come by then.
            tokio::time::sleep(LATE * 2).await;
        }
        let status = serde_json::to_value(operation.status).unwrap_or_default();
        let end = format!("{} {}", scenario.name(), status.as_str().unwrap_or_default());
        self.finish((scenario, Some(arm)), subject, *operation, held)
            .await?;
        Ok(end)
    }

    fn arm(&mut self, variables: impl IntoIterator<Item = (&'static str, String)>) {
        let environment = &mut self.site.daemon.setup.environment;
        environment.retain(|(name, _)| ![CRASH, CRASH_LOG, STORE_FAULT].contains(name));
        environment.extend(variables);
    }

    /// Starts the daemon anew without what it was armed with: a blow must not fall on what comes after.
    async fn disarm(&mut self) -> Result<(), String> {
        self.site.daemon.kill().await;
        self.arm([]);
        self.start().await
    }

    /// An empty log of the points that the daemon is going to pass.
    fn log(&self) -> PathBuf {
        let log = self.site.daemon.dir().join("crash-points");
        let _ = std::fs::remove_file(&log);
        log
    }

    /// Starts the daemon; what had ended before must be as it was, and the cloud must hear nothing new about it.
    async fn start(&mut self) -> Result<(), String> {
        self.site.daemon.start().await;
        let Some((before, received)) = self.ended.take() else {
            return Ok(());
        };
        let after = self.site.daemon.client().operation(before.id).await;
        let after = after.map_err(|error| format!("an operation that had ended is lost: {error}"))?;
        if after != before {
            return Err(format!(
                "an operation that had ended has changed: {before:?}, now {after:?}"
            ));
        }
        let now = self.changes_received();
        if now != received {
            return Err(format!(
                "a restart sent the cloud {} changes more",
                now - received
            ));
        }
        Ok(())
    }

    /// How many changes were asked of the cloud so far.
    fn changes_received(&self) -> usize {
        let is_change = |command: &str| !command.starts_with("list") && !command.starts_with("query");
        let received = self.site.cloud.snapshot().received;
        received.iter().filter(|one| is_change(&one.command)).count()
    }

    async fn prepare(&mut self, scenario: Scenario) -> Subject {
        self.strikes += 1;
        scenario
            .prepare(&self.site, &format!("struck-{}", self.strikes))
            .await
    }

    /// Asks until there is an answer.
    async fn submit(
        &mut self,
        scenario: Scenario,
        subject: &Subject,
        key: &IdempotencyKey,
    ) -> Result<Taken, String> {
        let client = self.site.daemon.client().with_idempotency_key(key.clone());
        let vm = self.site.cloud.vm_id().to_string();
        let began = Instant::now();
        loop {
            let error: ClientError = match scenario.submit(&client, &vm, subject).await {
                Ok(operation) => return Ok(Taken::Yes(Box::new(operation))),
                Err(error) => error,
            };
            if self.site.daemon.has_ended() {
                return Ok(Taken::Died);
            }
            match error.code() {
                Some(ErrorCode::NotReady | ErrorCode::OperationInProgress) | None => {}
                Some(code) => return Ok(Taken::Refused(code)),
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("nobody took it: {error}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn submit_until_taken(
        &mut self,
        scenario: Scenario,
        subject: &Subject,
        key: &IdempotencyKey,
    ) -> Result<Taken, String> {
        for _ in 0..10 {
            if let taken @ Taken::Yes(_) = self.submit(scenario, subject, key).await? {
                return Ok(taken);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err("it is refused although the database is well again".to_owned())
    }

    async fn follow(&mut self, operation: &Operation) -> Result<End, String> {
        let (began, client) = (Instant::now(), self.site.daemon.client());
        loop {
            if self.site.daemon.has_ended() {
                return Ok(End::Died);
            }
            if let Ok(seen) = client.operation(operation.id).await
                && seen.status.is_final()
            {
                // A blow at the very end may fall after the record says that all is over.
                tokio::time::sleep(Duration::from_millis(30)).await;
                return Ok(match self.site.daemon.has_ended() {
                    true => End::Died,
                    false => End::Ended(Box::new(seen)),
                });
            }
            if began.elapsed() > PATIENCE {
                let status = client.status().await.map(|status| status.operations);
                return Err(format!("it did not end within {PATIENCE:?}: {status:?}"));
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// What must hold once an operation has ended; then the daemon is killed, and its subject is gone.
    async fn finish(
        &mut self,
        (scenario, arm): (Scenario, Option<&Arm>),
        subject: Subject,
        operation: Operation,
        held: Option<std::fs::File>,
    ) -> Result<(), String> {
        drop(held);
        self.site.cloud.faults().disarm();
        self.site.cloud.change(|settings| settings.most_volumes = None);
        stray::attend(&self.site, scenario, arm).await?;
        let found = world::disagreements(&self.site).await;
        if !found.is_empty() {
            return Err(format!("{scenario:?}: {}", found.join("; ")));
        }
        self.clear(subject.name.as_str()).await?;
        let violations = self.site.cloud.violations();
        if !violations.is_empty() {
            return Err(format!(
                "rules of dealing with the cloud were broken: {violations:?}"
            ));
        }
        let last = self.site.daemon.client().operation(operation.id).await;
        let last = last.map_err(|error| format!("an operation that had ended is lost: {error}"))?;
        if last != operation {
            return Err(format!(
                "an operation that had ended has changed: {operation:?}, now {last:?}"
            ));
        }
        self.site.daemon.kill().await;
        self.ended = Some((operation, self.changes_received()));
        Ok(())
    }

    /// Detaches and deletes what there is: that this is possible is a part of what is asked for.
    async fn clear(&self, name: &str) -> Result<(), String> {
        let client = self.site.daemon.client();
        let said = |what: &str, error: ClientError| format!("cannot {what} {name} afterwards: {error}");
        let page = client
            .list_volumes(&Default::default(), &Default::default())
            .await;
        for volume in page.map_err(|error| said("list", error))?.items {
            let id = volume.id;
            if volume.state == VolumeState::InUse {
                let detached = client.detach_and_wait(id, PATIENCE).await;
                detached.map_err(|error| said("detach", error))?;
            }
            let snapshots = client.list_snapshots(id, &Default::default()).await;
            for snapshot in snapshots
                .map_err(|error| said("list the snapshots of", error))?
                .items
            {
                let deleted = client.delete_snapshot_and_wait(id, snapshot.id, PATIENCE).await;
                deleted.map_err(|error| said("delete a snapshot of", error))?;
            }
            let deleted = client.delete_and_wait(id, Some(&volume.name), PATIENCE).await;
            deleted.map_err(|error| said("delete", error))?;
        }
        self.site.cloud.stranger().purge();
        let left = world::disagreements(&self.site).await;
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("after all was deleted: {}", left.join("; "))),
        }
    }
}

/// How many changes of its database the daemon began.
fn changes(log: &Path) -> u64 {
    read(log).iter().filter(|point| *point == "store/write").count() as u64
}

fn read(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
