//! The one place where it is decided whether a request is let through: who asks, how often, and what its route needs.
//!
//! What a route needs stands in the table that describes the API; a route that is not in it needs everything.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serving::{ClientName, Peer, Rate};
use tracing::Span;
use volume_client::types::ErrorCode;

use super::openapi;
use super::problem::{ApiError, failure};
use crate::auth::{Brought, Caller, Denied, Policy, Tokens};
use crate::model::{Failure, Scope};
use crate::store::Store;

/// The scope that each described request needs; `None` for those that anybody may make.
static NEEDS: LazyLock<HashMap<(String, String), Option<Scope>>> = LazyLock::new(openapi::needs);

/// Who is let in, and how often.
#[derive(Clone)]
pub struct Access {
    /// Who is let in without a token.
    pub policy: Policy,
    /// How often each caller may ask.
    pub rate: Arc<Rate>,
}

impl Access {
    /// Lets callers in by `policy`, each so often in a second, and twice as often after a pause.
    #[must_use]
    pub fn new(policy: Policy, requests_per_second: u32) -> Self {
        let one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let burst = requests_per_second.saturating_mul(2);
        Self {
            policy,
            rate: Arc::new(Rate::new(one(requests_per_second), one(burst))),
        }
    }
}

/// What the layer around the routes works with.
#[derive(Clone)]
pub(super) struct Gate {
    access: Access,
    tokens: Tokens,
}

impl Gate {
    pub(super) fn new(access: Access, store: Store) -> Self {
        Self {
            access,
            tokens: Tokens::new(store),
        }
    }
}

/// Lets a request through, or says why not. Requests that pass carry their [`Caller`]. One that reads and waits ends when its token
/// works no more.
pub(super) async fn require(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    // What is not there is nobody's secret.
    let Some(needed) = route.and_then(|route| needed(request.method(), route)) else {
        return next.run(request).await;
    };
    let text = brought(request.headers()).map(str::to_owned);
    match gate.admit(request.extensions(), text.as_deref(), needed).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            let answer = match text.clone() {
                // Who only reads may be broken off; what changes something is told how that went.
                Some(text) if request.method().is_safe() => tokio::select! {
                    biased;
                    answer = next.run(request) => answer,
                    () = gate.tokens.clone().ended(text) => return denied(Denied::Unknown),
                },
                _ => next.run(request).await,
            };
            until_revoked(answer, text, gate.tokens)
        }
        Err(refusal) => refusal,
    }
}

/// The scope that a request needs; `None` where anybody may make it.
fn needed(method: &Method, route: &str) -> Option<Scope> {
    let method = match method.as_str() {
        "HEAD" => "get".to_owned(),
        other => other.to_ascii_lowercase(),
    };
    NEEDS
        .get(&(method, route.to_owned()))
        .copied()
        .unwrap_or(Some(Scope::Admin))
}

/// The bearer token of a request. Other schemes are none that are known here: an empty text stands for them.
fn brought(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?;
    let text = value.to_str().unwrap_or_default();
    let (scheme, token) = text.split_once(' ').unwrap_or_default();
    Some(match scheme.eq_ignore_ascii_case("bearer") {
        true => token.trim(),
        false => "",
    })
}

impl Gate {
    async fn admit(&self, known: &Extensions, text: Option<&str>, needed: Scope) -> Result<Caller, Response> {
        let peer = known.get::<Peer>();
        let record = match text {
            Some(text) => self.tokens.recognise(text).await.map_err(refused)?,
            None => None,
        };
        let who = record
            .as_ref()
            .map_or_else(|| bucket(peer), |token| Some(token.name.clone()));
        if let Some(wait) = who.and_then(|who| self.access.rate.check(&who).err()) {
            return Err(too_often(wait));
        }
        let brought = match (text, &record) {
            (None, _) => Brought::Nothing,
            (Some(_), Some(record)) => Brought::Token(record),
            (Some(_), None) => Brought::Useless,
        };
        let mut caller = self.access.policy.caller(peer, brought).map_err(denied)?;
        if let Some(name) = known.get::<ClientName>() {
            caller.actor = format!("{} cert:{name}", caller.actor);
        }
        Span::current().record("actor", caller.actor.as_str());
        caller.require(needed).map_err(denied)?;
        Ok(caller)
    }
}

/// Whose requests are counted together where there is no token. Root on the Unix socket is not counted.
fn bucket(peer: Option<&Peer>) -> Option<String> {
    match peer? {
        Peer::Unix { uid: 0, .. } => None,
        Peer::Unix { uid, .. } => Some(format!("uid:{uid}")),
        Peer::Tcp(address) => Some(format!("tcp:{}", address.ip())),
    }
}

/// A stream ends when the token that began it works no more.
fn until_revoked(response: Response, text: Option<String>, tokens: Tokens) -> Response {
    let kind = response.headers().get(CONTENT_TYPE);
    let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    match text {
        Some(text) if is_stream => response.map(|body| {
            let ended = Box::pin(tokens.ended(text));
            Body::from_stream(body.into_data_stream().take_until(ended))
        }),
        _ => response,
    }
}

fn refused(error: crate::store::StoreError) -> Response {
    ApiError::from(error).into_response()
}

fn denied(why: Denied) -> Response {
    let (failure, challenge) = match why {
        Denied::Unknown => (
            Failure::new(ErrorCode::Unauthorized, "the request brings no token, or one that does not work").hint(
                "send `Authorization: Bearer …` with a token of `volumectl tokens create`, or ask over the Unix socket",
            ),
            "Bearer".to_owned(),
        ),
        Denied::Insufficient(needed) => (
            Failure::new(ErrorCode::Forbidden, format!("this takes the scope `{needed}`, and the caller has less"))
                .hint("`volumectl tokens list` shows scopes; an administrator makes tokens of other scopes"),
            format!("Bearer error=\"insufficient_scope\", scope=\"{needed}\""),
        ),
    };
    let mut response = ApiError::from(failure).into_response();
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn too_often(wait: std::time::Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let refusal = failure(
        ErrorCode::RateLimited,
        format!("the caller asks too often; ask again in {seconds} s"),
    );
    let mut response = refusal.into_response();
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
