//! Whether a request is let through: who asks, how often, and whether what it asks for changes something.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use serving::{Peer, Rate};
use tracing::Span;
use volume_client::types::TokenScope;

use super::problem::{Code, Problem};
use super::recognised::{DaemonTokens, TokenKeeper, Unanswered};
use super::token::{Token, brought, unauthorized};
use crate::model::chain;

/// After how long it is worth asking again, where the daemon did not say whose a token is; in seconds.
const ASK_AGAIN: u64 = 2;

/// Who is let in, and how often: the token of the service's own file may do everything, those of the daemon what their scopes say,
/// and who may open our Unix socket everything, as its mode is the permission.
pub struct Access {
    own: Token,
    daemon: DaemonTokens,
    rate: Rate,
}

/// Who was let in.
struct Caller {
    /// As the log names it.
    actor: String,
    /// What it may do.
    scope: TokenScope,
    /// The secret of a token of the daemon's, which may end while a stream lasts.
    secret: Option<String>,
}

impl Access {
    /// Lets in who brings `own` or a token that `keeper` knows; each caller so often in a second, and twice as often after a pause.
    #[must_use]
    pub fn new(own: Token, keeper: Arc<dyn TokenKeeper>, requests_per_second: NonZeroU32) -> Self {
        let burst = requests_per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1));
        Self {
            own,
            daemon: DaemonTokens::new(keeper),
            rate: Rate::new(requests_per_second, burst),
        }
    }

    async fn admit(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Result<Caller, Response> {
        let from = peer.map_or_else(|| "unknown".to_owned(), Peer::to_string);
        let Some(secret) = brought(headers) else {
            self.count(bucket(peer)).map_err(too_often)?;
            return match peer {
                Some(Peer::Unix { .. }) => Ok(Caller::everything(from)),
                _ => Err(unknown()),
            };
        };
        if self.own.is(secret) {
            self.count(Some("the service's token".to_owned()))
                .map_err(too_often)?;
            return Ok(Caller::everything(format!("token {from}")));
        }
        // Before the daemon is asked, so that nobody has it asked without end.
        let remembered = self.daemon.remembered(secret).flatten();
        let who = remembered.map_or_else(|| bucket(peer), |token| Some(token.name));
        self.count(who).map_err(too_often)?;
        let token = self
            .daemon
            .recognise(secret)
            .await
            .map_err(|why| unchecked(&why))?;
        let token = token.ok_or_else(unknown)?;
        Ok(Caller {
            actor: format!("token:{} {from}", token.name),
            scope: token.scope,
            secret: Some(secret.to_owned()),
        })
    }

    fn count(&self, who: Option<String>) -> Result<(), Duration> {
        who.map_or(Ok(()), |who| self.rate.check(&who))
    }
}

impl Caller {
    fn everything(actor: String) -> Self {
        Self {
            actor,
            scope: TokenScope::Admin,
            secret: None,
        }
    }
}

/// Lets a request through, or says why not.
pub(super) async fn require(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>();
    let caller = match access.admit(peer, request.headers()).await {
        Ok(caller) => caller,
        Err(refusal) => return refusal,
    };
    Span::current().record("actor", caller.actor.as_str());
    let needed = needed(request.method());
    if caller.scope < needed {
        return insufficient(needed);
    }
    until_revoked(next.run(request).await, caller.secret, access)
}

/// What a request takes. What changes nothing is asked for by methods that change nothing, here as everywhere (RFC 9110, 9.2.1); so
/// there is no route that could be forgotten.
pub(super) fn needed(method: &Method) -> TokenScope {
    match method.is_safe() {
        true => TokenScope::Read,
        false => TokenScope::Operate,
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
fn until_revoked(response: Response, secret: Option<String>, access: Arc<Access>) -> Response {
    let kind = response.headers().get(CONTENT_TYPE);
    let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    match secret {
        Some(secret) if is_stream => response.map(|body| {
            let ended = Box::pin(async move { access.daemon.ended(&secret).await });
            Body::from_stream(body.into_data_stream().take_until(ended))
        }),
        _ => response,
    }
}

fn unknown() -> Response {
    unauthorized(
        "send `Authorization: Bearer …` with the token that stands in the service's token file, or one of `volumectl tokens create`",
    )
}

fn unchecked(why: &Unanswered) -> Response {
    tracing::warn!(error = chain(why), "nobody is let in by a token of the daemon's");
    let hint = "the token may be good: ask again; `volumectl status` tells whether the daemon is there, and the token of the service's \
                own file works without it";
    let mut response = Problem::new(Code::TokenUnchecked, chain(why), hint).into_response();
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(ASK_AGAIN));
    response
}

fn insufficient(needed: TokenScope) -> Response {
    let word = match needed {
        TokenScope::Read => "read",
        TokenScope::Operate => "operate",
        TokenScope::Admin => "admin",
    };
    let detail = format!("this takes the scope `{word}`, and the token has less");
    let hint = "`volumectl tokens list` shows scopes; an administrator makes tokens of other scopes";
    let mut response = Problem::new(Code::Forbidden, detail, hint).into_response();
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{word}\"");
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn too_often(wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let detail = format!("the caller asks too often; ask again in {seconds} s");
    let hint = "follow jobs on the stream of events; --requests-per-second says how often a caller may ask";
    let mut response = Problem::new(Code::RateLimited, detail, hint).into_response();
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
