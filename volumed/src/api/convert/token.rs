//! Tokens.

use jiff::Timestamp;
use volume_client::types::{Secret, Token, TokenGrant, TokenScope};

use crate::auth;
use crate::model::Scope;
use crate::store::TokenRecord;

/// The token as it stands at `now`.
pub(in crate::api) fn view(record: TokenRecord, now: Timestamp) -> Token {
    Token {
        name: record.name,
        id: record.id,
        scope: scope(record.scope),
        created_at: record.created_at,
        created_by: record.created_by,
        rotated_at: record.rotated_at,
        former_until: record.former_until.filter(|until| now < *until),
        expired: record.expires_at.is_some_and(|at| at <= now),
        expires_at: record.expires_at,
        last_used_at: record.last_used_at,
    }
}

/// The answer to who asked for a secret.
pub(in crate::api) fn grant((record, secret): (TokenRecord, auth::Secret), now: Timestamp) -> TokenGrant {
    TokenGrant {
        token: view(record, now),
        secret: Secret::new(secret.reveal()),
    }
}

/// The scope that was asked for.
pub(in crate::api) fn scope_of(scope: TokenScope) -> Scope {
    match scope {
        TokenScope::Read => Scope::Read,
        TokenScope::Operate => Scope::Operate,
        TokenScope::Admin => Scope::Admin,
    }
}

fn scope(scope: Scope) -> TokenScope {
    match scope {
        Scope::Read => TokenScope::Read,
        Scope::Operate => TokenScope::Operate,
        Scope::Admin => TokenScope::Admin,
    }
}
