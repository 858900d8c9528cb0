//! `volumectl devices`, `mappings`, `leases`, `events`, `status`.

use futures_util::TryStreamExt;

use super::Session;
use super::confirm::Consent;
use super::failure::Failure;
use super::measure::human_size;
use super::orphans::about;
use super::table::{Table, facts, maybe, plain, time, word, yes_no};
use crate::types::{Device, Finding, Lease, LeaseId, Mapping, Operation, Status};

/// How many findings the status shows.
const MOST_FINDINGS: usize = 10;

impl Session {
    pub(super) async fn devices(&self) -> Result<(), Failure> {
        let devices: Vec<Device> = self.client.list_all_devices().try_collect().await?;
        self.out.list(&devices, |devices| {
            let columns = [
                "device",
                "number",
                "size",
                "read-only",
                "identity",
                "diskseq",
                "holders",
                "volume",
            ];
            let mut table = Table::new(&columns);
            for device in devices {
                table.row([
                    device.device_path.clone(),
                    device.devnum.clone(),
                    human_size(device.size_bytes),
                    yes_no(device.read_only),
                    maybe(device.identity.as_ref()),
                    maybe(device.diskseq),
                    maybe((!device.holders.is_empty()).then(|| device.holders.join(","))),
                    maybe(device.volume_id),
                ]);
            }
            table
        })
    }

    pub(super) async fn mappings(&self) -> Result<(), Failure> {
        let mappings: Vec<Mapping> = self.client.list_all_mappings().try_collect().await?;
        self.out.list(&mappings, |mappings| {
            let mut table = Table::new(&[
                "volume", "device", "number", "size", "identity", "diskseq", "pinned", "bound",
            ]);
            for mapping in mappings {
                table.row([
                    mapping.volume_id.to_string(),
                    mapping.device_path.clone(),
                    mapping.devnum.clone(),
                    human_size(mapping.size_bytes),
                    mapping.identity.clone(),
                    maybe(mapping.diskseq),
                    yes_no(mapping.pinned),
                    time(mapping.bound_at),
                ]);
            }
            table
        })
    }

    pub(super) async fn leases(&self) -> Result<(), Failure> {
        let leases: Vec<Lease> = self.client.list_all_leases().try_collect().await?;
        self.out.list(&leases, |leases| {
            let mut table = Table::new(&[
                "id", "volume", "purpose", "access", "holder", "detail", "acquired", "expires",
            ]);
            for lease in leases {
                let expired = if lease.expired { " (expired)" } else { "" };
                table.row([
                    lease.id.to_string(),
                    lease.volume_id.to_string(),
                    word(lease.purpose),
                    word(lease.access),
                    lease.holder.clone(),
                    maybe(lease.detail.as_ref()),
                    time(lease.acquired_at),
                    time(lease.expires_at) + expired,
                ]);
            }
            table
        })
    }

    pub(super) async fn release(&self, id: LeaseId, consent: Consent) -> Result<(), Failure> {
        let lease = self.client.lease(id).await?;
        let (holder, volume) = (plain(&lease.holder), lease.volume_id);
        consent.obtain(&format!(
            "{holder} may still be using volume {volume}. Release its lease?"
        ))?;
        self.client.release_lease(id).await?;
        self.out.show(&lease, |lease| format!("released {}", lease.id))
    }

    /// Ends only with an error or with the program.
    pub(super) async fn events(&self, after: Option<u64>) -> Result<(), Failure> {
        let mut events = self.client.events(after);
        while let Some(event) = events.try_next().await? {
            self.out.tell(&event, |event| {
                let (id, at, kind) = (event.id, time(event.at), word(event.kind));
                let volume = maybe(event.volume_id);
                plain(&format!("{id}  {at}  {kind}  volume {volume}  {}", event.data))
            })?;
        }
        Ok(())
    }

    pub(super) async fn status(&self) -> Result<(), Failure> {
        let status = self.client.status().await?;
        self.out.show(&status, describe)?;
        if status.readiness.ready {
            Ok(())
        } else {
            Err(Failure::NotReady)
        }
    }
}

fn describe(status: &Status) -> String {
    let counts = &status.counts;
    let mut pairs = vec![
        ("version", status.version.clone()),
        ("provider", status.provider.clone()),
        ("vm", status.vm_id.clone()),
        ("boot", status.boot_id.clone()),
        ("started", time(status.started_at)),
        ("ready", yes_no(status.readiness.ready)),
    ];
    for check in &status.readiness.checks {
        let verdict = if check.ok { "ok" } else { "NOT OK" };
        pairs.push(("check", format!("{} {verdict}  {}", check.name, check.detail)));
    }
    pairs.push((
        "volumes",
        format!(
            "{} ({} mapped, {} pinned)",
            counts.volumes, counts.mapped, counts.pinned
        ),
    ));
    pairs.push(("leases", counts.leases.to_string()));
    pairs.push(("open operations", counts.open_operations.to_string()));
    for operation in &status.operations {
        let (id, kind, state) = (operation.id, word(operation.kind), word(operation.status));
        let volume = operation.volume_id;
        pairs.push(("operation", format!("{id}  {kind} {state}, volume {volume}")));
        pairs.push(("waits for", waits_for(operation)));
    }
    let (ignored, heeded): (Vec<&Finding>, Vec<_>) = status
        .findings
        .iter()
        .partition(|finding| finding.ignored.is_some());
    for finding in heeded.iter().take(MOST_FINDINGS) {
        let (id, severity, kind) = (&finding.id, word(finding.severity), word(finding.kind));
        pairs.push(("finding", format!("{id}  {severity} {kind}  {}", about(finding))));
    }
    if heeded.len() > MOST_FINDINGS {
        let more = heeded.len() - MOST_FINDINGS;
        pairs.push(("finding", format!("and {more} more: `volumectl orphans list`")));
    }
    if !ignored.is_empty() {
        pairs.push(("passed over", ignored.len().to_string()));
    }
    facts(&pairs)
}

/// What an open operation waits for, and since when.
pub(super) fn waits_for(operation: &Operation) -> String {
    let since = time(operation.updated_at);
    match &operation.error {
        Some(what) => format!("{what} (since {since})"),
        None => format!("nothing; its latest step began or ended at {since}"),
    }
}
