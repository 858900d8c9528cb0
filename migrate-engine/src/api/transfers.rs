//! `GET /api/v1/transfers` and `GET /api/v1/transfers/{id}`.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::problem::{Code, Problem};
use crate::pipeline::{Doing, Transfer};
use crate::transfer::Phase;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/transfers", get(list))
        .route("/transfers/{id}", get(one))
}

/// A transfer. Sizes in bytes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Transfer)]
pub(super) struct View {
    id: u64,
    /// The job, where one asked for it.
    source: String,
    disk: String,
    /// `copying` or `reading_back`.
    doing: &'static str,
    /// `waiting`, `mapping`, `copying`, `flushing`, `verifying`, `finished`: where one that broke off stopped.
    phase: &'static str,
    /// `running`, `finished`, or `broken_off`: failed or cancelled.
    status: &'static str,
    total_bytes: u64,
    /// What really has to move; falls while holes are found.
    data_bytes: u64,
    data_done_bytes: u64,
    written_bytes: u64,
    zero_skipped_bytes: u64,
    zero_found_bytes: u64,
    zeroed_bytes: u64,
    resumed_bytes: u64,
    rate_bytes_per_second: Option<u64>,
    /// From what of the data is left.
    eta_seconds: Option<u64>,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
}

/// Those under way, and the last that ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TransferList)]
pub(super) struct List {
    transfers: Vec<View>,
}

async fn list(State(api): State<Api>) -> Json<List> {
    let transfers = api.board.transfers().into_iter().map(View::of).collect();
    Json(List { transfers })
}

async fn one(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<View>, Problem> {
    let number = id.parse().map_err(|_| {
        Problem::invalid(
            format!("`{id}` is no id of a transfer"),
            "GET /api/v1/transfers lists them; ids are numbers",
        )
    })?;
    let found = api.board.transfer(number).ok_or_else(|| {
        Problem::new(
            Code::TransferNotFound,
            format!("there is no transfer {number}"),
            "GET /api/v1/transfers lists those under way and the last that ended",
        )
    })?;
    Ok(Json(View::of(found)))
}

impl View {
    pub(super) fn of(transfer: Transfer) -> Self {
        let now = transfer.progress;
        Self {
            status: match (transfer.ended_at, now.phase) {
                (None, _) => "running",
                (Some(_), Phase::Finished) => "finished",
                (Some(_), _) => "broken_off",
            },
            id: transfer.id,
            source: transfer.source,
            disk: transfer.disk,
            doing: doing(transfer.doing),
            phase: phase(now.phase),
            total_bytes: now.total_bytes,
            data_bytes: now.data_bytes,
            data_done_bytes: now.data_done,
            written_bytes: now.bytes_written,
            zero_skipped_bytes: now.zero_skipped,
            zero_found_bytes: now.zero_found,
            zeroed_bytes: now.bytes_zeroed,
            resumed_bytes: now.data_resumed,
            rate_bytes_per_second: now.rate.map(whole),
            eta_seconds: now.eta.map(|eta| eta.as_secs()),
            started_at: transfer.started_at,
            ended_at: transfer.ended_at,
        }
    }
}

pub(super) fn doing(doing: Doing) -> &'static str {
    match doing {
        Doing::Copying => "copying",
        Doing::ReadingBack => "reading_back",
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Mapping => "mapping",
        Phase::Copying => "copying",
        Phase::Flushing => "flushing",
        Phase::Verifying => "verifying",
        Phase::Finished => "finished",
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is never negative, and nobody counts its fractions"
)]
pub(super) fn whole(rate: f64) -> u64 {
    rate as u64
}
