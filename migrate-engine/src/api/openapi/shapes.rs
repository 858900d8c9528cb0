//! What is answered without a type of its own, as types that only describe it.

#![allow(
    dead_code,
    reason = "the description reads the types, and nobody makes values of them"
)]

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::job::JobView;
use super::super::problem::Code;
use super::super::transfers;

/// The body of every error answer (`application/problem+json`, RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    /// A URI for the kind of problem: `urn:migrate-engine:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The status line's words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// The closed code.
    code: Code,
    /// What is wrong in this very case.
    detail: String,
    /// What to do about it.
    hint: String,
    /// The request, as the service's log names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// A machine as its replications left it.
#[derive(Serialize, ToSchema)]
pub(super) struct Context {
    id: i64,
    vm_name: String,
    vcenter_host: String,
    /// The source's own id of it.
    vm_id: String,
    vm_path: String,
    current_status: ContextStatus,
    total_jobs: u64,
    successful_jobs: u64,
    failed_jobs: u64,
    cancelled_jobs: u64,
    last_job_id: Option<String>,
    last_successful_job_id: Option<String>,
    /// What was discovered of it last; not to be relied on in its details.
    specification: Value,
    #[schema(value_type = String, format = DateTime)]
    updated_at: String,
    /// When this was answered.
    #[schema(value_type = String, format = DateTime)]
    asked_at: String,
}

/// How a machine stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ContextStatus {
    /// Nothing was done yet.
    Discovered,
    /// A replication is under way, or waits.
    Replicating,
    /// The last replication was completed.
    Replicated,
    /// The last replication was not.
    Failed,
    /// It is to be cut over: nothing is replicated any more unless asked for.
    CutoverReady,
}

/// Every machine that was ever replicated, or was to be.
#[derive(Serialize, ToSchema)]
pub(super) struct ContextList {
    contexts: Vec<Context>,
}

/// That a machine is ready to be cut over.
#[derive(Serialize, ToSchema)]
pub(super) struct CutoverReady {
    /// Always `true`.
    cutover_ready: bool,
    vm_context: Context,
    replication: JobView,
}

/// The `data` of an event: a job where `event` is `replication`, a transfer where it is `transfer`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum EventData {
    /// At each step of the job.
    Replication(Box<JobView>),
    /// At most once a second for each.
    Transfer(Box<transfers::View>),
}
