//! The arrows between our crates, and the features that go with them.

use anyhow::Context;
use serde_json::Value;

/// Which of our crates a crate may use, with the features that it may not switch on.
struct Arrow {
    from: &'static str,
    to: &'static [(&'static str, &'static [&'static str])],
}

const ARROWS: [Arrow; 6] = [
    Arrow {
        from: "volume-client",
        to: &[],
    },
    Arrow {
        from: "nbd-export",
        to: &[],
    },
    Arrow {
        from: "serving",
        to: &[],
    },
    // The daemon knows the wire types and nothing of the client.
    Arrow {
        from: "volumed",
        to: &[("volume-client", &["default", "client", "cli"]), ("serving", &[])],
    },
    Arrow {
        from: "migrate-engine",
        to: &[
            ("volume-client", &["default", "cli"]),
            ("nbd-export", &[]),
            ("serving", &[]),
        ],
    },
    Arrow {
        from: "xtask",
        to: &[],
    },
];

/// The crate that may use all others.
const SEES_ALL: &str = "whole-system-tests";

/// Checks the output of `cargo metadata --no-deps`.
pub(crate) fn violations(metadata: &str) -> anyhow::Result<Vec<String>> {
    let metadata: Value = serde_json::from_str(metadata).context("cannot read cargo's metadata")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo's metadata has no packages")?;
    let mut found = Vec::new();
    for package in packages {
        let name = text(&package["name"]);
        if name == SEES_ALL {
            continue;
        }
        let Some(arrow) = ARROWS.iter().find(|arrow| arrow.from == name) else {
            found.push(format!("crate {name} has no place in the design"));
            continue;
        };
        let ours = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dep| dep["path"].is_string());
        found.extend(ours.flat_map(|dependency| judge(arrow, dependency)));
    }
    Ok(found)
}

fn judge(arrow: &Arrow, dependency: &Value) -> Vec<String> {
    let to = text(&dependency["name"]);
    let Some((_, barred)) = arrow.to.iter().find(|(name, _)| *name == to) else {
        return vec![format!("crate {} must not use {to}", arrow.from)];
    };
    let mut features: Vec<&str> = dependency["features"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    if dependency["uses_default_features"] == true {
        features.push("default");
    }
    let bad = features.into_iter().filter(|feature| barred.contains(feature));
    bad.map(|feature| format!("crate {} must not use {to} with feature {feature}", arrow.from))
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(from: &str, to: &str, features: &str, defaults: bool) -> String {
        format!(
            r#"{{"packages":[{{"name":"{from}","dependencies":[
                {{"name":"serde","path":null,"features":[],"uses_default_features":true}},
                {{"name":"{to}","path":"/x","features":[{features}],"uses_default_features":{defaults}}}]}}]}}"#
        )
    }

    #[test]
    fn allowed_arrows_pass() {
        for (from, to, features) in [
            ("volumed", "volume-client", r#""openapi""#),
            ("migrate-engine", "volume-client", r#""client""#),
            ("migrate-engine", "nbd-export", ""),
            ("volumed", "serving", ""),
            ("migrate-engine", "serving", ""),
            ("whole-system-tests", "volumed", ""),
        ] {
            let found = violations(&metadata(from, to, features, false)).unwrap();
            assert!(found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn wrong_arrows_are_found() {
        for (from, to) in [
            ("volume-client", "nbd-export"),
            ("nbd-export", "volume-client"),
            ("volumed", "nbd-export"),
            ("serving", "volume-client"),
            ("nbd-export", "serving"),
            ("migrate-engine", "volumed"),
            ("xtask", "volumed"),
            ("newcomer", "volumed"),
        ] {
            let found = violations(&metadata(from, to, "", false)).unwrap();
            assert_eq!(found.len(), 1, "{from} -> {to}: {found:?}");
        }
    }

    #[test]
    fn wrong_features_are_found() {
        let client = violations(&metadata("volumed", "volume-client", r#""client""#, false)).unwrap();
        assert_eq!(
            client,
            ["crate volumed must not use volume-client with feature client"]
        );
        let defaults = violations(&metadata("volumed", "volume-client", "", true)).unwrap();
        assert_eq!(
            defaults,
            ["crate volumed must not use volume-client with feature default"]
        );
    }
}
