//! `/api/v1/sources`: the sources that the service knows, and their machines. Who asks needs no credentials of theirs.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Replications;
use super::discover::{Found, given};
use super::problem::{Code, Problem};
use crate::source::Wanted;

pub(super) fn routes() -> Router<Replications> {
    Router::new()
        .route("/sources", get(list))
        .route("/sources/{host}/machines", get(machines))
}

/// The sources that the service knows.
#[derive(Serialize, ToSchema)]
#[schema(as = SourceList)]
pub(super) struct Listed {
    sources: Vec<Known>,
}

/// A source: its name, and nothing else of what is known of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Source)]
struct Known {
    host: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    datacenter: Option<String>,
    /// The name, path or id of a machine.
    filter: Option<String>,
}

async fn list(State(state): State<Replications>) -> Json<Listed> {
    let hosts = state.desk.sources().into_iter();
    Json(Listed {
        sources: hosts.map(|host| Known { host }).collect(),
    })
}

async fn machines(
    State(state): State<Replications>,
    Path(host): Path<String>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Found>, Problem> {
    let Query(filter) =
        filter.map_err(|error| Problem::invalid(error.body_text(), "there are datacenter and filter"))?;
    let known = state.desk.sources();
    if !known.iter().any(|name| name.eq_ignore_ascii_case(host.trim())) {
        return Err(unknown(&host, &known));
    }
    let wanted = Wanted {
        machine: given(filter.filter),
        datacenter: given(filter.datacenter),
    };
    let found = state.desk.machines(&host, &wanted).await?;
    Ok(Json(found.into()))
}

fn unknown(host: &str, known: &[String]) -> Problem {
    let shown: String = host.chars().take(120).flat_map(char::escape_debug).collect();
    let hint = match known {
        [] => "none is known: write it into the service's file of sources and send the service SIGHUP"
            .to_owned(),
        known => format!(
            "known are {}; others are written into the service's file of sources, and the service is sent SIGHUP",
            known.join(", ")
        ),
    };
    Problem::new(
        Code::SourceNotFound,
        format!("nothing is known of the source `{shown}`"),
        hint,
    )
}
