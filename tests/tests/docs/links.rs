//! Every link and anchor leads somewhere, every page is in the book, and every fence says what is in it.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use crate::page::{Page, SUMMARY, page, pages, workspace};

/// What a fence may hold. `console` is a dialogue: commands after `$ `, and what they print.
const LANGUAGES: [&str; 10] = [
    "console", "sh", "text", "json", "toml", "rust", "ini", "mermaid", "yaml", "ebnf",
];

/// What is listed elsewhere, or is the list itself.
const UNLISTED: [&str; 2] = [SUMMARY, "docs/adr/0000-template.md"];

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors: HashMap<&Path, BTreeSet<&str>> = pages
        .iter()
        .map(|page| {
            let anchors = page.headings.iter().map(|heading| heading.anchor.as_str());
            (page.path.as_path(), anchors.collect())
        })
        .collect();
    let mut dead = Vec::new();
    for page in &pages {
        for link in page.links.iter().filter(|link| is_ours(link)) {
            if let Err(why) = follow(page, link, &anchors) {
                dead.push(format!("{}: `{link}` {why}", page.path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

fn is_ours(link: &str) -> bool {
    !link.contains("://") && !link.starts_with("mailto:")
}

fn follow(page: &Page, link: &str, anchors: &HashMap<&Path, BTreeSet<&str>>) -> Result<(), String> {
    let (file, anchor) = match link.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (link, None),
    };
    let target = match file {
        "" => page.path.clone(),
        _ => normal(&page.path.parent().unwrap_or(Path::new("")).join(file)),
    };
    if page.path.starts_with("docs") && !target.starts_with("docs") {
        return Err("leaves docs/, so it is dead on the site: name the file without a link".to_owned());
    }
    if !workspace().join(&target).exists() {
        return Err("is not there".to_owned());
    }
    match (anchor, anchors.get(target.as_path())) {
        (Some(anchor), Some(known)) if !known.contains(anchor) => Err("has no such heading".to_owned()),
        _ => Ok(()),
    }
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[test]
fn every_page_is_in_the_book_once() {
    let mut listed: Vec<PathBuf> = page(SUMMARY)
        .links
        .iter()
        .map(|link| Path::new("docs").join(link))
        .collect();
    listed.sort();
    let all = pages();
    let in_docs = all.iter().map(|page| page.path.clone());
    let mut there: Vec<PathBuf> = in_docs
        .filter(|path| path.starts_with("docs") && UNLISTED.iter().all(|other| path != Path::new(other)))
        .collect();
    there.sort();
    assert_eq!(listed, there, "left: {SUMMARY}; right: the pages");
}

#[test]
fn every_fence_says_what_is_in_it() {
    let mut wrong = Vec::new();
    for page in pages() {
        for info in page.blocks.iter().filter_map(|block| block.info.as_deref()) {
            let language = info.split([' ', ',']).next().unwrap_or_default();
            if !LANGUAGES.contains(&language) {
                wrong.push(format!("{}: ```{info}", page.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "one of {LANGUAGES:?}:\n{}", wrong.join("\n"));
}

#[test]
fn every_decision_is_in_the_index_under_its_title() {
    let summary = crate::page::text_of(SUMMARY);
    for page in pages().iter().filter(|page| page.path.starts_with("docs/adr")) {
        let name = page.path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("0000") {
            continue;
        }
        let title = &page.headings[0].text;
        let line = format!("[{title}](adr/{name})");
        assert!(summary.contains(&line), "{SUMMARY} has no line {line}");
    }
}
