//! `/api/v1/replications`: asked for, listed, followed, cancelled, tried again, declared ready to be cut over.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::Replications;
use super::body::Body;
use super::discover::given;
use super::job::{JobView, context_view};
use super::problem::Problem;
use crate::model::JobStatus;
use crate::pipeline::{Refusal, Request};
use crate::store::{JobFilter, JobRow};

const KEY: &str = "idempotency-key";
const LONGEST_WAIT: u64 = 60;
const LOOK: Duration = Duration::from_millis(100);
const MOST_LISTED: u32 = 500;

pub(super) fn routes() -> Router<Replications> {
    Router::new()
        .route("/replications", get(list).post(start))
        .route("/replications/{id}", get(one))
        .route("/replications/{id}/cancel", post(cancel))
        .route("/replications/{id}/retry", post(retry))
        .route("/replications/{id}/cutover-ready", post(cutover_ready))
        .route("/contexts", get(contexts))
}

// The contract of SPEC B3.
/// What is asked for. What is discovered anew is taken from the source, not from here.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewReplication)]
pub(super) struct Asked {
    source_vm: SourceVm,
    /// A configuration that the service was started with; its first where absent.
    #[serde(default)]
    ossea_config_id: Option<i64>,
    /// `initial` or `incremental`; decided here where absent or empty.
    #[serde(default)]
    #[schema(pattern = r"^(|initial|incremental)$")]
    replication_type: Option<String>,
    #[serde(default)]
    target_network: Option<String>,
    /// The source's name; needed here or in `source_vm`.
    #[serde(default)]
    vcenter_host: Option<String>,
    #[serde(default)]
    datacenter: Option<String>,
    #[serde(default)]
    change_id: Option<String>,
    #[serde(default)]
    previous_change_id: Option<String>,
    #[serde(default)]
    snapshot_id: Option<String>,
}

/// A machine as it was discovered. Its id, name and path are compared with what is there now.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SourceVm {
    #[schema(pattern = r"\S")]
    id: String,
    #[schema(pattern = r"\S")]
    name: String,
    #[schema(pattern = r"\S")]
    path: String,
    #[serde(default)]
    vm_id: Option<String>,
    #[serde(default)]
    vm_name: Option<String>,
    #[serde(default)]
    vm_path: Option<String>,
    #[serde(default)]
    datacenter: Option<String>,
    #[serde(default)]
    vcenter_host: Option<String>,
    #[serde(default)]
    cpus: Option<Value>,
    #[serde(default)]
    memory_mb: Option<Value>,
    #[serde(default)]
    power_state: Option<Value>,
    #[serde(default)]
    os_type: Option<Value>,
    #[serde(default)]
    vmx_version: Option<Value>,
    #[serde(default)]
    disks: Option<Value>,
    #[serde(default)]
    networks: Option<Value>,
}

impl Asked {
    fn whole(self, idempotency_key: Option<String>) -> Result<Request, Problem> {
        let raw = serde_json::to_string(&self).expect("what was read as JSON can be written as JSON");
        let vm = self.source_vm;
        for (name, value) in [("id", &vm.id), ("name", &vm.name), ("path", &vm.path)] {
            if value.trim().is_empty() {
                return Err(Problem::invalid(
                    format!("`source_vm.{name}` is empty"),
                    "id, name and path of the machine are needed, as POST /api/v1/discover tells them",
                ));
            }
        }
        let replication_type = given(self.replication_type)
            .map(|word| word.parse())
            .transpose()
            .map_err(|error: crate::model::UnknownWord| {
                Problem::invalid(
                    format!("`replication_type` {error}"),
                    "leave it empty to have it decided here",
                )
            })?;
        let vcenter_host = given(self.vcenter_host)
            .or(given(vm.vcenter_host))
            .ok_or_else(|| {
                Problem::invalid(
                    "`vcenter_host` is missing",
                    "give the source's name, as the service's file of sources has it",
                )
            })?;
        Ok(Request {
            vm_id: Some(vm.id),
            vm_name: Some(vm.name),
            vm_path: vm.path,
            vcenter_host,
            datacenter: given(self.datacenter).or(given(vm.datacenter)),
            replication_type,
            ossea_config_id: self.ossea_config_id,
            raw,
            idempotency_key,
        })
    }
}

async fn start(
    State(state): State<Replications>,
    headers: HeaderMap,
    Body(asked): Body<Asked>,
) -> Result<impl IntoResponse, Problem> {
    let request = asked.whole(key(&headers)?)?;
    let (job, _) = state.desk.submit(request).await?;
    let location = format!("/api/v1/replications/{}", job.id);
    let view = view(&state, job)?;
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], view))
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY) else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|text| (1..=200).contains(&text.len()));
    let text = text.ok_or_else(|| {
        Problem::invalid(
            "the Idempotency-Key is empty, too long or no plain text",
            "a UUID for each request is a good key",
        )
    })?;
    Ok(Some(text.to_owned()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    status: Option<String>,
    vm_context_id: Option<i64>,
    /// The last id of the page before.
    cursor: Option<String>,
    limit: Option<u32>,
}

/// Some jobs, the latest first.
#[derive(Serialize, ToSchema)]
#[schema(as = ReplicationPage)]
pub(super) struct Page {
    replications: Vec<JobView>,
    /// The `cursor` of the next page; nothing where there is none.
    next_cursor: Option<String>,
}

async fn list(
    State(state): State<Replications>,
    filter: Result<Query<Filter>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let bad = |why: String| {
        Problem::invalid(
            why,
            "there are status, vm_context_id, cursor and limit (1 to 500)",
        )
    };
    let Query(filter) = filter.map_err(|error| bad(error.body_text()))?;
    let limit = filter.limit.unwrap_or(100);
    if !(1..=MOST_LISTED).contains(&limit) {
        return Err(bad(format!("the limit {limit} is not possible")));
    }
    let status = filter
        .status
        .map(|word| word.parse::<JobStatus>())
        .transpose()
        .map_err(|error| bad(error.to_string()))?;
    let wanted = JobFilter {
        status,
        context: filter.vm_context_id,
        before: filter.cursor,
        limit,
    };
    let jobs = state.desk.store().jobs(&wanted).map_err(Refusal::from)?;
    let is_full = u32::try_from(jobs.len()).is_ok_and(|count| count == limit);
    let next_cursor = jobs.last().filter(|_| is_full).map(|job| job.id.clone());
    let views = jobs
        .into_iter()
        .map(|job| JobView::whole(job, &state.desk, &state.api.board));
    Ok(Json(Page {
        replications: views.collect::<Result<_, _>>()?,
        next_cursor,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    /// Seconds to wait for its end.
    wait: Option<u64>,
}

async fn one(
    State(state): State<Replications>,
    Path(id): Path<String>,
    wait: Result<Query<Wait>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<JobView>, Problem> {
    let Query(Wait { wait }) =
        wait.map_err(|error| Problem::invalid(error.body_text(), "wait=SECONDS waits for the job's end"))?;
    let until = Instant::now() + Duration::from_secs(wait.unwrap_or(0).min(LONGEST_WAIT));
    loop {
        let job = state.desk.job(&id)?;
        if job.status.is_final() || Instant::now() >= until || state.api.stopping.is_cancelled() {
            return view(&state, job);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn cancel(
    State(state): State<Replications>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let job = state.desk.cancel(&id)?;
    Ok((StatusCode::ACCEPTED, view(&state, job)?))
}

async fn retry(
    State(state): State<Replications>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let job = state.desk.retry(&id)?;
    Ok((StatusCode::ACCEPTED, view(&state, job)?))
}

async fn cutover_ready(
    State(state): State<Replications>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let (job, context) = state.desk.cutover_ready(&id)?;
    let Json(job) = view(&state, job)?;
    let mut answer = Map::new();
    answer.insert("cutover_ready".to_owned(), Value::Bool(true));
    answer.insert("vm_context".to_owned(), context_view(&context));
    let job = serde_json::to_value(job).expect("a job has only strings and numbers");
    answer.insert("replication".to_owned(), job);
    Ok(Json(Value::Object(answer)))
}

async fn contexts(State(state): State<Replications>) -> Result<Json<Value>, Problem> {
    let contexts = state.desk.store().contexts().map_err(Refusal::from)?;
    let views: Vec<_> = contexts.iter().map(context_view).collect();
    Ok(Json(serde_json::json!({ "contexts": views })))
}

fn view(state: &Replications, job: JobRow) -> Result<Json<JobView>, Problem> {
    JobView::whole(job, &state.desk, &state.api.board).map(Json)
}
