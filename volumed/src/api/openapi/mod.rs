//! The API described for programs (OpenAPI 3.1): built from the wire types and one table of requests.

mod describe;
mod table;
mod tokens;

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Json;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Info, OpenApi, OpenApiBuilder};

use self::describe::Described;
use crate::model::Scope;

static DOCUMENT: LazyLock<serde_json::Value> =
    LazyLock::new(|| serde_json::to_value(document()).expect("the description has only strings and numbers"));

/// What holds for every request.
const ABOUT: &str = "\
Volumes of a cloud and the kernel devices that they are on this machine.\n\n\
Sizes are bytes, times RFC 3339 UTC. A request that changes the world answers 202 with an operation; `?wait=SECONDS` \
(at most 60) waits for its end. With an `Idempotency-Key`, a repetition of the same request gets the same operation, \
and the key with another request is refused. Lists go on at `next_cursor`.\n\n\
A token has a scope: `read` looks, `operate` changes, `admin` rules over tokens; each may do what those before it may. What a \
request takes stands with it.\n\n\
Every error is `application/problem+json` with a closed `code`. A path that there is not gets `route_not_found`, a \
method that a path does not take `method_not_allowed`, a defect of the daemon `internal`. The codes are those of \
`error_code` in failed operations as well.";

/// How a token is brought along, by its name in the description.
const BEARER: &str = "token";

/// What each request needs, by method and route; `None` where anybody may make it.
pub(super) fn needs() -> HashMap<(String, String), Option<Scope>> {
    table::requests().iter().map(Described::need).collect()
}

/// The whole description.
#[must_use]
pub fn document() -> OpenApi {
    let (paths, mut components) = describe::assemble(table::requests());
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A token of `volumectl tokens create`. Over the Unix socket none is needed.",
        ));
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    let mut info = Info::new("volumed", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components))
        .build()
}

/// Serves the description.
pub(super) async fn serve() -> Response {
    Json(&*DOCUMENT).into_response()
}
