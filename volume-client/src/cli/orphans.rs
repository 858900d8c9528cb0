//! `volumectl findings`, `orphans`, `reconcile`: what does not agree, and what is ordered about it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use clap::Subcommand;
use futures_util::TryStreamExt;

use super::Session;
use super::args::{Wait, Yes};
use super::failure::Failure;
use super::table::{Table, cut, facts, maybe, plain, time, word};
use crate::types::{
    AdoptVolume, Finding, FindingId, FindingRepair, IgnoreFinding, Operation, ReconcileReport,
    ReconcileRequest, RepairStatus,
};

/// How many rows of one type are shown where not all are asked for.
const MOST: usize = 10;

#[derive(Debug, Subcommand)]
pub(super) enum OrphansVerb {
    /// List what does not agree, the worst first
    List {
        /// Show every row, however many there are of one type
        #[arg(long)]
        all: bool,
    },
    /// Show one finding whole
    Show {
        /// Its id
        finding: FindingId,
    },
    /// Do what mends a finding, where the daemon can
    Repair {
        /// Its id
        finding: FindingId,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        wait: Wait,
    },
    /// Make a record of a volume that the cloud has, and take its device over where it is attached here
    Adopt {
        /// The finding's id, or the cloud's own id of the volume
        volume: String,
        /// The name that it is to have here
        #[arg(long)]
        name: String,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        wait: Wait,
    },
    /// Pass a finding over: it stays listed, and nothing is done about it
    Ignore {
        /// Its id
        finding: FindingId,
        /// Why, for those who come after you
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Heed a finding again that was passed over
    #[command(visible_alias = "unignore")]
    Heed {
        /// Its id
        finding: FindingId,
    },
}

impl Session {
    pub(super) async fn findings(&self) -> Result<(), Failure> {
        self.list_findings(false).await
    }

    pub(super) async fn orphans(&self, verb: Option<OrphansVerb>) -> Result<(), Failure> {
        match verb {
            None => self.list_findings(false).await,
            Some(OrphansVerb::List { all }) => self.list_findings(all).await,
            Some(OrphansVerb::Show { finding }) => {
                let finding = self.client.finding(&finding).await?;
                self.out.show(&finding, describe)
            }
            Some(OrphansVerb::Repair { finding, yes, wait }) => self.repair(&finding, yes, wait).await,
            Some(OrphansVerb::Adopt {
                volume,
                name,
                yes,
                wait,
            }) => self.adopt(&volume, name, yes, wait).await,
            Some(OrphansVerb::Ignore { finding, why }) => {
                let ignored = self
                    .client
                    .ignore_finding(&finding, &IgnoreFinding { why })
                    .await?;
                self.out.show(&ignored, |finding| {
                    format!("passed over from now on: {} {}", finding.id, word(finding.kind))
                })
            }
            Some(OrphansVerb::Heed { finding }) => {
                self.client.heed_finding(&finding).await?;
                self.out.show(&finding, |id| format!("heeded from now on: {id}"))
            }
        }
    }

    async fn list_findings(&self, all: bool) -> Result<(), Failure> {
        let mut findings: Vec<Finding> = self.client.list_all_findings().try_collect().await?;
        findings.sort_by_key(|finding| (Reverse(finding.severity), word(finding.kind), finding.since));
        self.out.show(&findings, |findings| {
            let most = if all { usize::MAX } else { MOST };
            rows(findings, most)
        })
    }

    async fn repair(&self, id: &FindingId, yes: Yes, wait: Wait) -> Result<(), Failure> {
        let finding = self.client.finding(id).await?;
        // What the daemon cannot do it refuses, with what a person can.
        if let Some(proposal) = finding.proposal.filter(|one| *one != FindingRepair::Adopt) {
            let what = what_is_done(proposal);
            let about = plain(&about(&finding));
            yes.consent().obtain(&format!("This {what} ({about}). Go on?"))?;
        }
        let started = self.client.repair_finding(id).await?;
        match started.operation {
            Some(operation) => self.finish(operation, wait, ended).await,
            None => self.out.show(&started, |started| plain(&started.message)),
        }
    }

    async fn adopt(&self, volume: &str, name: String, yes: Yes, wait: Wait) -> Result<(), Failure> {
        let provider_volume_id = match volume.parse::<FindingId>() {
            Ok(id) => self.provider_volume_of(&id).await?,
            Err(_) => volume.to_owned(),
        };
        yes.consent().obtain(&format!(
            "This makes a record of volume {} of the cloud under the name {}, and where it is attached to this VM takes its \
             device over. Nothing on it is changed. Go on?",
            plain(&provider_volume_id),
            plain(&name)
        ))?;
        let adopt = AdoptVolume {
            provider_volume_id,
            name,
        };
        let operation = self.client.adopt_volume(&adopt).await?;
        self.finish(operation, wait, |done| match done.attach_response() {
            Some(response) => plain(&format!(
                "adopted as {}: {}",
                done.volume_id, response.device_path
            )),
            None => format!("adopted as {}", done.volume_id),
        })
        .await
    }

    async fn provider_volume_of(&self, id: &FindingId) -> Result<String, Failure> {
        let finding = self.client.finding(id).await?;
        finding.provider_volume_id.ok_or_else(|| Failure::Selection {
            error: format!("finding {id} is not about a volume that has no record"),
            hint: Some(format!("`volumectl orphans show {id}` says what it is about")),
        })
    }

    pub(super) async fn reconcile(&self, dry_run: bool) -> Result<(), Failure> {
        let report = self.client.reconcile(ReconcileRequest { dry_run }).await?;
        self.out.show(&report, describe_report)
    }
}

fn what_is_done(repair: FindingRepair) -> &'static str {
    match repair {
        FindingRepair::Correlate => {
            "binds the volume's device anew, or records that the volume is detached where cloud and kernel say so"
        }
        FindingRepair::EndLeases => {
            "ends the leases that were not renewed, once the kernel shows that nobody uses the device"
        }
        FindingRepair::Attach => "takes over the attachment that the cloud has, and binds the device",
        FindingRepair::Adopt => "makes a record of the volume",
    }
}

fn ended(done: &Operation) -> String {
    let message = done
        .response
        .as_ref()
        .and_then(|response| response["message"].as_str());
    plain(message.unwrap_or("done"))
}

/// What a finding is about: a volume, a volume of the cloud's, or what the kernel has.
pub(super) fn about(finding: &Finding) -> String {
    match (&finding.volume_id, &finding.provider_volume_id) {
        (Some(id), _) => id.to_string(),
        (None, Some(id)) => id.clone(),
        (None, None) => finding.kernel.clone(),
    }
}

/// Who does what next, in a word.
fn next(finding: &Finding) -> &'static str {
    if finding.ignored.is_some() {
        return "passed over";
    }
    match finding.proposal {
        Some(FindingRepair::Correlate | FindingRepair::EndLeases) => "by itself",
        Some(FindingRepair::Attach) => "repair",
        Some(FindingRepair::Adopt) => "adopt",
        None => "by hand",
    }
}

/// The findings as a table of 120 columns, at most `most` of each type; what is left out is counted.
fn rows(findings: &[Finding], most: usize) -> String {
    let mut table = Table::new(&["id", "severity", "type", "about", "since", "next"]);
    let mut of_type: BTreeMap<String, usize> = BTreeMap::new();
    for finding in findings {
        let kind = word(finding.kind);
        let count = of_type.entry(kind.clone()).or_default();
        *count += 1;
        if *count <= most {
            table.row([
                finding.id.to_string(),
                word(finding.severity),
                kind,
                cut(&about(finding), 36),
                time(finding.since),
                next(finding).to_owned(),
            ]);
        }
    }
    let mut text = table.to_string();
    for (kind, count) in of_type.into_iter().filter(|(_, count)| *count > most) {
        text.push_str(&format!(
            "\n… and {} more of {kind}: `volumectl orphans list --all`",
            count - most
        ));
    }
    text
}

fn describe(finding: &Finding) -> String {
    let mut pairs = vec![
        ("id", finding.id.to_string()),
        ("type", word(finding.kind)),
        ("severity", word(finding.severity)),
        ("volume", maybe(finding.volume_id)),
        ("provider volume", maybe(finding.provider_volume_id.as_ref())),
        ("since", time(finding.since)),
        ("record", finding.record.clone()),
        ("cloud", finding.cloud.clone()),
        ("kernel", finding.kernel.clone()),
        ("what to do", finding.repair.clone()),
        ("next", next(finding).to_owned()),
        ("operation", maybe(finding.operation_id)),
    ];
    if let Some(ignored) = &finding.ignored {
        let at = time(ignored.at);
        pairs.push((
            "passed over",
            format!("by {} since {at}: {}", ignored.actor, ignored.why),
        ));
    }
    facts(&pairs)
}

fn describe_report(report: &ReconcileReport) -> String {
    let mut lines = Vec::new();
    if !report.cloud_answered {
        lines.push("The cloud does not answer: nothing is concluded about what it has.".to_owned());
    }
    lines.push(match report.findings.len() {
        0 => "Cloud, kernel and records agree.".to_owned(),
        _ => rows(&report.findings, MOST),
    });
    for repair in &report.repairs {
        let what = what_is_done(repair.repair);
        let (id, message) = (&repair.finding_id, plain(&repair.message));
        lines.push(match (repair.status, repair.operation_id) {
            (RepairStatus::Due, _) => format!("{id}: would be begun now; it {what}"),
            (RepairStatus::Begun, Some(operation)) => format!("{id}: operation {operation} {what}"),
            (RepairStatus::Begun, None) => format!("{id}: done; it {what}"),
            (RepairStatus::Waits, _) => format!("{id}: not yet: {message}"),
            (RepairStatus::Refused, _) => format!("{id}: refused: {message}"),
        });
    }
    if report.dry_run {
        lines.push("Nothing was changed.".to_owned());
    }
    lines.join("\n")
}
