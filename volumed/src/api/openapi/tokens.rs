//! The requests about tokens.

use volume_client::types::ErrorCode::{StoreFull, TokenExists, TokenNotFound};
use volume_client::types::{IntrospectToken, Introspection, NewToken, RotateToken, Token, TokenGrant};

use super::describe::{Described, delete, get, post};
use crate::model::Scope;

pub(super) fn requests() -> Vec<Described> {
    let all = [
        get(
            "/api/v1/tokens",
            "list_tokens",
            "Tokens that were not revoked, by name",
        )
        .lists::<Token>("all of them"),
        post(
            "/api/v1/tokens",
            "create_token",
            "Make a token; its secret is in this answer and nowhere else, and no repetition tells it again",
        )
        .takes::<NewToken>()
        .answers::<TokenGrant>("201", "the token and its secret")
        .fails(&[TokenExists]),
        post(
            "/api/v1/tokens/{name}/rotate",
            "rotate_token",
            "Give a token another secret; the former one works on for a while",
        )
        .may_take::<RotateToken>()
        .answers::<TokenGrant>("200", "the token and its new secret")
        .fails(&[TokenNotFound]),
        delete(
            "/api/v1/tokens/{name}",
            "revoke_token",
            "Revoke a token; streams that it began end within seconds",
        )
        .answers_plainly("204", "it works no more")
        .fails(&[TokenNotFound, StoreFull]),
    ];
    let mut all: Vec<_> = all
        .into_iter()
        .map(|described| described.needs(Scope::Admin))
        .collect();
    // Who has a secret may have it looked at; the service of replications has no need to rule over tokens.
    all.push(
        post(
            "/api/v1/tokens/introspect",
            "introspect_token",
            "Whose a secret is, for services that take the daemon's tokens",
        )
        .takes::<IntrospectToken>()
        .answers::<Introspection>("200", "the token, where it works now")
        .needs(Scope::Operate),
    );
    all
}
