//! What a program's metrics are called, read back from their text: so that documents and dashboards can be held to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// All samples of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    /// As it is in queries; of a histogram without `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it says.
    pub help: String,
    /// The names of its labels, but for the bounds of buckets.
    pub labels: BTreeSet<String>,
}

/// As a row of a table in Markdown.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<_> = self.labels.iter().map(|label| format!("`{label}`")).collect();
        write!(
            f,
            "| `{}` | {} | {} | {} |",
            self.name,
            self.kind,
            labels.join(", "),
            self.help.trim_end_matches('.')
        )
    }
}

/// The families of a text in the classic form, by name. Of those without samples nothing is known of labels.
#[must_use]
pub fn families(classic: &str) -> BTreeMap<String, Family> {
    let mut found: BTreeMap<String, Family> = BTreeMap::new();
    for line in classic.lines() {
        match line
            .split_once(' ')
            .map_or((line, ""), |(first, rest)| (first, rest))
        {
            ("#", rest) => describe(&mut found, rest),
            (sample, _) if !sample.is_empty() => label(&mut found, line),
            _ => {}
        }
    }
    found
}

/// For tests: that the table of `program` in the document at `path` is that of these families; with `UPDATE_GOLDEN` set, it is made so.
/// The table stands between `<!-- metrics of PROGRAM -->` and `<!-- end -->`.
///
/// # Panics
/// Where it is not, with the first row that differs.
pub fn held_to(path: &str, program: &str, families: &BTreeMap<String, Family>) {
    let document = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let begin = format!("<!-- metrics of {program} -->\n");
    let at = document
        .find(&begin)
        .unwrap_or_else(|| panic!("{path} has no `{begin}`"))
        + begin.len();
    let end = at + document[at..].find("<!-- end -->").expect("the table has an end");
    let rows: String = families.values().map(|family| format!("{family}\n")).collect();
    let table = format!("| metric | kind | labels | what |\n|---|---|---|---|\n{rows}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let whole = format!("{}{table}{}", &document[..at], &document[end..]);
        std::fs::write(path, whole).unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    let (found, wanted) = (document[at..end].lines(), table.lines());
    for (found, wanted) in found.zip(wanted) {
        assert_eq!(found, wanted, "{path}; make it anew with UPDATE_GOLDEN=1");
    }
    assert_eq!(
        document[at..end].lines().count(),
        table.lines().count(),
        "{path}; make it anew with UPDATE_GOLDEN=1"
    );
}

/// For tests: that Prometheus's own linter finds nothing wrong with a text in the classic form. Skipped loudly where there is no
/// promtool, but not in CI.
///
/// # Panics
/// Where it finds something, with what that is.
#[allow(clippy::print_stderr, reason = "a test says what it skips")]
pub fn linted(classic: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let Ok(mut child) = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        assert!(std::env::var_os("CI").is_none(), "CI must have promtool");
        eprintln!("SKIPPED: needs promtool (Debian's package prometheus)");
        return;
    };
    let mut stdin = child.stdin.take().expect("it was asked for as a pipe");
    stdin
        .write_all(classic.as_bytes())
        .expect("promtool reads it all");
    drop(stdin);
    let output = child.wait_with_output().expect("promtool comes to an end");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
}

fn describe(found: &mut BTreeMap<String, Family>, rest: &str) {
    let mut words = rest.splitn(3, ' ');
    let (Some(what), Some(name), Some(text)) = (words.next(), words.next(), words.next()) else {
        return;
    };
    let family = found.entry(name.to_owned()).or_insert_with(|| Family {
        name: name.to_owned(),
        ..Family::default()
    });
    match what {
        "HELP" => text.clone_into(&mut family.help),
        "TYPE" => text.clone_into(&mut family.kind),
        _ => {}
    }
}

fn label(found: &mut BTreeMap<String, Family>, line: &str) {
    let end = line.find(['{', ' ']).unwrap_or(line.len());
    let name = &line[..end];
    let bases = ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|end| name.strip_suffix(end));
    let Some(base) = std::iter::once(name)
        .chain(bases)
        .find(|name| found.contains_key(*name))
    else {
        return;
    };
    let family = found.get_mut(base).expect("it was just found");
    family
        .labels
        .extend(names(&line[end..]).filter(|name| name != "le"));
}

/// The names of the labels at the begin of `{a="1",b="2"} 3`.
fn names(labels: &str) -> impl Iterator<Item = String> {
    let (mut names, mut name, mut in_value, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in labels.chars().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_value => escaped = true,
            '"' => in_value = !in_value,
            _ if in_value => {}
            '}' => break,
            '=' => names.push(std::mem::take(&mut name)),
            ',' => {}
            c => name.push(c),
        }
    }
    names.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_kinds_and_labels_are_read_whatever_values_say() {
        let text = "# HELP x_calls_total Calls.\n# TYPE x_calls_total counter\n\
                    x_calls_total{a=\"},b=\\\"{\",b=\"2\"} 1\n\
                    # HELP x_seconds Time.\n# TYPE x_seconds histogram\nx_seconds_bucket{step=\"s\",le=\"1\"} 0\n\
                    x_seconds_sum{step=\"s\"} 0\n";
        let found = families(text);
        let rows: Vec<_> = found.values().map(ToString::to_string).collect();
        assert_eq!(
            rows,
            [
                "| `x_calls_total` | counter | `a`, `b` | Calls |",
                "| `x_seconds` | histogram | `step` | Time |"
            ]
        );
    }
}
