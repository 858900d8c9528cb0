//! The signature of a request as the management server computes it: Java's URL encoding, HMAC-SHA1, Base64.
//!
//! Written from the server's side (`ApiServer.verifyRequest`), so that a client is checked and not repeated. The parts
//! are short and public (RFC 2104, RFC 4648), and have the vectors of their standards as tests.

use std::fmt::Write;

use sha1::{Digest, Sha1};

use super::wire::Params;

/// The block of SHA-1, in bytes.
const BLOCK: usize = 64;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What is signed: every parameter but the signature, sorted by its name as it came, joined, and lowered.
pub(super) fn string_to_sign(params: &Params) -> String {
    let mut sorted: Vec<_> = params
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("signature"))
        .collect();
    sorted.sort();
    let pairs: Vec<_> = sorted
        .into_iter()
        .map(|(name, value)| format!("{name}={}", url_encode(value)))
        .collect();
    pairs.join("&").to_lowercase()
}

/// The signature that the parameters must carry.
pub(super) fn signature(params: &Params, secret: &str) -> String {
    base64(&hmac_sha1(secret.as_bytes(), string_to_sign(params).as_bytes()))
}

/// Compares in a time that does not tell how much is equal.
pub(super) fn is_same(ours: &str, theirs: &str) -> bool {
    let differences = ours
        .bytes()
        .zip(theirs.bytes())
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    ours.len() == theirs.len() && differences == 0
}

/// `java.net.URLEncoder` with `%20` for a blank: `*` stays, `~` does not.
fn url_encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes all that is written to it");
        }
    }
    encoded
}

fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..20].copy_from_slice(&Sha1::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let keyed = |pad: u8, text: &[u8]| -> [u8; 20] {
        let mut hash = Sha1::new();
        hash.update(block.map(|byte| byte ^ pad));
        hash.update(text);
        hash.finalize().into()
    };
    keyed(0x5c, &keyed(0x36, message))
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group
            .iter()
            .chain([&0; 2])
            .take(3)
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        for place in 0..4 {
            let sextet = (word >> (18 - 6 * place)) & 0x3f;
            text.push(if place <= group.len() {
                char::from(BASE64[sextet as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params::of(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn the_vector_of_the_documentation() {
        let key = "plgWJfZK4gyS3mOMTVmjUVg-X-jlWlnfaUJ9GAbBbf9EdM-kAYMmAiLqzzq1ElZLYq_u38zCm0bewzGUdP66mg";
        let secret = "VDaACYb0LV9eNjTetIOElcVQkvJck_J_QljX_FcHRj87ZKiy0z0ty0ZsYBkoXkY9b7eq1EhwJaw7FF3akA3KBQ";
        let signed = params(&[("command", "listUsers"), ("response", "json"), ("apikey", key)]);
        assert_eq!(signature(&signed, secret), "TTpdDq/7j/J58XCRHomKoQXEQds=");
    }

    #[test]
    fn the_vector_with_everything_that_clients_get_wrong() {
        let signed = params(&[
            ("apiKey", "K-1_abc"),
            ("command", "createVolume"),
            ("response", "json"),
            ("name", "mig a*b~c[0]/d+e"),
            ("signatureVersion", "3"),
            ("expires", "2031-01-02T03:04:05+0000"),
            ("zoneid", "1b3c0e4a-0000-4000-8000-000000000001"),
            ("tags[0].key", "k"),
            ("SIGNATURE", "is never signed"),
        ]);
        assert_eq!(
            string_to_sign(&signed),
            "apikey=k-1_abc&command=createvolume&expires=2031-01-02t03%3a04%3a05%2b0000\
             &name=mig%20a*b%7ec%5b0%5d%2fd%2be&response=json&signatureversion=3&tags[0].key=k\
             &zoneid=1b3c0e4a-0000-4000-8000-000000000001"
        );
        assert_eq!(signature(&signed, "S3cret"), "UNfjQEXkWNiIdQp5gp+IZJI3TVE=");
    }

    #[test]
    fn names_are_sorted_before_they_are_lowered() {
        let mixed = params(&[("ab", "1"), ("aC", "2")]);
        assert_eq!(string_to_sign(&mixed), "ac=2&ab=1");
    }

    #[test]
    fn encoding_is_javas() {
        assert_eq!(url_encode("aZ09*-._"), "aZ09*-._");
        assert_eq!(
            url_encode(" ~!'()[]/:+,@=%ä"),
            "%20%7E%21%27%28%29%5B%5D%2F%3A%2B%2C%40%3D%25%C3%A4"
        );
    }

    #[test]
    fn hmac_follows_rfc_2202() {
        let hex = |bytes: [u8; 20]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(hmac_sha1(&[0x0b; 20], b"Hi There")),
            "b617318655057264e28bc0b6fb378c8ef146be00"
        );
        assert_eq!(
            hex(hmac_sha1(
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First"
            )),
            "aa4ae5e15272d00e95705637ce8a3b55ed402112"
        );
    }

    #[test]
    fn base64_follows_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn only_the_same_is_the_same() {
        assert!(is_same("abc", "abc"));
        assert!(!is_same("abc", "abd"));
        assert!(!is_same("abc", "abcd"));
    }
}
