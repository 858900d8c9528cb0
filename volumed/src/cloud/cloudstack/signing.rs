//! The signature of an API request: canonical string, HMAC-SHA1, Base64, exactly as the server verifies it.
//!
//! The server sorts by name before it lower-cases, the documentation says the other way round: with names in lower case
//! both agree, so [`Command`](super::command::Command) takes no other. Values are encoded as Java's `URLEncoder` does it, with
//! `+` made `%20`: `*` stays, `~` becomes `%7E`. Names are signed as they are, brackets included.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// The signature of these parameters (all that are sent, but `signature`).
pub(super) fn signature(parameters: &[(String, String)], secret: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(string_to_sign(parameters).as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn string_to_sign(parameters: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = parameters.iter().collect();
    sorted.sort();
    let pairs: Vec<_> = sorted
        .into_iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    pairs.join("&").to_ascii_lowercase()
}

/// The parameters as the body of a form. The server decodes names and values before it verifies them.
pub(super) fn form(parameters: &[(String, String)]) -> String {
    let pairs: Vec<_> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    pairs.join("&")
}

fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                text.push(char::from(byte))
            }
            // Writing to a string cannot fail.
            other => drop(write!(text, "%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn the_vector_of_the_documentation() {
        let parameters = pairs(&[
            ("command", "listUsers"),
            ("response", "json"),
            (
                "apikey",
                "plgWJfZK4gyS3mOMTVmjUVg-X-jlWlnfaUJ9GAbBbf9EdM-kAYMmAiLqzzq1ElZLYq_u38zCm0bewzGUdP66mg",
            ),
        ]);
        let secret = "VDaACYb0LV9eNjTetIOElcVQkvJck_J_QljX_FcHRj87ZKiy0z0ty0ZsYBkoXkY9b7eq1EhwJaw7FF3akA3KBQ";
        assert_eq!(signature(&parameters, secret), "TTpdDq/7j/J58XCRHomKoQXEQds=");
    }

    #[test]
    fn the_vector_of_java() {
        let parameters = pairs(&[
            ("apikey", "K-1_abc"),
            ("command", "createVolume"),
            ("response", "json"),
            ("name", "mig a*b~c[0]/d+e"),
            ("signatureversion", "3"),
            ("expires", "2031-01-02T03:04:05+0000"),
            ("zoneid", "1b3c0e4a-0000-4000-8000-000000000001"),
            ("tags[0].key", "k"),
        ]);
        assert_eq!(
            string_to_sign(&parameters),
            "apikey=k-1_abc&command=createvolume&expires=2031-01-02t03%3a04%3a05%2b0000\
             &name=mig%20a*b%7ec%5b0%5d%2fd%2be&response=json&signatureversion=3&tags[0].key=k\
             &zoneid=1b3c0e4a-0000-4000-8000-000000000001"
        );
        assert_eq!(signature(&parameters, "S3cret"), "UNfjQEXkWNiIdQp5gp+IZJI3TVE=");
    }

    #[test]
    fn values_are_encoded_as_java_does_it() {
        for (value, expected) in [
            ("a b", "a%20b"),
            ("*-._", "*-._"),
            ("~!'()[]/:+,@=%", "%7E%21%27%28%29%5B%5D%2F%3A%2B%2C%40%3D%25"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(encoded(value), expected);
        }
    }
}
