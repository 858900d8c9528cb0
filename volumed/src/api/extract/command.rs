//! A request that changes something: who asks, under which key, how long they wait, and the body.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;
use serving::came_too_slowly;
use sha2::{Digest, Sha256};
use volume_client::types::ErrorCode;

use super::query::params;
use crate::api::observe::{RequestId, actor};
use crate::api::problem::{ApiError, failure};
use crate::store::idempotency::{self, KeyedResource};
use crate::store::{Asker, Key, Replay, StoreError, Tx};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The longest time that a request waits for its operation; who asks for more gets this.
pub(in crate::api) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A request that changes something.
pub(in crate::api) struct Command<T> {
    /// Who asks.
    pub(in crate::api) asker: Asker,
    /// The key under which a repetition is recognised, with a digest of what is asked.
    pub(in crate::api) key: Option<Key>,
    /// How long the caller waits for the end of the operation.
    pub(in crate::api) wait: Option<Duration>,
    /// The name by which the caller confirms that data may go.
    pub(in crate::api) confirm_name: Option<String>,
    /// What is asked.
    pub(in crate::api) body: T,
}

/// The body of a request that says everything with its path: none, or `{}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Empty {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandQuery {
    wait: Option<u64>,
    confirm_name: Option<String>,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Command<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let query: CommandQuery = params(&parts.uri)?;
        let key = key(&parts.headers)?;
        let asker = Asker {
            actor: actor(&parts.extensions),
            request_id: parts.extensions.get::<RequestId>().map(RequestId::to_string),
        };
        let (headers, method, uri) = (parts.headers.clone(), parts.method.clone(), parts.uri.clone());
        let bytes = Bytes::from_request(Request::from_parts(parts, body), state).await;
        let bytes = bytes.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                failure(ErrorCode::BodyTooLarge, "the body is larger than is taken")
            }
            _ if came_too_slowly(&rejection) => failure(
                ErrorCode::BodyTooSlow,
                "the body did not come in time; nothing was changed",
            ),
            _ => failure(ErrorCode::MalformedJson, "the body could not be read to its end"),
        })?;
        let (body, json) = parse(&headers, &bytes)?;
        Ok(Self {
            asker,
            key: key.map(|key| Key {
                request_hash: digest(method.as_str(), &uri, &json),
                key,
            }),
            wait: query
                .wait
                .map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT)),
            confirm_name: query.confirm_name,
            body,
        })
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let is_printable = |text: &&str| text.bytes().all(|c| c == b' ' || c.is_ascii_graphic());
    let text = value.to_str().ok().filter(is_printable);
    match text.filter(|text| (1..=128).contains(&text.len())) {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(failure(
            ErrorCode::InvalidRequest,
            "the Idempotency-Key must be 1 to 128 printable ASCII characters",
        )),
    }
}

fn parse<T: DeserializeOwned>(headers: &HeaderMap, bytes: &[u8]) -> Result<(T, Value), ApiError> {
    let bytes = if bytes.is_empty() {
        b"{}"
    } else {
        require_json(headers, bytes)?
    };
    let refused = |error: serde_json::Error| match error.classify() {
        Category::Data => failure(ErrorCode::InvalidRequest, format!("the body is refused: {error}")),
        _ => failure(ErrorCode::MalformedJson, format!("the body is not JSON: {error}")),
    };
    let json: Value = serde_json::from_slice(bytes).map_err(refused)?;
    if !json.is_object() {
        return Err(failure(
            ErrorCode::InvalidRequest,
            "the body must be a JSON object",
        ));
    }
    Ok((serde_json::from_slice(bytes).map_err(refused)?, json))
}

fn require_json<'b>(headers: &HeaderMap, bytes: &'b [u8]) -> Result<&'b [u8], ApiError> {
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let kind = declared.split(';').next().unwrap_or("").trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(bytes);
    }
    let message = format!("the body is declared as `{declared}`, not as `application/json`");
    Err(failure(ErrorCode::UnsupportedMediaType, message))
}

/// A digest of what is asked: method, path, and what in query and body says what is to be done. How long the caller
/// waits, and how its JSON is spaced and ordered, does not.
fn digest(method: &str, uri: &Uri, json: &Value) -> String {
    let query = uri.query().unwrap_or("").split('&');
    let query: Vec<_> = query.filter(|pair| !pair.starts_with("wait=")).collect();
    let text = format!("{method}\n{}\n{}\n{json}", uri.path(), query.join("&"));
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Notes that `key` was used for this request on the resource `id`, for requests whose repetition does no harm.
/// Returns whether the key belongs to this request, and not to another one.
pub(in crate::api) fn claim(
    tx: &Tx<'_>,
    key: Option<&Key>,
    resource: KeyedResource,
    id: &str,
) -> Result<bool, StoreError> {
    let Some(key) = key else {
        return Ok(true);
    };
    match idempotency::look_up(tx, key, resource)? {
        Replay::Same(_) => Ok(true),
        Replay::Other => Ok(false),
        Replay::New => idempotency::record(tx, key, resource, id).map(|()| true),
    }
}
