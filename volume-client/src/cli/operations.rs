//! `volumectl operations`, and how every change is waited for.

use std::collections::HashSet;

use futures_util::TryStreamExt;

use super::Session;
use super::args::{OperationsVerb, Wait};
use super::failure::Failure;
use super::look::waits_for;
use super::table::{Table, facts, maybe, time, word};
use crate::client::{ClientError, OperationFilter};
use crate::types::{EventKind, Operation, OperationId, StepRecord, StepState};

impl Session {
    pub(super) async fn operations(&self, verb: Option<OperationsVerb>) -> Result<(), Failure> {
        match verb {
            None => self.list_operations(OperationFilter::default()).await,
            Some(OperationsVerb::List {
                status,
                volume,
                kind,
                watch,
            }) => {
                let volume_id = match volume {
                    Some(volume) => Some(self.select_volume_id(&volume).await?),
                    None => None,
                };
                let filter = OperationFilter {
                    status,
                    volume_id,
                    kind,
                };
                if watch {
                    self.watch_operations(filter).await
                } else {
                    self.list_operations(filter).await
                }
            }
            Some(OperationsVerb::Show { operation }) => {
                let operation = self.client.operation(operation).await?;
                self.out.show(&operation, describe)
            }
            Some(OperationsVerb::Watch { operation }) => self.watch_operation(operation).await,
            Some(OperationsVerb::Cancel { operation, wait }) => self.cancel(operation, wait).await,
        }
    }

    async fn list_operations(&self, filter: OperationFilter) -> Result<(), Failure> {
        let operations: Vec<Operation> = self.client.list_all_operations(filter).try_collect().await?;
        self.out.list(&operations, |operations| {
            let mut table = Table::new(&["id", "type", "status", "volume", "created", "ended", "error"]);
            for operation in operations {
                table.row([
                    operation.id.to_string(),
                    word(operation.kind),
                    word(operation.status),
                    operation.volume_id.to_string(),
                    time(operation.created_at),
                    maybe(operation.completed_at.map(time)),
                    maybe(operation.error.as_ref()),
                ]);
            }
            table
        })
    }

    /// What is open now, then each change; ends only with an error or with the program.
    async fn watch_operations(&self, filter: OperationFilter) -> Result<(), Failure> {
        // Listening comes before listing, so that nothing falls between the two.
        let mut events = self.client.subscribe(None).await?;
        let listing = self.client.list_all_operations(filter.clone());
        let listed: Vec<Operation> = listing.try_collect().await?;
        for operation in listed.iter().filter(|operation| !operation.status.is_final()) {
            self.out.tell(operation, line)?;
        }
        while let Some(event) = events.try_next().await? {
            if let (EventKind::Operation, Some(id)) = (event.kind, event.operation_id) {
                let operation = self.client.operation(id).await?;
                if fits(&filter, &operation) {
                    self.out.tell(&operation, line)?;
                }
            }
        }
        Ok(())
    }

    /// Each step as it is recorded, then the end. Fails as the operation failed.
    async fn watch_operation(&self, id: OperationId) -> Result<(), Failure> {
        let mut told = HashSet::new();
        let mut end = std::pin::pin!(self.client.wait_for_completion(id, self.timeout));
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(500));
        let ended = loop {
            tokio::select! {
                ended = &mut end => break ended,
                _ = ticks.tick() => {
                    // The wait itself tells what is wrong, and outlives a restart; this only looks over its shoulder.
                    if let Ok(operation) = self.client.operation(id).await {
                        self.tell_steps(&operation, &mut told)?;
                    }
                }
            }
        };
        match ended {
            Ok(done) => {
                self.tell_steps(&done, &mut told)?;
                self.out.tell(&done, line)
            }
            Err(error) => {
                if let ClientError::OperationFailed(operation) | ClientError::OperationCancelled(operation) =
                    &error
                {
                    self.tell_steps(operation, &mut told)?;
                }
                Err(error.into())
            }
        }
    }

    fn tell_steps(&self, operation: &Operation, told: &mut HashSet<usize>) -> Result<(), Failure> {
        for (n, step) in operation.steps.iter().enumerate() {
            if told.insert(n) {
                self.out.tell(step, |step| {
                    let detail = step.detail.as_deref().unwrap_or_default();
                    let text = format!("{}  {} {}  {detail}", time(step.at), step.step, word(step.state));
                    super::table::plain(text.trim_end())
                })?;
            }
        }
        Ok(())
    }

    async fn cancel(&self, id: OperationId, wait: Wait) -> Result<(), Failure> {
        let operation = self.client.cancel_operation(id).await?;
        if wait.no_wait {
            return self.started(&operation);
        }
        match self.client.wait_for_completion(id, self.timeout).await {
            Err(ClientError::OperationCancelled(operation)) => self.out.show(&*operation, line),
            Err(error) => Err(error.into()),
            Ok(done) => Err(Failure::Selection {
                error: format!("operation {} was completed before it could be cancelled", done.id),
                hint: None,
            }),
        }
    }

    /// Waits for a change and says what came of it; with `--no-wait` only names the operation.
    pub(super) async fn finish(
        &self,
        operation: Operation,
        wait: Wait,
        people: impl FnOnce(&Operation) -> String,
    ) -> Result<(), Failure> {
        if wait.no_wait {
            return self.started(&operation);
        }
        let done = self
            .client
            .wait_for_completion(operation.id, self.timeout)
            .await?;
        self.out.show(&done, people)
    }

    pub(super) fn started(&self, operation: &Operation) -> Result<(), Failure> {
        self.out.show(operation, |operation| operation.id.to_string())
    }
}

fn fits(filter: &OperationFilter, operation: &Operation) -> bool {
    filter.status.is_none_or(|status| status == operation.status)
        && filter.volume_id.is_none_or(|id| id == operation.volume_id)
        && filter.kind.is_none_or(|kind| kind == operation.kind)
}

fn line(operation: &Operation) -> String {
    let error = operation.error.as_deref().unwrap_or_default();
    let (id, volume) = (operation.id, operation.volume_id);
    let (at, kind, status) = (
        time(operation.updated_at),
        word(operation.kind),
        word(operation.status),
    );
    let text = format!("{at}  {id}  {kind} {status}  volume {volume}  {error}");
    super::table::plain(text.trim_end())
}

fn describe(operation: &Operation) -> String {
    let response = operation.response.as_ref().map(ToString::to_string);
    let mut pairs = vec![
        ("id", operation.id.to_string()),
        ("type", word(operation.kind)),
        ("status", word(operation.status)),
        ("volume", operation.volume_id.to_string()),
        ("vm", maybe(operation.vm_id.as_ref())),
        ("actor", operation.actor.clone()),
        ("request id", maybe(operation.request_id.as_ref())),
        ("request", operation.request.to_string()),
        ("response", maybe(response)),
        ("error", maybe(operation.error.as_ref())),
        ("error code", maybe(operation.error_code)),
        ("hint", maybe(operation.error_hint.as_ref())),
        ("created", time(operation.created_at)),
        ("updated", time(operation.updated_at)),
        ("ended", maybe(operation.completed_at.map(time))),
    ];
    if !operation.status.is_final() {
        pairs.push(("waits for", waits_for(operation)));
    }
    for (n, step) in operation.steps.iter().enumerate() {
        let detail = step.detail.as_deref().unwrap_or_default();
        let took = took(&operation.steps[..n], step).unwrap_or_default();
        let text = format!(
            "{}  {} {}{took}  {detail}",
            time(step.at),
            step.step,
            word(step.state)
        );
        pairs.push(("step", text));
    }
    facts(&pairs)
}

/// How long a step took that has come to an end: the time since the line before of the same step.
fn took(earlier: &[StepRecord], step: &StepRecord) -> Option<String> {
    if !matches!(
        step.state,
        StepState::Done | StepState::Failed | StepState::Undone
    ) {
        return None;
    }
    let before = earlier.iter().rev().find(|line| line.step == step.step)?;
    let took = step.at.duration_since(before.at);
    Some(format!(" after {:.3} s", took.as_secs_f64()))
}
