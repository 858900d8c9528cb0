//! The programs, as their own help describes them: verbs, flags, exit statuses.

use std::collections::{BTreeSet, HashMap};
use std::process::Command;

use regex::Regex;
use whole_system_tests::binary;

/// What a program says of one of its verbs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Help {
    pub(crate) text: String,
    pub(crate) verbs: BTreeSet<String>,
    pub(crate) flags: BTreeSet<String>,
    /// Whether its next word can only be a verb.
    pub(crate) takes_verb: bool,
}

/// The helps that were asked for so far.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    known: HashMap<Vec<String>, Help>,
}

impl Programs {
    /// The help of a program (`volumectl`), or of a verb of its (`volumectl volumes create`).
    pub(crate) fn help(&mut self, words: &[String]) -> &Help {
        self.known.entry(words.to_vec()).or_insert_with(|| ask(words))
    }

    /// Every help of a program, by its words.
    pub(crate) fn all(&mut self, program: &str) -> Vec<(Vec<String>, Help)> {
        let mut found = Vec::new();
        let mut open = vec![vec![program.to_owned()]];
        while let Some(words) = open.pop() {
            let help = self.help(&words).clone();
            let verbs = help.verbs.iter().filter(|verb| *verb != "help");
            open.extend(verbs.map(|verb| [words.as_slice(), std::slice::from_ref(verb)].concat()));
            found.push((words, help));
        }
        found
    }
}

fn ask(words: &[String]) -> Help {
    let output = Command::new(binary(&words[0]))
        .args(&words[1..])
        .arg("--help")
        .env("COLUMNS", "400")
        .output()
        .unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert!(output.status.success(), "{words:?} --help fails");
    read(&String::from_utf8_lossy(&output.stdout))
}

fn read(text: &str) -> Help {
    let mut help = Help {
        text: text.to_owned(),
        ..Help::default()
    };
    let flag = Regex::new(r"--[a-z][a-z0-9-]*").unwrap();
    let alias = Regex::new(r"\[alias(?:es)?: ([^\]]*)\]").unwrap();
    let mut section = "";
    for line in text.lines() {
        match line {
            "Commands:" | "Options:" | "Arguments:" | "Environment:" | "Exit codes:" => section = line,
            _ if line.starts_with("Usage:") => help.takes_verb = line.contains("COMMAND"),
            // A line that goes on the one before is further in.
            _ if section == "Commands:" && line.starts_with("  ") && !line.starts_with("   ") => {
                help.verbs
                    .extend(line.split_whitespace().next().map(str::to_owned));
            }
            _ if section == "Options:" => {
                let head = line.trim_start();
                if head.starts_with('-') {
                    help.flags.extend(
                        flag.find_iter(head)
                            .take(1)
                            .map(|found| found.as_str().to_owned()),
                    );
                }
            }
            _ => {}
        }
        if section == "Commands:" {
            for found in alias.captures_iter(line) {
                help.verbs.extend(found[1].split(", ").map(str::to_owned));
            }
        }
    }
    help
}

#[test]
fn a_help_is_read() {
    let mut programs = Programs::default();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let top = programs.help(&words("volumectl"));
    assert!(top.takes_verb && top.verbs.contains("orphan") && top.flags.contains("--json"));
    let create = programs.help(&words("volumectl volumes create"));
    assert!(
        create.verbs.is_empty() && create.flags.contains("--size"),
        "{create:?}"
    );
}
