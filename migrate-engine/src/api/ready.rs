//! `/readyz`: whether everything works that the service needs.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Replications;
use crate::model::chain;

/// How long the daemon is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is looked at.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceCheck)]
pub(super) struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

/// Whether it all works.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    ready: bool,
    checks: Vec<Check>,
}

pub(super) async fn serve(State(state): State<Replications>) -> (StatusCode, Json<Readiness>) {
    let checks = vec![records(&state), daemon(&state).await];
    let ready = checks.iter().all(|check| check.ok);
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(Readiness { ready, checks }))
}

fn records(state: &Replications) -> Check {
    let counted = state.desk.store().unfinished_jobs();
    let (ok, detail) = match counted {
        Ok(jobs) => (true, format!("{} jobs are not at their end", jobs.len())),
        Err(error) => (false, chain(&error)),
    };
    Check {
        name: "store",
        ok,
        detail,
    }
}

async fn daemon(state: &Replications) -> Check {
    let asked = tokio::time::timeout(PATIENCE, state.desk.daemon().readiness()).await;
    let (ok, detail) = match asked {
        Ok(Ok(daemon)) if daemon.ready => (true, "the volume daemon is ready".to_owned()),
        Ok(Ok(daemon)) => {
            let wrong = daemon.checks.into_iter().filter(|check| !check.ok);
            let wrong: Vec<_> = wrong
                .map(|check| format!("{}: {}", check.name, check.detail))
                .collect();
            (
                false,
                format!("the volume daemon is not ready: {}", wrong.join("; ")),
            )
        }
        Ok(Err(error)) => (false, chain(&error)),
        Err(_) => (
            false,
            format!("the volume daemon has not answered within {PATIENCE:?}"),
        ),
    };
    Check {
        name: "volumed",
        ok,
        detail,
    }
}
