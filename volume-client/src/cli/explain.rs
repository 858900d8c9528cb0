//! `volumectl explain`: what record, cloud and kernel say of a volume, one below the other, and what comes next.

use super::Session;
use super::failure::Failure;
use super::look::waits_for;
use super::table::{facts, maybe, time, word};
use crate::types::Explanation;

impl Session {
    pub(super) async fn explain(&self, volume: &str) -> Result<(), Failure> {
        let id = self.select_volume_id(volume).await?;
        let explanation = self.client.explain_volume(id).await?;
        self.out.show(&explanation, describe)
    }
}

fn describe(of: &Explanation) -> String {
    let used_by = of.used_by.as_ref().map(|users| match users.is_empty() {
        true => "nobody".to_owned(),
        false => users.join(", "),
    });
    let mut pairs = vec![
        ("volume", format!("{}  {}", of.volume.id, of.volume.name)),
        ("record", of.record.clone()),
        ("cloud", of.cloud.clone()),
        ("kernel", of.kernel.clone()),
        ("used by", maybe(used_by)),
    ];
    for lease in &of.leases {
        let expired = if lease.expired { "expired" } else { "lives until" };
        let text = format!(
            "{} {} for {}, {expired} {}",
            word(lease.purpose),
            word(lease.access),
            lease.holder,
            time(lease.expires_at)
        );
        pairs.push(("lease", text));
    }
    if let Some(operation) = &of.operation {
        let (id, kind, status) = (operation.id, word(operation.kind), word(operation.status));
        pairs.push(("operation", format!("{id}  {kind} {status}")));
        if let Some(step) = operation.steps.last() {
            let (at, state) = (time(step.at), word(step.state));
            pairs.push(("latest step", format!("{at}  {} {state}", step.step)));
        }
        if !operation.status.is_final() {
            pairs.push(("waits for", waits_for(operation)));
        }
    }
    for condition in &of.volume.conditions {
        let since = time(condition.since);
        let text = format!("{} since {since}: {}", word(condition.kind), condition.reason);
        pairs.push(("condition", text));
    }
    for finding in &of.findings {
        let (id, severity, kind) = (&finding.id, word(finding.severity), word(finding.kind));
        let mark = if finding.ignored.is_some() {
            " (passed over)"
        } else {
            ""
        };
        pairs.push(("finding", format!("{id}  {severity} {kind}{mark}")));
    }
    pairs.push(("next", of.next.clone()));
    facts(&pairs)
}
