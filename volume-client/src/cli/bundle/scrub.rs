//! Takes out of a text what looks like a secret: the second net, for what should not have been there in the first place.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands in the place of what was taken out.
const GONE: &str = "[scrubbed]";

/// What a value may stand in; the first within JSON that is a text of JSON.
const QUOTES: [&str; 3] = [r#"\""#, "\"", "'"];

/// A word that names a secret, what may follow it before its value, and the value. Names of files of secrets are no secrets.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)([a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|signature|credential|private[_-]?key|psk|authorization|cookie|session[_-]?(?:id|key))[a-z0-9_-]*)(\\?["']?\s*(?:=|:|%3[aAdD])\s*)(\\"(?:[^"\\]|\\\\\\"|\\[^"])*(?:\\")?|"(?:[^"\\]|\\.)*"?|'[^']*'|[^\s&,;"'\\}\])]+)"#,
    )
});
/// What comes with a request to say who asks.
static BEARER: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\b(bearer|basic)\s+([a-z0-9._~+/=-]{8,})"));
/// Who and with what password, within an address.
static USERINFO: LazyLock<Regex> = LazyLock::new(|| pattern(r#"([a-zA-Z][a-zA-Z0-9+.-]*://)([^/\s@"']+)@"#));
/// Private keys.
static PEM: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)")
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern that a test has compiled")
}

/// The text without what looks like secrets, and how much was taken out.
pub(super) fn scrub(text: &str) -> (String, usize) {
    let mut count = 0;
    let text = PEM.replace_all(text, |_: &Captures<'_>| {
        count += 1;
        GONE
    });
    let text = USERINFO.replace_all(&text, |found: &Captures<'_>| {
        count += 1;
        format!("{}{GONE}@", &found[1])
    });
    let text = BEARER.replace_all(&text, |found: &Captures<'_>| {
        count += 1;
        format!("{} {GONE}", &found[1])
    });
    let text = NAMED.replace_all(&text, |found: &Captures<'_>| {
        match is_harmless(&found[1], &found[3]) {
            true => found[0].to_owned(),
            false => {
                count += 1;
                let quote = QUOTES.into_iter().find(|quote| found[3].starts_with(quote));
                let quote = quote.unwrap_or_default();
                format!("{}{}{quote}{GONE}{quote}", &found[1], &found[2])
            }
        }
    });
    (text.into_owned(), count)
}

/// The same for what may be no text at all.
pub(super) fn scrub_bytes(content: &[u8]) -> (Vec<u8>, usize) {
    let (text, count) = scrub(&String::from_utf8_lossy(content));
    (text.into_bytes(), count)
}

/// Where a secret is kept, or that there is none, is worth knowing.
fn is_harmless(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let bare = value.trim_matches(['"', '\'', '\\']);
    ["file", "path", "dir", "_total", "count"]
        .iter()
        .any(|end| name.ends_with(end))
        || bare.is_empty()
        || ["null", "none", "true", "false", GONE].contains(&bare)
        || (bare.starts_with('/') && !bare[1..].is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_taken_out() {
        for text in [
            "password = \"hunter2hunter2\"",
            "password=hunter2hunter2 next",
            "\"api_key\": \"hunter2hunter2\",",
            "\\\"secretKey\\\":\\\"hunter2hunter2\\\"",
            "apiKey=hunter2hunter2&command=x",
            "signature=hunter2hunter2%3D",
            "Authorization: Bearer hunter2hunter2",
            "authorization: Basic hunter2hunter2==",
            "proxy http://joe:hunter2hunter2@proxy:3128/",
            "nbds://joe:hunter2hunter2@[::1]:10809/x",
            "-----BEGIN EC PRIVATE KEY-----\nhunter2hunter2\n-----END EC PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nhunter2hunter2",
            "VOLUMED_CLOUDSTACK_SECRET_KEY='hunter2hunter2'",
            "session_id: hunter2hunter2",
            "\"token\":\"hunter2\\\"hunter2hunter2\"",
            "\"token\":\"hunter2hunter2 cut off",
            "token hunter2: token=\"hunter2hunter2 with words\"",
        ] {
            let (clean, count) = scrub(text);
            assert!(!clean.contains("hunter2hunter2") && count > 0, "{text}: {clean}");
        }
    }

    #[test]
    fn where_secrets_are_and_what_else_there_is_to_know_stays() {
        for text in [
            "credentials_file = \"/etc/volumed/credentials.toml\"",
            "token_file = \"worker.token\"",
            "the password is wrong",
            "\"error_code\": \"token_expired\"",
            "http://127.0.0.1:8090/api/v1/volumes?name=x",
            "volumed_operations_total{kind=\"attach\"} 7",
            "\"token\": null",
        ] {
            assert_eq!(scrub(text), (text.to_owned(), 0));
        }
    }

    #[test]
    fn what_was_json_stays_json() {
        let text = r#"{"a":{"password":"x\"y","n":1},"b":["api_key=zzzz"],"token":"q"}"#;
        let (clean, count) = scrub(text);
        let value: serde_json::Value =
            serde_json::from_str(&clean).unwrap_or_else(|e| panic!("{e}: {clean}"));
        assert_eq!((value["a"]["n"].as_i64(), count), (Some(1), 3), "{clean}");
        let within = serde_json::json!({ "text": text }).to_string();
        let outer: serde_json::Value = serde_json::from_str(&scrub(&within).0).unwrap();
        assert!(!outer.to_string().contains("zzzz"), "{outer}");
    }
}
