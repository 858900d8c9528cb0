//! Each code, condition, finding, check and exit status has its section in the reference, and none that is gone has.

use std::collections::BTreeSet;

use pulldown_cmark::HeadingLevel;
use regex::Regex;
use serde_json::Value;

use crate::page::{Heading, page, text_of};
use crate::programs::Programs;

/// A section that says less says nothing.
const SHORTEST: usize = 80;

type Names = BTreeSet<String>;

/// The values of a closed set, as the description of an API has them; tests hold that to the code.
fn closed_set(document: &str, name: &str) -> Names {
    let document: Value = serde_json::from_str(&text_of(document)).unwrap();
    let values = &document["components"]["schemas"][name]["enum"];
    let values = values
        .as_array()
        .unwrap_or_else(|| panic!("{name} is no closed set"));
    values
        .iter()
        .map(|value| value.as_str().unwrap().to_owned())
        .collect()
}

/// The sections of a chapter: what each is about, and what it says.
fn sections(path: &str, chapter: &str) -> Vec<Heading> {
    let mut is_within = false;
    let sections = page(path).headings.into_iter().filter(|heading| {
        if heading.level == HeadingLevel::H2 {
            is_within = heading.text == chapter;
        }
        is_within && heading.level == HeadingLevel::H3
    });
    sections.collect()
}

fn holds(path: &str, chapter: &str, wanted: &Names) {
    let sections = sections(path, chapter);
    let about = |heading: &Heading| heading.code.clone().unwrap_or_default();
    let found: Names = sections.iter().map(about).collect();
    let missing: Vec<_> = wanted.difference(&found).collect();
    let gone: Vec<_> = found.difference(wanted).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "{path}, {chapter}: without a section: {missing:?}; of a thing that is gone: {gone:?}"
    );
    assert_eq!(
        sections.len(),
        found.len(),
        "{path}, {chapter}: one thing has two sections"
    );
    for section in &sections {
        let says = &section.body;
        let helps = says.len() >= SHORTEST && says.contains("Do:");
        assert!(
            helps,
            "{path}, {}: what causes it, and `**Do:**`?\n{says}",
            section.text
        );
    }
}

#[test]
fn every_error_code_has_its_section() {
    holds(
        "docs/errors.md",
        "The daemon",
        &closed_set("docs/openapi.json", "ErrorCode"),
    );
    let of_service = closed_set("docs/migrate-engine-openapi.json", "ErrorCode");
    holds("docs/errors.md", "The service of replications", &of_service);
    holds("docs/errors.md", "Jobs of replication", &codes_of_jobs());
}

/// What a job says of why it failed; the set stands in one function.
fn codes_of_jobs() -> Names {
    let source = text_of("migrate-engine/src/pipeline/replication/error.rs");
    let begin = source.find("pub fn code(").expect("jobs have codes");
    let function = &source[begin..];
    let function = &function[..function.find("\n    }\n").expect("a function ends")];
    let text = Regex::new(r#"=> "([a-z_]+)""#).unwrap();
    text.captures_iter(function)
        .map(|found| found[1].to_owned())
        .collect()
}

#[test]
fn every_finding_and_condition_has_its_section() {
    holds(
        "docs/findings.md",
        "Findings",
        &closed_set("docs/openapi.json", "FindingKind"),
    );
    holds(
        "docs/findings.md",
        "Conditions",
        &closed_set("docs/openapi.json", "ConditionKind"),
    );
    let rows = page("docs/orphans.md").rows;
    let listed: Names = rows
        .iter()
        .flat_map(|row| row.codes.iter().take(1).cloned())
        .collect();
    assert_eq!(
        listed,
        closed_set("docs/openapi.json", "FindingKind"),
        "the table of docs/orphans.md"
    );
}

#[test]
fn every_check_of_the_doctor_has_its_section() {
    let sections = sections("docs/doctor.md", "Checks");
    let found: Names = sections.iter().filter_map(|one| one.code.clone()).collect();
    let in_code = checks_in_code();
    let missing: Vec<_> = in_code.difference(&found).collect();
    let gone: Vec<_> = found.difference(&in_code).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "missing {missing:?}, gone {gone:?}"
    );
}

/// The names under which checks are reported. They are texts of the code; this reads them where they are given.
fn checks_in_code() -> Names {
    const PLACES: [&str; 4] = [
        "volumed/src/doctor",
        "volumed/src/device/checks",
        "volumed/src/cloud/cloudstack/diagnosis",
        "volumed/src/cloud/local/examine.rs",
    ];
    // `store`, `watcher` and `recovery` are the daemon's readiness.
    let mut names: Names = ["store", "watcher", "recovery", "cloud", "configuration", "socket"]
        .map(str::to_owned)
        .into();
    let given = Regex::new(
        r#"(?:Check::(?:passed|warning|failed)\(|const [A-Z_]+: &str =|let name =|&?failed\()\s*"([A-Za-z][A-Za-z -]*)""#,
    )
    .unwrap();
    for place in PLACES {
        for text in sources_of(place) {
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            names.extend(given.captures_iter(text).map(|found| found[1].to_owned()));
        }
    }
    for text in ["permission", "own VM"] {
        names.insert(text.to_owned());
    }
    names
}

fn sources_of(place: &str) -> Vec<String> {
    let path = crate::page::workspace().join(place);
    if path.is_file() {
        return vec![text_of(place)];
    }
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(path).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            texts.push(text_of(&format!("{place}/{name}")));
        }
    }
    texts
}

/// Of those programs that do not tell them in their help, the statuses stand where they end.
#[test]
fn every_exit_status_of_daemon_and_engine_is_told() {
    let named = Regex::new(r"const ([A-Z_]+): u8 = (\d+);").unwrap();
    let given = Regex::new(r"ExitCode::(SUCCESS|FAILURE|from\(([A-Za-z_0-9]+)\))").unwrap();
    for (program, place) in [
        ("volumed", "volumed/src/cli"),
        ("migrate-engine", "migrate-engine/src/main.rs"),
    ] {
        let mut wanted = Names::new();
        for text in sources_of(place) {
            let value = |name: &str| {
                let mut constants = named.captures_iter(&text).filter(|found| &found[1] == name);
                constants
                    .next()
                    .map_or_else(|| name.to_owned(), |found| found[2].to_owned())
            };
            wanted.extend(given.captures_iter(&text).map(|found| match &found[1] {
                "SUCCESS" => "0".to_owned(),
                "FAILURE" => "1".to_owned(),
                _ => value(&found[2]),
            }));
        }
        assert!(wanted.len() >= 3, "{program}: {wanted:?}");
        let rows = page("docs/exit-statuses.md").rows;
        let rows = rows.iter().filter(|row| row.under == program);
        let told: Names = rows.flat_map(|row| row.codes.clone()).collect();
        assert_eq!(told, wanted, "left: docs/exit-statuses.md; right: {program}");
    }
}

#[test]
fn every_exit_status_is_told() {
    let help = Programs::default().help(&["volumectl".to_owned()]).text.clone();
    let codes = help
        .split("Exit codes:")
        .nth(1)
        .expect("volumectl tells its exit codes");
    let told = Regex::new(r"(?m)^  (\d+)  ").unwrap();
    let wanted: Names = told
        .captures_iter(codes)
        .map(|found| found[1].to_owned())
        .collect();
    let rows = page("docs/exit-statuses.md").rows;
    let of_volumectl = rows.iter().filter(|row| row.under == "volumectl");
    let found: Names = of_volumectl.flat_map(|row| row.codes.clone()).collect();
    assert_eq!(found, wanted);
}
