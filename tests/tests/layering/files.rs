//! What every source file has to look like: short, named after what it is, and introduced by a sentence.

use std::fs;
use std::path::{Path, PathBuf};

use crate::scan::{tokens, without_tests};

/// The most lines that a production file may have, its tests not counted.
const MOST_LINES: usize = 400;

const EMPTY_NAMES: [&str; 7] = ["helper", "helpers", "util", "utils", "common", "manager", "misc"];

/// A source file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Every Rust file below `dir`, but not what was built.
pub(crate) fn rust_files(dir: &Path) -> Vec<File> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if path.is_dir() && !is_hidden && !path.join("CACHEDIR.TAG").exists() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
            found.push(File { path, text });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Files without a sentence, with a name that says nothing, or too long.
pub(crate) fn violations(files: &[File]) -> Vec<String> {
    files.iter().flat_map(judge).collect()
}

fn judge(file: &File) -> Vec<String> {
    let shown = file.path.display();
    let mut found = Vec::new();
    if !file.text.starts_with("//! ") {
        found.push(format!(
            "{shown}: the first line does not say what it is (`//! ...`)"
        ));
    }
    let words = [Some(file.path.as_path()), file.path.parent()]
        .into_iter()
        .flatten()
        .filter_map(Path::file_stem);
    if let Some(name) = words
        .filter_map(|word| word.to_str())
        .find(|word| EMPTY_NAMES.contains(word))
    {
        found.push(format!("{shown}: `{name}` does not say what is in it"));
    }
    let lines = production_lines(&file.text);
    if !is_test(&file.path) && lines > MOST_LINES {
        found.push(format!("{shown}: {lines} lines, more than {MOST_LINES}"));
    }
    found
}

fn production_lines(text: &str) -> usize {
    text.lines()
        .count()
        .saturating_sub(without_tests(&tokens(text)).1.lines)
}

/// Test code: `tests.rs`, and everything in a folder `tests`.
fn is_test(path: &Path) -> bool {
    path.with_extension("").iter().any(|part| part == "tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> usize {
        violations(&[File {
            path: path.into(),
            text: text.into(),
        }])
        .len()
    }

    fn long(lines: usize) -> String {
        "//! A file.\n".to_owned() + &"fn f() {}\n".repeat(lines - 1)
    }

    #[test]
    fn a_good_file_passes() {
        assert_eq!(check("a/src/disk.rs", &long(MOST_LINES)), 0);
    }

    #[test]
    fn a_file_too_long_is_found() {
        assert_eq!(check("a/src/disk.rs", &long(MOST_LINES + 1)), 1);
    }

    #[test]
    fn tests_do_not_count() {
        assert_eq!(check("a/src/disk/tests.rs", &long(MOST_LINES * 2)), 0);
        assert_eq!(check("tests/tests/whole.rs", &long(MOST_LINES * 2)), 0);
        let with_tests = long(MOST_LINES) + "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n";
        assert_eq!(check("a/src/disk.rs", &with_tests), 0);
    }

    #[test]
    fn a_file_without_its_sentence_is_found() {
        assert_eq!(check("a/src/disk.rs", "use std::fs;\n"), 1);
        assert_eq!(check("a/src/disk.rs", "\n//! Late.\n"), 1);
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        for path in [
            "a/src/utils.rs",
            "a/src/helpers/mod.rs",
            "a/src/device/manager.rs",
            "tests/src/common.rs",
        ] {
            assert_eq!(check(path, "//! A file.\n"), 1, "{path}");
        }
        assert_eq!(check("a/src/process_manager_lock.rs", "//! A file.\n"), 0);
    }
}
