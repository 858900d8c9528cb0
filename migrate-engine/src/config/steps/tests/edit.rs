//! What an edit changes, and that it changes nothing else.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::config::steps::Section;
use crate::config::steps::edit::{Content, edited};
use crate::config::steps::span::{Object, check};

fn set(text: &str, section: Section, value: Value) -> String {
    edited(text, section, &Content::Whole(value)).unwrap()
}

#[test]
fn a_value_is_replaced_and_odd_spelling_around_it_stays() {
    let text = "\t{ \"x\" : 1.50e+2 ,\r\n \"storage\"\n:\t\"a\\\"}\"  , \"y\":[ 1,2 ,\n3]\n}\n\n";
    assert_eq!(
        set(text, Section::Storage, json!("b")),
        "\t{ \"x\" : 1.50e+2 ,\r\n \"storage\"\n:\t\"b\"  , \"y\":[ 1,2 ,\n3]\n}\n\n"
    );
}

#[test]
fn a_key_of_the_same_name_inside_of_another_section_is_not_meant() {
    let text = r#"{"x": {"storage": 1, "y": [{"storage": 2}]}, "z": "\"storage\": 3", "storage": 4}"#;
    let expected = text.replace("\"storage\": 4", "\"storage\": \"b\"");
    assert_eq!(set(text, Section::Storage, json!("b")), expected);
}

#[test]
fn of_a_key_that_is_there_twice_the_one_that_counts_is_changed() {
    let text = r#"{"storage": "a", "\u0073torage": "b"}"#;
    assert_eq!(
        set(text, Section::Storage, json!("c")),
        r#"{"storage": "a", "\u0073torage": "c"}"#
    );
}

#[test]
fn a_new_key_is_written_like_its_neighbours() {
    for (text, expected) in [
        ("{}", "{\n  \"storage\": \"b\"\n}"),
        ("{}\n", "{\n  \"storage\": \"b\"\n}\n"),
        ("{\n}\n", "{\n  \"storage\": \"b\"\n}\n"),
        ("{\r\n}\r\n", "{\r\n  \"storage\": \"b\"\r\n}\r\n"),
        (r#"{"x": 1}"#, r#"{"x": 1, "storage": "b"}"#),
        (r#"{"x":1}"#, r#"{"x":1,"storage":"b"}"#),
        (r#"{"x": 1,"y": 2}"#, r#"{"x": 1,"y": 2,"storage": "b"}"#),
        (r#"{ "x": 1 }"#, r#"{ "x": 1, "storage": "b" }"#),
        ("{\n\t\"x\" : 1\n}", "{\n\t\"x\" : 1,\n\t\"storage\" : \"b\"\n}"),
        (
            "{\n    \"x\": {\n    }\n\n}",
            "{\n    \"x\": {\n    },\n    \"storage\": \"b\"\n\n}",
        ),
    ] {
        assert_eq!(set(text, Section::Storage, json!("b")), expected, "{text}");
    }
}

#[test]
fn what_is_new_takes_the_files_indentation() {
    assert_eq!(
        set("{\r\n\t\"x\": 1\r\n}", Section::SelectedVms, json!([1, 2])),
        "{\r\n\t\"x\": 1,\r\n\t\"selected_vms\": [\r\n\t\t1,\r\n\t\t2\r\n\t]\r\n}"
    );
    assert_eq!(
        set("{\"x\": 1}", Section::SelectedVms, json!([1, 2])),
        "{\"x\": 1, \"selected_vms\": [1,2]}"
    );
}

#[test]
fn keys_of_a_section_are_set_and_its_others_stay() {
    let pairs = vec![("esxi_host", json!("h")), ("esxi_user", json!("u"))];
    let keys = Content::Keys(pairs);
    for (text, expected) in [
        (
            "{\n  \"source\": { \"port\" : 0443e0, \"esxi_user\":\"x\" }\n}".replace("0443e0", "443e0"),
            "{\n  \"source\": { \"port\" : 443e0, \"esxi_user\":\"u\", \"esxi_host\":\"h\" }\n}",
        ),
        (
            "{\n  \"source\": {}\n}".to_owned(),
            "{\n  \"source\": {\n    \"esxi_host\": \"h\",\n    \"esxi_user\": \"u\"\n  }\n}",
        ),
        (
            "{\n  \"source\": null\n}".to_owned(),
            "{\n  \"source\": {\n    \"esxi_host\": \"h\",\n    \"esxi_user\": \"u\"\n  }\n}",
        ),
        (
            "{}".to_owned(),
            "{\n  \"source\": {\n    \"esxi_host\": \"h\",\n    \"esxi_user\": \"u\"\n  }\n}",
        ),
        (
            "{\"source\":{}}".to_owned(),
            "{\"source\":{\"esxi_host\": \"h\", \"esxi_user\": \"u\"}}",
        ),
    ] {
        assert_eq!(edited(&text, Section::Source, &keys).unwrap(), expected, "{text}");
    }
}

#[test]
fn a_section_of_the_wrong_kind_is_not_written_into() {
    let keys = Content::Keys(vec![("esxi_host", json!("h"))]);
    let flaw = edited("{\n\"source\": [\"hunter2\"]}", Section::Source, &keys).unwrap_err();
    let shown = flaw.to_string();
    assert!(
        shown.contains("`source` (line 2) is a list: write an object") && !shown.contains("hunter2"),
        "{shown}"
    );
    for text in ["[]", "1", "\"x\"", "null"] {
        let flaw = edited(text, Section::Source, &keys).unwrap_err();
        assert!(flaw.to_string().contains("begin with `{`"), "{text}: {flaw}");
    }
}

fn space() -> impl Strategy<Value = String> {
    prop::collection::vec(select(vec![" ", "\n", "\t", "\r\n", "  "]), 0..3).prop_map(|it| it.concat())
}

/// Keys that are ours, look like ours, or hide one; as they are spelt in the file.
fn key() -> impl Strategy<Value = String> {
    let ours = select(Section::ALL.to_vec()).prop_map(|section| section.key().to_owned());
    let odd = select(vec![
        r"\u0073ource",
        r"source\u0000",
        r#"a\"source\": {"#,
        r"\\",
        r"\ud83d",
        "Source",
        "",
        "ключ",
        "},{",
    ]);
    prop_oneof![ours, odd.prop_map(str::to_owned), "[a-z]{1,6}"]
}

/// Values as texts, oddly spelt, with our keys inside.
fn value() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "1",
        "-0",
        "1.50e+2",
        "1E400",
        "0.10",
        "true",
        "false",
        "null",
        "\"\"",
        "[]",
        "{}",
        r#""a\"]}\\""#,
        r#""\u00e9\/""#,
        r#""\udead""#,
        "\"é{[,:\"",
    ]);
    let leaf = leaf.prop_map(str::to_owned);
    leaf.prop_recursive(3, 24, 4, |inner| {
        let item = (space(), inner.clone(), space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let list = prop::collection::vec(item, 1..4).prop_map(|items| format!("[{}]", items.join(",")));
        let object = prop::collection::vec(member(key(), inner), 1..4);
        let object = object.prop_map(|members| {
            format!(
                "{{{}}}",
                members.iter().map(Part::text).collect::<Vec<_>>().join(",")
            )
        });
        prop_oneof![list, object]
    })
}

/// A member of an object, in parts, so that a test knows where its value is without asking the code.
#[derive(Debug, Clone)]
struct Part {
    before: String,
    value: String,
    after: String,
    key: String,
}

impl Part {
    fn text(&self) -> String {
        format!("{}{}{}", self.before, self.value, self.after)
    }

    /// What the key says; by another reader than ours.
    fn is(&self, section: Section) -> bool {
        serde_json::from_str::<String>(&format!("\"{}\"", self.key)).is_ok_and(|key| key == section.key())
    }
}

fn member(
    key: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = Part> {
    (space(), key, space(), space(), value, space()).prop_map(|(a, key, b, c, value, after)| Part {
        before: format!("{a}\"{key}\"{b}:{c}"),
        value,
        after,
        key,
    })
}

fn joined(parts: &[Part]) -> String {
    parts.iter().map(Part::text).collect::<Vec<_>>().join(",")
}

/// A key's value as another reader of JSON sees it.
fn says(text: &str, section: Section) -> Option<Value> {
    let object = Object::at(text, 0)?;
    serde_json::from_str(&text[object.get(section.key())?.value.clone()]).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_byte_outside_of_the_value_stays(
        (start, end) in (space(), space()),
        parts in prop::collection::vec(member(key(), value()), 1..6),
        section in select(Section::ALL.to_vec()),
        new in select(vec![json!("\"}, {\n"), json!([1, 2]), json!({"a": {"b": []}}), json!(null)]),
    ) {
        let text = format!("{start}{{{}}}{end}", joined(&parts));
        prop_assert_eq!(check(&text), Ok(()));
        let changed = set(&text, section, new.clone());
        prop_assert_eq!(check(&changed), Ok(()));
        prop_assert_eq!(says(&changed, section), Some(new));
        match parts.iter().rposition(|part| part.is(section)) {
            Some(at) => {
                let comma = |left: bool| if left { "," } else { "" };
                let head = format!("{start}{{{}{}{}", joined(&parts[..at]), comma(at > 0), parts[at].before);
                let rest = &parts[at + 1..];
                let tail = format!("{}{}{}}}{end}", parts[at].after, comma(!rest.is_empty()), joined(rest));
                prop_assert!(changed.starts_with(&head), "{text:?} became {changed:?}");
                prop_assert!(changed[head.len()..].ends_with(&tail), "{text:?} became {changed:?}");
            }
            None => {
                let last = parts.last().unwrap();
                let tail = format!("{}}}{end}", last.after);
                let head = text.strip_suffix(&tail).unwrap();
                prop_assert!(changed.starts_with(head), "{text:?} became {changed:?}");
                prop_assert!(changed[head.len()..].ends_with(&tail), "{text:?} became {changed:?}");
                let added = &changed[head.len()..changed.len() - tail.len()];
                prop_assert!(added.starts_with(',') && added.contains(section.key()), "{added:?}");
            }
        }
    }

    #[test]
    fn an_empty_object_gets_one_member_and_keeps_its_space(
        (start, inside, end) in (space(), space(), space()),
        section in select(Section::ALL.to_vec()),
    ) {
        let changed = set(&format!("{start}{{{inside}}}{end}"), section, json!([7]));
        prop_assert_eq!(says(&changed, section), Some(json!([7])));
        prop_assert_eq!(check(&changed), Ok(()));
        let head = format!("{start}{{");
        let tail = format!("{inside}}}{end}");
        prop_assert!(changed.starts_with(&head) && changed.ends_with(&tail), "{changed:?}");
    }

    #[test]
    fn keys_in_a_section_stay_to_the_byte_but_for_those_that_are_set(
        parts in prop::collection::vec(member(key(), value()), 0..4),
        inner in prop::collection::vec(member("[a-z]{1,4}", value()), 1..4),
    ) {
        let text = format!("{{{}{}\"source\": {{{}}}}}", joined(&parts), if parts.is_empty() { "" } else { "," }, joined(&inner));
        let keys = Content::Keys(vec![("esxi_host", json!("h")), ("esxi_pass", json!("p"))]);
        let once = edited(&text, Section::Source, &keys).unwrap();
        prop_assert_eq!(check(&once), Ok(()));
        let last = inner.last().unwrap();
        let head = text.strip_suffix(&format!("{}}}}}", last.after)).unwrap();
        prop_assert!(once.starts_with(head), "{text:?} became {once:?}");
        prop_assert_eq!(edited(&once, Section::Source, &keys).unwrap(), once);
    }

    #[test]
    fn changing_back_gives_the_very_text(text in value(), other in value()) {
        let document = |value: &str| format!("{{\"x\": {value}, \"storage\": \"a\"}}");
        let text = document(&text);
        let there = set(&text, Section::Storage, json!(other));
        prop_assert_eq!(set(&there, Section::Storage, json!("a")), text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}\",:\\\\ a1\\n]{0,24}") {
        let _ = check(&text);
        let _ = Object::at(&text, 0);
        let _ = crate::config::steps::read::parse(&text);
    }
}
