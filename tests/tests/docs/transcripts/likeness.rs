//! Whether what was printed is what a page says, but for what differs by nature.

use std::sync::LazyLock;

use regex::Regex;

/// What stands for anything.
const ANYTHING: &str = "…";

/// What differs each time, and what it is replaced by.
static BY_NATURE: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules = [
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "ID",
        ),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"job-\d{8}-\d{6}", "JOB"),
        (r"loop:\d+:\d+\s+\d+", "LOOP SEQ"),
        (r"loop:\d+:\d+", "LOOP"),
        (r"/dev/loop\d+", "NODE"),
        (r"\b7:\d+\b", "NUMBER"),
        (r"\bloop\d+\b", "NODE"),
        (r#"(diskseq"?:?\s*)\d+"#, "${1}SEQ"),
        (r#"("(?:ends_after|capability)":)"[^"]*""#, "${1}X"),
        (r"local-[0-9a-f]{12}", "VM"),
        (r"\d+(\.\d+)? ((K|M|G)iB|bytes)/s", "RATE"),
        (r"\b\d+(\.\d+)? ?(ms|s|µs)\b", "TIME"),
        (r"\b(xxh3-tree:\d+:)?[0-9a-f]{64}\b", "DIGEST"),
        (r"\bpid:? ?\d+", "PID"),
        (r"\b[0-9a-f]{12}\b", "FINDING"),
        (r"[ \t]+", " "),
        // Rules of tables are as long as their ids.
        (r" $", ""),
    ];
    let compiled = rules.map(|(rule, by)| (Regex::new(rule).expect("these are regular expressions"), by));
    compiled.into()
});

/// A line without what differs by nature.
fn natural(line: &str) -> String {
    let mut line = line.to_owned();
    for (rule, by) in BY_NATURE.iter() {
        line = rule.replace_all(&line, *by).into_owned();
    }
    line
}

/// Whether the lines that were printed are those of the page.
pub(super) fn is_like(page: &[String], printed: &[String]) -> bool {
    match page.split_first() {
        None => printed.is_empty(),
        Some((line, rest)) if line.trim() == ANYTHING => {
            (0..=printed.len()).any(|skipped| is_like(rest, &printed[skipped..]))
        }
        Some((line, rest)) => match printed.split_first() {
            Some((first, others)) => is_line_like(line, first) && is_like(rest, others),
            None => false,
        },
    }
}

fn is_line_like(page: &str, printed: &str) -> bool {
    let (page, printed) = (natural(page), natural(printed));
    let mut pieces = page.split(ANYTHING);
    let Some(mut left) = pieces.next().and_then(|first| printed.strip_prefix(first)) else {
        return false;
    };
    let mut is_open = false;
    for piece in pieces {
        let Some(at) = left.find(piece) else { return false };
        left = &left[at + piece.len()..];
        is_open = piece.is_empty();
    }
    left.is_empty() || is_open
}

#[test]
fn what_differs_by_nature_may_differ_and_nothing_else() {
    let like = |page: &str, printed: &str| {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        is_like(&lines(page), &lines(printed))
    };
    let (one, other) = (
        "01a22f95-1812-7677-b876-7e49de77198e",
        "01a22f95-1ae8-7209-8e1f-85242688da45",
    );
    assert!(like(
        &format!("volume: {one}  /dev/loop1"),
        &format!("volume: {other} /dev/loop12")
    ));
    assert!(like("loop:65024:10110863  47497  yes", "loop:65024:1  1  yes"));
    assert!(like("a\n…\nz", "a\nb\nc\nz") && like("a\n…", "a"));
    assert!(like(r#"{"id":"1",…}"#, r#"{"id":"1","name":"x"}"#));
    assert!(!like("pinned: yes", "pinned: no"));
    assert!(!like("64 MiB", "65 MiB"));
    assert!(!like("a\n…\nz", "a\nb"));
    assert!(!like(r#"{"id":…}"#, r#"{"name":"x"}"#));
}
