//! `volumectl tokens`: who may ask over TCP, and for what.

use clap::Subcommand;
use jiff::{Span, Timestamp, Zoned};

use super::Session;
use super::args::word;
use super::failure::Failure;
use super::table::{Table, time};
use crate::types::{NewToken, RotateToken, Token, TokenGrant, TokenScope};

#[derive(Debug, Subcommand)]
pub(super) enum TokensVerb {
    /// List tokens
    List,
    /// Make a token; its secret is printed this once
    Create {
        /// Its name
        name: String,
        /// What it lets do: read, operate, admin
        #[arg(long, value_parser = word::<TokenScope>)]
        scope: TokenScope,
        /// When it ends: a time, or how long from now, such as 90d; never where it is not given
        #[arg(long, value_name = "TIME", value_parser = parse_end)]
        expires: Option<Timestamp>,
    },
    /// Give a token another secret, printed this once; the former one works on for a while
    Rotate {
        /// Its name
        name: String,
        /// For how many seconds
        #[arg(long, value_name = "SECONDS", default_value = "3600")]
        overlap: u32,
    },
    /// Revoke a token: none of its secrets works any more
    Revoke {
        /// Its name
        name: String,
    },
}

/// A time, or a span from now.
fn parse_end(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let span = text.parse::<Span>();
    let end = span.and_then(|span| Zoned::now().checked_add(span));
    end.map(|end| end.timestamp())
        .map_err(|_| "expected a time such as 2027-01-31T00:00:00Z, or a span such as 90d or 12h".to_owned())
}

impl Session {
    pub(super) async fn tokens(&self, verb: Option<TokensVerb>) -> Result<(), Failure> {
        match verb.unwrap_or(TokensVerb::List) {
            TokensVerb::List => {
                let tokens = self.client.list_tokens().await?;
                self.out.list(&tokens, table)
            }
            TokensVerb::Create { name, scope, expires } => {
                let new = NewToken {
                    name,
                    scope,
                    expires_at: expires,
                };
                let grant = self.client.create_token(&new).await?;
                self.out.show(&grant, secret)
            }
            TokensVerb::Rotate { name, overlap } => {
                let rotate = RotateToken {
                    overlap_seconds: Some(overlap),
                };
                let grant = self.client.rotate_token(&name, &rotate).await?;
                self.out.show(&grant, secret)
            }
            TokensVerb::Revoke { name } => Ok(self.client.revoke_token(&name).await?),
        }
    }
}

/// The secret alone, so that it can be led into a file.
fn secret(grant: &TokenGrant) -> String {
    grant.secret.reveal().to_owned()
}

fn table(tokens: &[Token]) -> Table {
    let mut table = Table::new(&["name", "id", "scope", "expires", "last used", "created by"]);
    for token in tokens {
        let expires = match token.expires_at {
            Some(at) if token.expired => format!("{} (expired)", time(at)),
            Some(at) => time(at),
            None => "never".to_owned(),
        };
        table.row([
            token.name.clone(),
            token.id.clone(),
            scope(token.scope).to_owned(),
            expires,
            token.last_used_at.map_or_else(|| "never".to_owned(), time),
            token.created_by.clone(),
        ]);
    }
    table
}

fn scope(scope: TokenScope) -> &'static str {
    match scope {
        TokenScope::Read => "read",
        TokenScope::Operate => "operate",
        TokenScope::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_or_a_span_from_now() {
        assert_eq!(
            parse_end("2030-01-01T00:00:00Z").unwrap(),
            "2030-01-01T00:00:00Z".parse().unwrap()
        );
        assert!(parse_end("90d").unwrap() > Timestamp::now());
        assert!(parse_end("soon").is_err());
    }
}
