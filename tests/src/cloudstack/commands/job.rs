//! Jobs: `queryAsyncJobResult`, `listAsyncJobs`.

use std::sync::Arc;

use serde_json::Value;

use super::super::cloud::{Call, Cloud};
use super::super::job::Job;
use super::super::refusal::Refusal;
use super::super::wire::{self, page};
use super::{Scope, unknown};

/// A job that was never there and one that is too old look the same.
pub(super) fn query(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let id = call.params.required_id("jobid")?;
    let mut state = cloud.state();
    let job = state
        .job(id)
        .filter(|job| call.user.is_admin() || job.account == call.user.account);
    job.map(|job| job.to_json())
        .ok_or_else(|| unknown(&call.params, "jobid"))
}

pub(super) fn list(cloud: &Arc<Cloud>, call: &Call) -> Result<Value, Refusal> {
    let state = cloud.state();
    let scope = Scope::of(call, &state)?;
    let (kind, resource) = (call.params.get("resourcetype"), call.params.id("resourceid")?);
    let is_wanted = |job: &&Job| {
        !job.expunged
            && scope.shows(job.account)
            && resource.is_none_or(|resource| resource == job.instance)
            && kind.is_none_or(|kind| kind.eq_ignore_ascii_case(job.instance_type))
    };
    let found = state.jobs.iter().filter(is_wanted).map(Job::to_json).collect();
    let (shown, total) = page(&call.params, found)?;
    Ok(wire::list("asyncjobs", shown, total))
}
