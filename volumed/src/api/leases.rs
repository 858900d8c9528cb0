//! Leases: who uses which device, until when; take, renew, give back.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use volume_client::types::{ErrorCode, Lease, LeaseId, NewLease, Page, RenewLease};

use super::convert::lease;
use super::extract::{At, Command, Empty, Params, claim};
use super::operations::key_reused;
use super::problem::{ApiError, failure};
use super::{Api, page, validate};
use crate::crash;
use crate::operation;
use crate::store::idempotency::KeyedResource;
use crate::store::{AuditEntry, StoreError, audit, leases};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/leases", get(list).post(take))
        .route("/leases/{lease_id}", get(look).delete(release))
        .route("/leases/{lease_id}/renew", post(renew))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    cursor: Option<String>,
    limit: Option<u32>,
}

async fn list(
    State(api): State<Api>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Page<Lease>>, ApiError> {
    let limit = page::limit(query.limit)?;
    let after = page::after(query.cursor.as_deref())?;
    let rows = api
        .store
        .read(move |conn| leases::list(conn, after, limit + 1))
        .await?;
    let now = Timestamp::now();
    let view = |row| lease::view(row, now);
    Ok(Json(page::page(rows, limit, |row| row.id.to_string(), view)))
}

async fn look(State(api): State<Api>, At(id): At<LeaseId>) -> Result<Json<Lease>, ApiError> {
    let record = api.store.read(move |conn| leases::get(conn, id)).await?;
    let live = record.filter(|record| record.released_at.is_none());
    let live = live.ok_or_else(|| not_found(id))?;
    Ok(Json(lease::view(live, Timestamp::now())))
}

fn not_found(id: LeaseId) -> ApiError {
    let message = format!("there is no lease {id}, or it has ended");
    failure(ErrorCode::LeaseNotFound, message)
}

async fn take(State(api): State<Api>, command: Command<NewLease>) -> Result<impl IntoResponse, ApiError> {
    let new = command.body;
    validate::holder(&new.holder, new.detail.as_deref())?;
    let new = operation::NewLease {
        volume_id: new.volume_id,
        purpose: lease::purpose_of(new.purpose),
        access: lease::access_of(new.access),
        holder: new.holder,
        detail: new.detail,
        ttl_seconds: validate::new_ttl(new.ttl_seconds)?,
    };
    let (record, device) = api
        .operations
        .acquire_lease(new, command.asker, command.key)
        .await?;
    let location = format!("/api/v1/leases/{}", record.id);
    let grant = lease::grant(record, device, Timestamp::now());
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(grant)))
}

async fn renew(
    State(api): State<Api>,
    At(id): At<LeaseId>,
    command: Command<RenewLease>,
) -> Result<Json<Lease>, ApiError> {
    let (key, ttl) = (command.key, validate::ttl(command.body.ttl_seconds)?);
    let renewed = api.store.write(move |tx| {
        let ours = claim(tx, key.as_ref(), KeyedResource::Lease, &id.to_string())?;
        Ok::<_, StoreError>(match ours {
            true => Some(leases::renew(tx, id, ttl)?),
            false => None,
        })
    });
    crash::point(|| "lease/renew/before".to_owned());
    let renewed = renewed.await?;
    crash::point(|| "lease/renew/after".to_owned());
    let record = renewed.ok_or_else(key_reused)?.ok_or_else(|| not_found(id))?;
    Ok(Json(lease::view(record, Timestamp::now())))
}

async fn release(
    State(api): State<Api>,
    At(id): At<LeaseId>,
    command: Command<Empty>,
) -> Result<StatusCode, ApiError> {
    let (key, actor) = (command.key, command.asker.actor);
    let released = api.store.write(move |tx| {
        let Some(lease) = leases::get(tx, id)? else {
            return Ok::<_, StoreError>(Err(not_found(id)));
        };
        if !claim(tx, key.as_ref(), KeyedResource::Lease, &id.to_string())? {
            return Ok(Err(key_reused()));
        }
        if leases::release(tx, id, &format!("given back by {actor}"))? {
            let entry = AuditEntry {
                actor: &actor,
                action: "lease_released",
                volume_id: Some(lease.volume_id),
                before: Some(&lease.holder),
                ..AuditEntry::default()
            };
            audit::append(tx, &entry)?;
        }
        Ok(Ok(()))
    });
    crash::point(|| "lease/release/before".to_owned());
    released.await??;
    crash::point(|| "lease/release/after".to_owned());
    Ok(StatusCode::NO_CONTENT)
}
