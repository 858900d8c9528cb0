//! How many tests passed, failed and were skipped, read from the reports of the runners.

use std::fmt;
use std::ops::AddAssign;

/// The word by which a test says that it could not run here, and why.
const SKIPPED: &str = "SKIPPED:";

/// Counts over one or more runs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
    /// Not run on purpose by the runner.
    pub(super) ignored: usize,
    /// What tests said that skipped themselves, one line for each.
    pub(super) skipped_lines: Vec<String>,
}

impl Tally {
    /// Whether nothing was run at all, which is no success.
    pub(super) fn is_empty(&self) -> bool {
        self.passed + self.failed + self.skipped_lines.len() == 0
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.skipped_lines.extend(other.skipped_lines);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.ignored + self.skipped_lines.len();
        write!(
            f,
            "tests: {} passed, {} failed, {skipped} skipped",
            self.passed, self.failed
        )
    }
}

/// Reads a JUnit report as nextest writes it: one `testcase` for each test.
pub(super) fn of_junit(report: &str) -> Tally {
    let mut tally = Tally::default();
    for case in report.split("<testcase ").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or(case);
        if case.contains("<failure") || case.contains("<error") {
            tally.failed += 1;
        } else if let Some(line) = skipped_line(case) {
            let name = attribute(case, "name").unwrap_or("a test");
            tally.skipped_lines.push(format!("{name}: {line}"));
        } else {
            tally.passed += 1;
        }
    }
    tally
}

/// Reads the output of cargo's own runner: its `test result:` lines.
pub(super) fn of_libtest(output: &str) -> Tally {
    let mut tally = Tally::default();
    for line in output.lines() {
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = |what| count_before(result, what);
            tally.passed += count(" passed");
            tally.failed += count(" failed");
            tally.ignored += count(" ignored");
        } else if let Some(line) = skipped_line(line) {
            tally.skipped_lines.push(line.to_owned());
        }
    }
    // The runner counts as passed what skipped itself.
    tally.passed = tally.passed.saturating_sub(tally.skipped_lines.len());
    tally
}

fn skipped_line(text: &str) -> Option<&str> {
    let start = text.find(SKIPPED)?;
    text[start..]
        .lines()
        .next()
        .map(|line| line.split('<').next().unwrap_or(line))
}

fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let (_, value) = tag.split_once(&format!("{name}=\""))?;
    value.split('"').next()
}

fn count_before(text: &str, what: &str) -> usize {
    let before = text.find(what).map_or("", |end| &text[..end]);
    before
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_reads_as_agreed() {
        let tally = Tally {
            passed: 12,
            failed: 1,
            ignored: 2,
            skipped_lines: vec!["SKIPPED: no loop".into()],
        };
        assert_eq!(tally.to_string(), "tests: 12 passed, 1 failed, 3 skipped");
    }

    #[test]
    fn counts_the_report_of_nextest() {
        let report = r#"<testsuites name="nextest-run" tests="3" failures="1" errors="0">
            <testsuite name="a"><testcase name="good" classname="a"><system-out>SKIP
</system-out></testcase>
            <testcase name="bad" classname="a"><failure type="x">SKIPPED: not really, it failed</failure></testcase>
            <testcase name="absent" classname="a"><system-err>SKIPPED: no qemu here</system-err></testcase>
            <testcase name="short" classname="a"/>
            </testsuite></testsuites>"#;
        let skipped_lines = vec!["absent: SKIPPED: no qemu here".to_owned()];
        assert_eq!(
            of_junit(report),
            Tally {
                passed: 2,
                failed: 1,
                ignored: 0,
                skipped_lines
            }
        );
    }

    #[test]
    fn counts_the_output_of_cargo_test() {
        let output = "running 3 tests\ntest a ... ok\nSKIPPED: no root\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s\n\
            test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let skipped_lines = vec!["SKIPPED: no root".to_owned()];
        assert_eq!(
            of_libtest(output),
            Tally {
                passed: 12,
                failed: 2,
                ignored: 1,
                skipped_lines
            }
        );
    }

    #[test]
    fn no_report_is_no_success() {
        assert!(of_junit("").is_empty());
        assert!(of_libtest("error: could not compile").is_empty());
    }
}
