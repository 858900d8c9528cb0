//! A page of the documents, read as Markdown: its headings, links, fences, code and tables.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// The pages that are no part of the book.
const OUTSIDE: [&str; 3] = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// The book's list of its pages.
pub(crate) const SUMMARY: &str = "docs/SUMMARY.md";

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Relative to the workspace.
    pub(crate) path: PathBuf,
    pub(crate) headings: Vec<Heading>,
    /// Where each link leads, as it is written.
    pub(crate) links: Vec<String>,
    pub(crate) blocks: Vec<Block>,
    /// Code within a sentence.
    pub(crate) spans: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// A heading and the text under it, up to the next one of any level.
#[derive(Debug)]
pub(crate) struct Heading {
    pub(crate) level: HeadingLevel,
    pub(crate) text: String,
    pub(crate) anchor: String,
    /// What it is about, where it begins with code.
    pub(crate) code: Option<String>,
    pub(crate) body: String,
}

/// A block of code.
#[derive(Debug)]
pub(crate) struct Block {
    /// What stands behind the fence; `None` where it is only indented.
    pub(crate) info: Option<String>,
    pub(crate) text: String,
}

/// A row of a table that begins with code.
#[derive(Debug)]
pub(crate) struct Row {
    /// The heading above it.
    pub(crate) under: String,
    /// The code in its first cell.
    pub(crate) codes: Vec<String>,
}

/// The folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("this crate lies in the workspace")
        .to_owned()
}

/// A text of the workspace.
pub(crate) fn text_of(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page there is.
pub(crate) fn pages() -> Vec<Page> {
    let mut found: Vec<PathBuf> = OUTSIDE.iter().map(PathBuf::from).collect();
    for folder in ["docs", "docs/adr"] {
        for entry in fs::read_dir(workspace().join(folder)).unwrap().flatten() {
            let path = Path::new(folder).join(entry.file_name());
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found.iter().map(page).collect()
}

/// One page.
pub(crate) fn page(path: impl AsRef<Path>) -> Page {
    let path = path.as_ref();
    let text = text_of(path.to_str().unwrap());
    let mut reader = Reader {
        page: Page {
            path: path.to_owned(),
            ..Page::default()
        },
        ..Reader::default()
    };
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        reader.take(event);
    }
    reader.page
}

#[derive(Default)]
struct Reader {
    page: Page,
    anchors: HashMap<String, usize>,
    heading: Option<(HeadingLevel, String, Option<String>)>,
    block: Option<Block>,
    /// The codes of a first cell while the reader is in one.
    first_cell: Option<Vec<String>>,
    cells: usize,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => self.heading = Some((level, String::new(), None)),
            Event::End(TagEnd::Heading(_)) => self.end_heading(),
            Event::Start(Tag::Link { dest_url, .. }) => self.page.links.push(dest_url.into_string()),
            Event::Start(Tag::CodeBlock(kind)) => {
                let info = match kind {
                    CodeBlockKind::Fenced(info) => Some(info.into_string()),
                    CodeBlockKind::Indented => None,
                };
                self.block = Some(Block {
                    info,
                    text: String::new(),
                });
            }
            Event::End(TagEnd::CodeBlock) => self.page.blocks.extend(self.block.take()),
            Event::Start(Tag::TableRow) => self.cells = 0,
            Event::Start(Tag::TableCell) => {
                self.cells += 1;
                self.first_cell = (self.cells == 1).then(Vec::new);
            }
            Event::End(TagEnd::TableCell) => self.end_cell(),
            Event::Code(code) => self.code(&code),
            Event::Text(text) => self.text(&text),
            Event::SoftBreak => self.text(" "),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some((_, heading, _)) = &mut self.heading {
            heading.push_str(text);
        } else if let Some(block) = &mut self.block {
            block.text.push_str(text);
        } else if let Some(heading) = self.page.headings.last_mut() {
            heading.body.push_str(text);
        }
    }

    fn code(&mut self, code: &str) {
        self.page.spans.push(code.to_owned());
        if let Some((_, heading, about)) = &mut self.heading
            && heading.is_empty()
        {
            *about = Some(code.to_owned());
        }
        if let Some(codes) = &mut self.first_cell {
            codes.push(code.to_owned());
        }
        self.text(code);
    }

    fn end_heading(&mut self) {
        let Some((level, text, code)) = self.heading.take() else {
            return;
        };
        let plain = anchor_of(&text);
        let seen = self.anchors.entry(plain.clone()).or_default();
        let anchor = match *seen {
            0 => plain,
            n => format!("{plain}-{n}"),
        };
        *seen += 1;
        self.page.headings.push(Heading {
            level,
            text,
            anchor,
            code,
            body: String::new(),
        });
    }

    fn end_cell(&mut self) {
        let Some(codes) = self.first_cell.take().filter(|codes| !codes.is_empty()) else {
            return;
        };
        let under = self.page.headings.last().map(|heading| heading.text.clone());
        self.page.rows.push(Row {
            under: under.unwrap_or_default(),
            codes,
        });
    }
}

/// A heading's anchor, as GitHub and mdBook make them.
fn anchor_of(text: &str) -> String {
    let kept = text.chars().filter_map(|c| match c {
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        c if c.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect()
}

#[test]
fn a_page_is_read_as_it_is_shown() {
    assert_eq!(anchor_of("Moving `x`: when?"), "moving-x-when");
    let pages = pages();
    let read = |name: &str| pages.iter().find(|page| page.path.ends_with(name)).unwrap();
    assert!(
        read("orphans.md")
            .rows
            .iter()
            .any(|row| row.codes[0] == "phantom")
    );
    let adopting = read("orphans.md")
        .headings
        .iter()
        .find(|one| one.text == "Adopting");
    assert!(adopting.unwrap().body.contains("makes a record of a volume"));
    assert!(
        read("CONTRIBUTING.md")
            .links
            .iter()
            .any(|link| link.starts_with("docs/cloudstack.md#"))
    );
}
