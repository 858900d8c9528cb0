//! Whether a signed request is still in time.

use jiff::{SignedDuration, Timestamp};

use super::wire::Params;

/// How far ahead a request may expire.
const LONGEST: SignedDuration = SignedDuration::from_mins(15);

/// Whether a request may be taken now: without version 3 `expires` means nothing.
pub(super) fn is_in_time(params: &Params, now: Timestamp) -> bool {
    if params.get("signatureversion") != Some("3") {
        return true;
    }
    let expires = params.get("expires").and_then(parse);
    expires.is_some_and(|expires| now <= expires && expires <= now + LONGEST)
}

/// An expiry as clients write it: `2011-10-10T12:00:00+0530`, or RFC 3339 with `Z`.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", text)
        .or_else(|_| text.parse())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let noon: Timestamp = "2011-10-10T06:30:00Z".parse().unwrap();
        assert_eq!(parse("2011-10-10T12:00:00+0530"), Some(noon));
        assert_eq!(parse("2011-10-10T06:30:00Z"), Some(noon));
        for text in [
            "",
            "soon",
            "2011-10-10",
            "2011-10-10T12:00:00",
            "2011-10-10T12:00:00 0530",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn in_time_is_neither_past_nor_far_ahead() {
        let now: Timestamp = "2031-01-02T03:00:00Z".parse().unwrap();
        for (expires, in_time) in [
            ("2031-01-02T03:00:00Z", true),
            ("2031-01-02T02:59:59Z", false),
            ("2031-01-02T03:15:00%2B0000", true),
            ("2031-01-02T03:15:01%2B0000", false),
            ("tomorrow", false),
            ("", false),
        ] {
            let params =
                |version| Params::decode(&format!("signatureVersion={version}&expires={expires}"), "");
            assert_eq!(is_in_time(&params(3).unwrap(), now), in_time, "{expires}");
            assert!(
                is_in_time(&params(2).unwrap(), now),
                "{expires} without version 3"
            );
        }
    }
}
