//! The dialogues of the pages, held with the real programs: what a page says is printed is what is printed.
//!
//! A fence of `console scenario=NAME` is a part of the dialogue of that name. The parts of one name on one page are held in
//! one shell, in their order. What differs by nature (ids, times, nodes) may differ; a line `…` stands for any number of
//! lines, and `…` in a line for anything.

mod likeness;
mod session;

use std::collections::BTreeMap;

use whole_system_tests::is_root;

use crate::page::{pages, text_of, workspace};
use likeness::is_like;
use session::Session;

/// Where the dialogues are held, as pages write it.
const PLACE: &str = "/srv/try";

/// A command of a page, and what is said to come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exchange {
    command: String,
    said: Vec<String>,
}

#[test]
fn the_quick_start_is_what_happens() {
    hold("docs/quick-start.md");
}

#[test]
fn the_guide_of_the_api_is_what_happens() {
    hold("docs/api-guide.md");
}

#[test]
fn the_service_of_the_guide_is_what_happens() {
    hold("docs/service-guide.md");
}

#[test]
fn the_runbook_is_what_happens() {
    hold("docs/runbook.md");
}

/// So that none is written and never held.
#[test]
fn every_dialogue_is_held() {
    let held = text_of("tests/tests/docs/transcripts/mod.rs");
    for page in pages() {
        let path = page.path.to_str().unwrap();
        let has_dialogue = !scenarios(&text_of(path)).is_empty();
        assert!(
            !has_dialogue || held.contains(&format!("hold(\"{path}\")")),
            "{path}"
        );
    }
}

/// Holds every dialogue of a page.
fn hold(path: &str) {
    if !is_root() {
        return;
    }
    let mut text = text_of(path);
    let names = scenarios(&text);
    assert!(!names.is_empty(), "{path} has no dialogue");
    let mut differences = String::new();
    for name in names {
        let mut session = Session::begin();
        let mut rewritten = Vec::new();
        for fence in fences(&text, &name) {
            let exchanges = exchanges(&text[fence.clone()]);
            let mut now = Vec::new();
            for exchange in exchanges {
                let printed = session.say(&exchange.command);
                if is_like(&exchange.said, &printed) {
                    now.push(exchange);
                } else {
                    differences += &format!(
                        "{path}, {name}: $ {}\n--- the page\n{}\n--- what is printed\n{}\n\n",
                        exchange.command,
                        exchange.said.join("\n"),
                        printed.join("\n")
                    );
                    now.push(Exchange {
                        said: printed,
                        ..exchange
                    });
                }
            }
            rewritten.push((fence, written(&now)));
        }
        for (fence, new) in rewritten.into_iter().rev() {
            text.replace_range(fence, &new);
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(workspace().join(path), text).unwrap();
    } else {
        assert!(
            differences.is_empty(),
            "UPDATE_GOLDEN=1 rewrites the page.\n{differences}"
        );
    }
}

/// The names of a page's dialogues, in their order.
fn scenarios(text: &str) -> Vec<String> {
    let mut names = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("```console scenario=") {
            names.entry(name.trim().to_owned()).or_insert(at);
        }
    }
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|(_, at)| *at);
    names.into_iter().map(|(name, _)| name).collect()
}

/// Where the parts of a dialogue stand in the text, without their fences.
fn fences(text: &str, name: &str) -> Vec<std::ops::Range<usize>> {
    let head = format!("```console scenario={name}\n");
    let begins = text.match_indices(&head).map(|(at, _)| at + head.len());
    begins
        .map(|begin| begin..begin + text[begin..].find("```\n").expect("a fence ends"))
        .collect()
}

/// Commands stand behind `$ ` and go on behind a backslash.
fn exchanges(text: &str) -> Vec<Exchange> {
    let mut found: Vec<Exchange> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) if !goes_on => found.push(Exchange {
                command: command.to_owned(),
                said: Vec::new(),
            }),
            (_, Some(last)) if goes_on => last.command += &format!("\n{line}"),
            (_, Some(last)) => last.said.push(line.to_owned()),
            (_, None) => panic!("a dialogue begins with a command, not with {line:?}"),
        }
        goes_on = line.ends_with('\\') && found.last().is_some_and(|last| last.said.is_empty());
    }
    found
}

fn written(exchanges: &[Exchange]) -> String {
    let lines = exchanges.iter().flat_map(|exchange| {
        let command = format!("$ {}\n", exchange.command);
        [command]
            .into_iter()
            .chain(exchange.said.iter().map(|line| format!("{line}\n")))
    });
    lines.collect()
}

#[test]
fn a_dialogue_is_read_and_written_alike() {
    let text = "$ a \\\n    --b\none\n\ntwo\n$ c\n";
    let read = exchanges(text);
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].command, "a \\\n    --b");
    assert_eq!(read[0].said, ["one", "", "two"]);
    assert_eq!(written(&read), text);
}
