//! The order of modules in a crate, who never meets whom, and what a model may not touch.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::scan::{NamedPath, paths, tokens, without_tests};

/// A production file, reduced to the paths that it names.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Crate and path below its `src`, for the reader.
    pub(crate) shown: String,
    /// The module that it is, as `["device", "monitor"]`; empty at the crate's root.
    pub(crate) module: Vec<String>,
    pub(crate) paths: Vec<NamedPath>,
}

/// The rules for one crate.
pub(crate) struct Layers {
    /// Lowest first: a module uses only those before it.
    pub(crate) order: &'static [&'static str],
    /// Pairs of which the first never uses the second, whatever the order says.
    pub(crate) strangers: &'static [(&'static str, &'static str)],
}

/// Modules whose file is a root of its own or ties the crate together.
const ROOTS: [&str; 2] = ["lib", "main"];

/// Keeps the files that are not test code, which may cross layers as it likes.
pub(crate) fn production(name: &str, files: &[(PathBuf, String)]) -> Vec<Source> {
    let mut test_modules: BTreeSet<Vec<String>> = BTreeSet::new();
    let mut found = Vec::new();
    for (path, text) in files {
        let module = module_of(path);
        let (kept, cut) = without_tests(&tokens(text));
        test_modules.extend(
            cut.modules
                .into_iter()
                .map(|child| [module.clone(), vec![child]].concat()),
        );
        found.push(Source {
            shown: format!("{name}/src/{}", path.display()),
            module,
            paths: paths(&kept),
        });
    }
    found.retain(|source| !test_modules.iter().any(|test| source.module.starts_with(test)));
    found
}

/// `device/mod.rs` and `device.rs` are `device`.
fn module_of(path: &Path) -> Vec<String> {
    let mut module: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let is_index = module.last().is_some_and(|last| last == "mod");
    let is_root = module.len() == 1 && ROOTS.contains(&module[0].as_str());
    if is_index || is_root {
        module.pop();
    }
    module
}

impl Layers {
    /// Uses against the order, uses between strangers, and modules that have no place in the order.
    pub(crate) fn violations(&self, sources: &[Source]) -> Vec<String> {
        sources.iter().flat_map(|source| self.judge(source)).collect()
    }

    fn judge(&self, source: &Source) -> Vec<String> {
        let Some(own) = source.module.first() else {
            return Vec::new();
        };
        if own == "bin" {
            return Vec::new();
        }
        let Some(rank) = self.rank(own) else {
            return vec![format!(
                "{}: module {own} has no place in the order",
                source.shown
            )];
        };
        let uses = source
            .paths
            .iter()
            .filter_map(|path| Some((target_of(path, &source.module)?, path.line)));
        uses.filter_map(|(used, line)| {
            let goes_up = self.rank(&used).is_some_and(|used| used > rank);
            let is_stranger = self.strangers.contains(&(own.as_str(), used.as_str()));
            (goes_up || is_stranger).then(|| format!("{}:{line}: {own} must not use {used}", source.shown))
        })
        .collect()
    }

    fn rank(&self, module: &str) -> Option<usize> {
        self.order.iter().position(|known| *known == module)
    }
}

/// The top-level module that a path leads to: by `crate::`, or by as many `super::` as lead to the root.
fn target_of(path: &NamedPath, module: &[String]) -> Option<String> {
    let ups = path
        .segments
        .iter()
        .take_while(|segment| *segment == "super")
        .count();
    let start = match path.segments.first()?.as_str() {
        "crate" => 1,
        "super" if ups >= module.len() => ups,
        _ => return None,
    };
    path.segments.get(start).cloned()
}

/// Input, output, time and environment in a module called `model`.
pub(crate) fn impurities(sources: &[Source]) -> Vec<String> {
    let models = sources
        .iter()
        .filter(|source| source.module.first().is_some_and(|first| first == "model"));
    models
        .flat_map(|source| {
            let impure = source.paths.iter().filter(|path| is_impure(&path.segments));
            impure.map(|path| {
                format!(
                    "{}:{}: a model must not use {}",
                    source.shown,
                    path.line,
                    path.segments.join("::")
                )
            })
        })
        .collect()
}

fn is_impure(segments: &[String]) -> bool {
    const ROOTS: [&[&str]; 9] = [
        &["std", "fs"],
        &["std", "net"],
        &["std", "env"],
        &["std", "process"],
        &["std", "thread"],
        &["std", "os"],
        &["tokio"],
        &["rustix"],
        &["libc"],
    ];
    const CLOCKS: [&str; 4] = ["Timestamp", "Zoned", "Instant", "SystemTime"];
    let starts_with = |root: &&[&str]| {
        root.len() <= segments.len() && segments.iter().zip(root.iter()).all(|(a, b)| a == b)
    };
    let reads_clock = segments
        .windows(2)
        .any(|pair| CLOCKS.contains(&pair[0].as_str()) && pair[1] == "now");
    ROOTS.iter().any(starts_with) || reads_clock || segments.iter().any(|segment| segment == "SystemTime")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: Layers = Layers {
        order: &["model", "cloud", "device", "api"],
        strangers: &[("api", "device")],
    };

    fn check(path: &str, text: &str) -> Vec<String> {
        LAYERS.violations(&production("c", &[(path.into(), text.into())]))
    }

    #[test]
    fn a_use_of_a_lower_or_the_same_module_passes() {
        assert_eq!(
            check(
                "device/mod.rs",
                "use crate::{model::Bytes, cloud};\nuse crate::device::x;"
            ),
            [""; 0]
        );
        assert_eq!(
            check(
                "device/mod.rs",
                "use crate::Error; pub(crate) fn f() {} use super::Error;"
            ),
            [""; 0]
        );
        assert_eq!(check("device/monitor.rs", "use super::api;"), [""; 0]);
        assert_eq!(check("lib.rs", "use crate::api::x;"), [""; 0]);
    }

    #[test]
    fn a_use_of_a_higher_module_is_found_however_it_is_written() {
        let expected = ["c/src/cloud/local.rs:1: cloud must not use api"];
        for text in [
            "use crate::api::X;",
            "use crate::{model, api};",
            "fn f() { crate::api::x() }",
            "use super::super::api;",
        ] {
            assert_eq!(check("cloud/local.rs", text), expected, "{text}");
        }
        assert_eq!(
            check("cloud.rs", "use super::api;"),
            ["c/src/cloud.rs:1: cloud must not use api"]
        );
    }

    #[test]
    fn strangers_may_not_meet_though_the_order_would_allow_it() {
        assert_eq!(
            check("api.rs", "\nuse crate::device::X;"),
            ["c/src/api.rs:2: api must not use device"]
        );
    }

    #[test]
    fn a_module_that_nobody_placed_is_found() {
        assert_eq!(
            check("helpers.rs", ""),
            ["c/src/helpers.rs: module helpers has no place in the order"]
        );
    }

    #[test]
    fn test_code_is_free() {
        let files = [
            (
                "cloud/mod.rs".into(),
                "#[cfg(test)] mod tests;\n#[cfg(test)]\nmod t { use crate::api::X; }".into(),
            ),
            ("cloud/tests.rs".into(), "use crate::api::X;".into()),
            ("cloud/tests/deep.rs".into(), "use crate::api::X;".into()),
        ];
        assert_eq!(LAYERS.violations(&production("c", &files)), [""; 0]);
    }

    #[test]
    fn a_model_that_does_io_or_reads_the_clock_is_found() {
        let impure = |text: &str| impurities(&production("c", &[("model/x.rs".into(), text.into())])).len();
        for text in [
            "use std::fs;",
            "use std::{fmt, net::IpAddr};",
            "use tokio::sync::watch;",
            "fn f() { jiff::Timestamp::now(); }",
            "use std::time::{Duration, SystemTime};",
            "fn f() { Instant::now() }",
        ] {
            assert_eq!(impure(text), 1, "{text}");
        }
        for text in [
            "use std::fmt;",
            "use jiff::Timestamp;",
            "use std::time::Duration;",
            "// std::fs::read",
        ] {
            assert_eq!(impure(text), 0, "{text}");
        }
        assert_eq!(
            impurities(&production("c", &[("store/x.rs".into(), "use std::fs;".into())])).len(),
            0
        );
    }
}
