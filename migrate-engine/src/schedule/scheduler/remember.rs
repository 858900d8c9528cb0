//! The memory, asked on threads that may block; its failures are said and stop nothing.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::{BegunBy, Memory, MemoryError, Missed, Outcome, Schedule};
use crate::model::chain;

#[derive(Clone)]
pub(super) struct Remembering(pub(super) Arc<dyn Memory>);

impl Remembering {
    pub(super) async fn know(&self, schedules: &[Schedule], now: Timestamp) {
        let names: Vec<String> = schedules.iter().map(|schedule| schedule.name.clone()).collect();
        if let Err(error) = self.ask(move |memory| memory.know(&names, now)).await {
            let error = chain(&error);
            tracing::error!(
                error,
                "which schedules there are could not be recorded: what they miss may stay unsaid"
            );
        }
    }

    pub(super) async fn renew(&self, schedule: String, now: Timestamp) {
        let name = schedule.clone();
        if let Err(error) = self.ask(move |memory| memory.renew(&name, now)).await {
            let error = chain(&error);
            tracing::error!(
                schedule,
                error,
                "a change could not be recorded: too many runs may be called missed"
            );
        }
    }

    pub(super) async fn last_run(&self, schedule: String) -> Option<Timestamp> {
        let name = schedule.clone();
        let found = self.ask(move |memory| memory.last_run(&name)).await;
        found.unwrap_or_else(|error| {
            let error = chain(&error);
            tracing::error!(
                schedule,
                error,
                "cannot tell which runs were missed while the scheduler was down"
            );
            None
        })
    }

    pub(super) async fn ran(&self, schedule: String, due: Timestamp, by: BegunBy, outcome: Outcome) {
        let name = schedule.clone();
        let recorded = self.ask(move |memory| memory.ran(&name, due, by, &outcome)).await;
        if let Err(error) = recorded {
            tracing::error!(schedule, %due, error = chain(&error), "a run could not be recorded");
        }
    }

    pub(super) async fn missed(&self, schedule: String, missed: Missed) {
        let name = schedule.clone();
        let recorded = self.ask(move |memory| memory.missed(&name, &missed)).await;
        if let Err(error) = recorded {
            tracing::error!(
                schedule,
                error = chain(&error),
                "missed runs could not be recorded"
            );
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Memory) -> Result<T, MemoryError> + Send + 'static,
    ) -> Result<T, MemoryError> {
        let memory = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || ask(&*memory))
            .await
            .unwrap_or_else(|broken| Err(MemoryError(broken.into())))
    }
}
