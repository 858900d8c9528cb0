//! Every command line that a page shows is one that the program takes: its verb and its flags are there.

use std::fmt::Write as _;

use crate::page::{Page, pages};
use crate::programs::Programs;

/// The programs whose lines are looked at, as they are written, and what they are called.
const PROGRAMS: [(&str, &str); 4] = [
    ("volumectl", "volumectl"),
    ("volumed", "volumed"),
    ("migrate-engine", "migrate-engine"),
    ("cargo xtask", "xtask"),
];

/// Pages that tell of what was.
const HISTORIES: [&str; 2] = ["CHANGELOG.md", "docs/adr/"];

#[test]
fn every_command_line_is_one_that_the_program_takes() {
    let mut programs = Programs::default();
    let mut wrong = String::new();
    let mut count = 0;
    for page in pages() {
        if HISTORIES
            .iter()
            .any(|old| page.path.to_str().unwrap().starts_with(old))
        {
            continue;
        }
        for line in lines_of(&page) {
            for words in commands_of(&line) {
                count += 1;
                if let Err(why) = judge(&words, &mut programs) {
                    let _ = writeln!(wrong, "{}: `{line}`: {why}", page.path.display());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 200, "only {count} command lines were found");
}

/// The lines of a page in which commands may stand, whole where they go on behind a backslash.
fn lines_of(page: &Page) -> Vec<String> {
    let mut lines: Vec<String> = page.spans.clone();
    for block in &page.blocks {
        let is_dialogue = block
            .info
            .as_deref()
            .is_some_and(|info| info.starts_with("console"));
        let text = block.text.replace("\\\n", " ");
        lines.extend(text.lines().filter_map(|line| match is_dialogue {
            true => line.strip_prefix("$ ").map(str::to_owned),
            false => Some(line.trim_start_matches("$ ").to_owned()),
        }));
    }
    lines
}

/// The words of each command of ours in a line, the program first.
fn commands_of(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default();
    let parts = line.split(['|', ';', '(', ')', '&', '>', '<', '`']);
    parts
        .filter_map(|part| command_of(part.trim_matches([' ', '\'', '"'])))
        .collect()
}

fn command_of(part: &str) -> Option<Vec<String>> {
    let part = part.strip_prefix("target/debug/").unwrap_or(part);
    let part = part.strip_prefix("sudo ").unwrap_or(part);
    PROGRAMS.iter().find_map(|(written, program)| {
        let rest = part.strip_prefix(written)?;
        let rest = rest.strip_prefix(' ')?;
        let words = rest.split_whitespace().take_while(|word| *word != "--");
        Some([*program].into_iter().chain(words).map(str::to_owned).collect())
    })
}

fn judge(words: &[String], programs: &mut Programs) -> Result<(), String> {
    let mut path = vec![words[0].clone()];
    let mut flags: Vec<&str> = Vec::new();
    let mut is_value = false;
    for word in &words[1..] {
        let word = word.trim_matches(['[', ']', '{', '}', '"', '\'', ',', '.', ':', '…']);
        if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.split(['=', ']', '|', '\\']).next().unwrap_or_default();
            flags.push(&word[..flag.len() + 2]);
            // What follows may be the flag's value.
            is_value = !word.contains('=');
            continue;
        }
        let help = programs.help(&path);
        if help.verbs.contains(word) {
            path.push(word.to_owned());
        } else if help.takes_verb && !is_value && is_word(word) {
            return Err(format!("{} has no `{word}`", path.join(" ")));
        }
        is_value = false;
    }
    let help = programs.help(&path);
    let common = ["--help", "--version"];
    match flags
        .iter()
        .find(|flag| !help.flags.contains(**flag) && !common.contains(flag))
    {
        Some(flag) => Err(format!("{} has no {flag}", path.join(" "))),
        None => Ok(()),
    }
}

/// Whether it can only be meant as a verb: placeholders are written in capitals.
fn is_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
}

#[test]
fn a_verb_or_a_flag_that_is_gone_is_noticed() {
    let mut programs = Programs::default();
    let mut judged = |line: &str| {
        let commands = commands_of(line);
        assert_eq!(commands.len(), 1, "{line}");
        judge(&commands[0], &mut programs)
    };
    assert!(judged("volumectl volumes create web --size 1GiB").is_ok());
    assert!(judged("cd / && target/debug/volumectl volume show ID").is_ok());
    assert!(judged("cargo xtask soak power --seed 3").is_ok());
    assert!(judged("volumectl volumes conjure").is_err());
    assert!(judged("volumectl volumes create web --szie 1GiB").is_err());
    assert!(judged("migrate-engine coyp web.qcow2").is_err());
    assert!(judged("cargo xtask souk").is_err());
}
