//! `volumectl audit`: who did what and why.

use futures_util::{StreamExt, TryStreamExt};

use super::Session;
use super::failure::Failure;
use super::table::{plain, time};
use crate::client::AuditFilter;
use crate::types::AuditLine;

impl Session {
    pub(super) async fn audit(&self, volume: Option<String>, last: usize) -> Result<(), Failure> {
        let volume_id = match volume {
            Some(volume) => Some(self.select_volume_id(&volume).await?),
            None => None,
        };
        let all = self.client.list_all_audit(AuditFilter { volume_id });
        let lines: Vec<AuditLine> = all.take(last).try_collect().await?;
        self.out.show(&lines, |lines| {
            let told: Vec<_> = lines.iter().map(tell).collect();
            told.join("\n")
        })
    }
}

/// Who did what, and below it the evidence.
fn tell(line: &AuditLine) -> String {
    let mut text = format!("{}  {}  {}", time(line.at), line.actor, line.action);
    if let Some(volume) = line.volume_id {
        text.push_str(&format!("  volume {volume}"));
    }
    let mut all = vec![plain(&text)];
    let operation = line.operation_id.map(|id| id.to_string());
    let evidence = [
        ("operation", operation.as_ref()),
        ("before", line.before.as_ref()),
        ("after", line.after.as_ref()),
        ("why", line.why.as_ref()),
    ];
    for (name, value) in evidence {
        if let Some(value) = value {
            all.push(format!("    {name}: {}", plain(value)));
        }
    }
    all.join("\n")
}
