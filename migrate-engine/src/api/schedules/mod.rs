//! `/api/v1/schedules`: what begins when by itself, what became of it, and one of them begun by hand.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::problem::{Code, Problem};
use crate::model::chain;
use crate::schedule::{
    Begun, BegunBy, Fate, History, InBlackout, Missed, Outcome, Past, PlanFileError, Run, RunNowError,
    Schedule, Selection, Standing, Timetable,
};

/// How many runs of each schedule are told.
const MOST_TOLD: u32 = 10;
/// Callers give up after 15 seconds; a start that takes longer goes on without them.
const PATIENCE: Duration = Duration::from_secs(13);

/// What schedules are looked at and begun through. Cheap to clone.
#[derive(Clone)]
pub struct Schedules {
    /// The scheduler's own view.
    pub timetable: Timetable,
    /// Why the file of schedules as it is now is not in force.
    pub problem: watch::Receiver<Option<Arc<PlanFileError>>>,
}

pub(super) fn routes() -> Router<Schedules> {
    Router::new()
        .route("/schedules", get(list))
        .route("/schedules/{name}/run", post(run))
}

/// What begins when by itself.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleList)]
pub(super) struct List {
    schedules: Vec<View>,
    /// What is wrong with the file as it is now, each problem for itself; empty where it is in force.
    problems: Vec<String>,
}

/// A schedule that is in force.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedule)]
struct View {
    name: String,
    /// When it begins, as docs/scheduling.md says how to write it.
    calendar: String,
    /// An IANA name; nothing where it is a zone of the machine that has none.
    zone: Option<String>,
    /// When nothing may begin.
    blackouts: Vec<String>,
    in_blackout: InBlackout,
    /// Which machines.
    what: Vec<Selection>,
    /// Nothing where it never begins again.
    next: Option<Next>,
    /// The latest first.
    runs: Vec<Taken>,
    /// The latest first.
    missed: Vec<Missed>,
}

/// The next run.
#[derive(Serialize, ToSchema)]
#[schema(as = NextRun)]
struct Next {
    #[schema(value_type = String, format = DateTime)]
    due: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    begins: Timestamp,
    /// `begin`, `defer` until the end of a blackout, or `skip`.
    fate: &'static str,
    /// When the blackout ends that it is due in.
    #[schema(value_type = Option<String>, format = DateTime)]
    blackout_until: Option<Timestamp>,
}

/// A run that was begun or skipped.
#[derive(Serialize, ToSchema)]
#[schema(as = Run)]
struct Taken {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    begun_by: BegunBy,
    #[serde(flatten)]
    outcome: Outcome,
}

/// A schedule that was begun by hand.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleBegun)]
pub(super) struct Ran {
    schedule: String,
    /// `begun`, or `starting` where that takes longer than callers wait.
    outcome: &'static str,
    /// What became of each machine, once that is known.
    selections: Option<Vec<Begun>>,
}

async fn list(State(state): State<Schedules>) -> Result<Json<List>, Problem> {
    let mut schedules = Vec::new();
    for standing in state.timetable.standing().await {
        let looked = state.timetable.history(&standing.schedule.name, MOST_TOLD).await;
        let history = looked.map_err(|error| {
            let error = chain(&error);
            tracing::error!(error, "the records of schedules failed");
            Problem::new(Code::Internal, error, "the engine's log says more")
        })?;
        schedules.push(View::of(standing, history));
    }
    let problem = state.problem.borrow().clone();
    let problems = problem.map(|problem| problem.problems()).unwrap_or_default();
    Ok(Json(List { schedules, problems }))
}

async fn run(State(state): State<Schedules>, Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    let started = tokio::time::timeout(PATIENCE, state.timetable.run_now(&name)).await;
    let selections = started.ok().transpose()?;
    let ran = Ran {
        schedule: name,
        outcome: match selections {
            Some(_) => "begun",
            None => "starting",
        },
        selections,
    };
    Ok((StatusCode::ACCEPTED, Json(ran)))
}

impl View {
    fn of(standing: Standing, history: History) -> Self {
        let Schedule {
            name,
            calendar,
            zone,
            blackouts,
            in_blackout,
            what,
        } = standing.schedule;
        Self {
            name,
            calendar: calendar.to_string(),
            zone: zone.name().map(str::to_owned),
            blackouts: blackouts.iter().map(ToString::to_string).collect(),
            in_blackout,
            what,
            next: standing.next.map(Next::of),
            runs: history.taken.into_iter().map(Taken::of).collect(),
            missed: history.missed,
        }
    }
}

impl Next {
    fn of(run: Run) -> Self {
        let (fate, blackout_until) = match run.fate {
            Fate::Begin if run.begins > run.due => ("defer", Some(run.begins)),
            Fate::Begin => ("begin", None),
            Fate::Skip { until } => ("skip", Some(until)),
        };
        Self {
            due: run.due,
            begins: run.begins,
            fate,
            blackout_until,
        }
    }
}

impl Taken {
    fn of(past: Past) -> Self {
        Self {
            at: past.at,
            begun_by: past.begun_by,
            outcome: past.outcome,
        }
    }
}

impl From<RunNowError> for Problem {
    fn from(error: RunNowError) -> Self {
        let detail = error.to_string();
        match error {
            RunNowError::NoSuchSchedule { .. } => Self::new(
                Code::ScheduleNotFound,
                detail,
                "GET /api/v1/schedules lists those that are in force",
            ),
            RunNowError::BeingStarted { .. } => Self::new(
                Code::ScheduleBeingStarted,
                detail,
                "wait a moment: GET /api/v1/schedules tells what became of it",
            ),
            RunNowError::BrokeOff => Self::new(
                Code::Internal,
                detail,
                "GET /api/v1/replications lists the jobs; the service's log says more",
            ),
        }
    }
}
