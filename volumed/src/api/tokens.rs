//! Tokens: list, make, give another secret, revoke, and whose a secret is.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use volume_client::types::{
    ErrorCode, IntrospectToken, Introspection, NewToken, Page, RotateToken, Token, TokenGrant,
};

use super::convert::token;
use super::extract::{Command, Empty};
use super::problem::{ApiError, failure};
use super::{Api, page, validate};
use crate::auth::{TokenError, Tokens, Wanted};

/// How long a former secret works on where nothing else is said.
const OVERLAP: u32 = 3600;
const LONGEST_OVERLAP: u32 = 7 * 24 * 3600;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/tokens", get(list).post(create))
        .route("/tokens/introspect", post(introspect))
        .route("/tokens/{name}", delete(revoke))
        .route("/tokens/{name}/rotate", post(rotate))
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Exists(_) => ErrorCode::TokenExists,
            TokenError::Missing(_) => ErrorCode::TokenNotFound,
            TokenError::Store(error) => return error.into(),
        };
        failure(code, error.to_string())
    }
}

async fn list(State(api): State<Api>) -> Result<Json<Page<Token>>, ApiError> {
    let now = Timestamp::now();
    let records = Tokens::new(api.store).list().await?;
    let tokens = records.into_iter().map(|record| token::view(record, now));
    Ok(Json(page::whole(tokens.collect())))
}

async fn create(State(api): State<Api>, command: Command<NewToken>) -> Result<impl IntoResponse, ApiError> {
    let new = command.body;
    validate::token_name(&new.name)?;
    validate::expiry(new.expires_at, Timestamp::now())?;
    let wanted = Wanted {
        name: new.name,
        scope: token::scope_of(new.scope),
        expires_at: new.expires_at,
    };
    let made = Tokens::new(api.store).create(wanted, command.asker.actor).await?;
    Ok((StatusCode::CREATED, Json(token::grant(made, Timestamp::now()))))
}

async fn rotate(
    State(api): State<Api>,
    Path(name): Path<String>,
    command: Command<RotateToken>,
) -> Result<Json<TokenGrant>, ApiError> {
    let seconds = command.body.overlap_seconds.unwrap_or(OVERLAP);
    validate::overlap(seconds, LONGEST_OVERLAP)?;
    let overlap = Duration::from_secs(seconds.into());
    let rotated = Tokens::new(api.store)
        .rotate(name, overlap, command.asker.actor)
        .await?;
    Ok(Json(token::grant(rotated, Timestamp::now())))
}

async fn revoke(
    State(api): State<Api>,
    Path(name): Path<String>,
    command: Command<Empty>,
) -> Result<StatusCode, ApiError> {
    Tokens::new(api.store).revoke(name, command.asker.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn introspect(
    State(api): State<Api>,
    command: Command<IntrospectToken>,
) -> Result<Json<Introspection>, ApiError> {
    let found = Tokens::new(api.store)
        .recognise(command.body.secret.reveal())
        .await?;
    let token = found.map(|record| token::view(record, Timestamp::now()));
    Ok(Json(Introspection { token }))
}
