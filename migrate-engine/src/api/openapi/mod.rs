//! The APIs of the service described for programs (OpenAPI 3.1): built from the wire types and one table of requests.

mod describe;
mod shapes;
mod table;
#[cfg(test)]
pub(super) mod tests;

use std::sync::LazyLock;

use axum::Json;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Info, OpenApi, OpenApiBuilder, Server};

static DOCUMENT: LazyLock<serde_json::Value> =
    LazyLock::new(|| serde_json::to_value(document()).expect("the description has only strings and numbers"));

/// What holds for every request.
const ABOUT: &str = "\
Machines of VMware replicated into volumes of a cloud: what `migrate-engine serve` answers.\n\n\
It listens twice, by default on 127.0.0.1:8082 for replications, and on 127.0.0.1:9081 for discovery; each can be moved. What is \
answered on the second has `servers` of its own, and what is answered on both names both. Replications are behind bearer \
tokens: that of the service's token file, and those of the daemon by their scopes. Discovery needs none: who asks brings along who he is at the source.\n\n\
Sizes are bytes, times RFC 3339 UTC. A request that begins something answers 202, and is followed at `Location` or on the stream of \
events. With an `Idempotency-Key`, a repetition of the same request gets the same job, and the key with another request is refused.\n\n\
Every error is `application/problem+json` with a closed `code`. A path that there is not gets `route_not_found`, a method that a path \
does not take `method_not_allowed`.\n\n\
Not described is the API under `/api/v1/worker` on a third listener: it is private between `migrate-engine serve` and \
`migrate-engine worker`, and `worker_unwelcome` and `call_not_found` are said only there.";

/// Where replications are asked for, unless somebody said otherwise.
const REPLICATIONS: &str = "http://127.0.0.1:8082";
/// Where machines are discovered, unless somebody said otherwise.
const DISCOVERY: &str = "http://127.0.0.1:9081";
/// What the scheme of the token is called in the description.
const TOKEN: &str = "token";

/// The whole description.
fn document() -> OpenApi {
    let (paths, schemas) = describe::assemble(table::requests());
    let mut info = Info::new("migrate-engine", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "the token that stands in the service's token file, /var/lib/migrate-engine/token, or one of `volumectl tokens create` of the scope \
             that the request names",
        ))
        .build();
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(TOKEN, SecurityScheme::Http(token))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([replications()]))
        .paths(paths)
        .components(Some(components))
        .build()
}

fn replications() -> Server {
    let mut server = Server::new(REPLICATIONS);
    server.description = Some("replications".to_owned());
    server
}

fn discovery() -> Server {
    let mut server = Server::new(DISCOVERY);
    server.description = Some("discovery".to_owned());
    server
}

/// Serves the description.
pub(super) async fn serve() -> Response {
    Json(&*DOCUMENT).into_response()
}
