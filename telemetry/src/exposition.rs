//! Metrics as text: in the form that whoever asks can read.
//!
//! Prometheus asks for `OpenMetrics`; `promtool`, older collectors and people with curl get the classic form. Both tell the same.

use std::fmt::Write as _;

use http::HeaderMap;
use http::header::ACCEPT;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

use crate::Process;

/// The content type of `OpenMetrics`.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The content type of the classic form. Source: Prometheus, "Exposition formats".
pub const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A program's metrics, its build and its process among them, as `OpenMetrics`. `prefix` is what `registry` puts before names.
#[must_use]
pub fn openmetrics(registry: &Registry, prefix: &str, version: &str) -> String {
    let mut text = String::new();
    let mut process = Registry::default();
    process.register_collector(Box::new(Process));
    for registry in [registry, &process] {
        encode_registry(&mut text, registry).expect("writing to a string does not fail");
    }
    write!(
        text,
        "# HELP {prefix}_build_info Which build this is\n# TYPE {prefix}_build_info gauge\n\
         {prefix}_build_info{{version=\"{version}\"}} 1\n"
    )
    .expect("writing to a string does not fail");
    encode_eof(&mut text).expect("writing to a string does not fail");
    text
}

/// The text in the form that the request's headers ask for, with its content type.
#[must_use]
pub fn negotiated(headers: &HeaderMap, openmetrics: String) -> (&'static str, String) {
    let wanted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    match wanted.is_some_and(|wanted| wanted.contains("application/openmetrics-text")) {
        true => (OPENMETRICS, openmetrics),
        false => (CLASSIC, classic(&openmetrics)),
    }
}

/// In the classic form a counter is declared by the name that its sample has, and there are neither units nor an end mark.
#[must_use]
pub fn classic(openmetrics: &str) -> String {
    let mut counters = std::collections::HashSet::new();
    for line in openmetrics.lines() {
        if let Some(name) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.strip_suffix(" counter"))
        {
            counters.insert(name);
        }
    }
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        match declared(line).filter(|(_, name, _)| counters.contains(name)) {
            Some((what, name, rest)) => text.extend([what, name, "_total ", rest]),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// A line of help or type: its begin, the name, and what it says of it.
fn declared(line: &str) -> Option<(&str, &str, &str)> {
    let begin = ["# HELP ", "# TYPE "]
        .into_iter()
        .find(|begin| line.starts_with(begin))?;
    let (name, rest) = line[begin.len()..].split_once(' ')?;
    Some((begin, name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP x_calls Calls.\n# TYPE x_calls counter\n# UNIT x_calls calls\nx_calls_total{a=\"# EOF\"} 1\n\
                        # HELP x_now Now.\n# TYPE x_now gauge\nx_now 2\n# EOF\n";

    #[test]
    fn the_classic_form_declares_counters_by_the_names_of_their_samples() {
        assert_eq!(
            classic(TEXT),
            "# HELP x_calls_total Calls.\n# TYPE x_calls_total counter\nx_calls_total{a=\"# EOF\"} 1\n\
             # HELP x_now Now.\n# TYPE x_now gauge\nx_now 2\n"
        );
    }

    #[test]
    fn who_asks_for_openmetrics_gets_it_and_everybody_else_the_classic_form() {
        let mut headers = HeaderMap::new();
        assert_eq!(negotiated(&headers, TEXT.to_owned()).0, CLASSIC);
        headers.insert(ACCEPT, "*/*".parse().unwrap());
        assert_eq!(negotiated(&headers, TEXT.to_owned()).0, CLASSIC);
        headers.insert(
            ACCEPT,
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
                .parse()
                .unwrap(),
        );
        assert_eq!(
            negotiated(&headers, TEXT.to_owned()),
            (OPENMETRICS, TEXT.to_owned())
        );
    }

    #[test]
    fn build_and_process_are_told_beside_what_the_program_counts() {
        let text = openmetrics(&Registry::with_prefix("x"), "x", "1.2.3");
        assert!(text.contains("x_build_info{version=\"1.2.3\"} 1\n"), "{text}");
        assert!(text.contains("process_open_fds "), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
