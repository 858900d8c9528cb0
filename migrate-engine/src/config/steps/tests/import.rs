//! What is read of a file, and what is said of a bad one.

use crate::config::steps::read::{Unread, parse};
use crate::config::steps::{Note, SourcePlatform, Steps, StepsError, TargetPlatform, import};
use crate::model::Selection;

use super::{EXISTING, Place, set_mode};

fn steps(text: &str) -> Steps {
    parse(text).unwrap().0
}

fn notes(text: &str) -> Vec<String> {
    parse(text).unwrap().1.iter().map(ToString::to_string).collect()
}

/// What is wrong with a text, in one line each.
fn flaws(text: &str) -> Vec<String> {
    match parse(text) {
        Err(Unread::Flawed(flaws)) => flaws.iter().map(ToString::to_string).collect(),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn an_existing_file_is_used_as_it_is() {
    let place = Place::with(EXISTING);
    let found = import(&place.path()).unwrap();
    let source = found.steps.source().unwrap();
    assert_eq!(
        (
            source.host.as_str(),
            source.user.as_str(),
            source.password.reveal()
        ),
        ("192.0.2.74", "root", "hunter2")
    );
    assert_eq!(found.steps.proxmox().unwrap().user, "root@pam");
    assert_eq!(found.steps.selected_vms, Selection::from_iter([1, 3]));
    assert_eq!(found.steps.storage, "local-lvm");
    assert_eq!(found.steps.platforms.source, SourcePlatform::Esxi);
    assert_eq!(found.steps.platforms.target, TargetPlatform::Proxmox);
    assert_eq!(found.unfinished, []);
    let defaults = [("platforms.source", "esxi"), ("platforms.target", "proxmox")];
    let defaults = defaults.map(|(key, value)| Note::DefaultTaken {
        key: key.to_owned(),
        value: value.to_owned(),
    });
    assert_eq!(found.notes, defaults);
    assert_eq!(place.text(), EXISTING);
    assert_eq!(place.names(), ["config.json"]);
}

#[test]
fn defaults_are_taken_and_noted() {
    let steps = steps("{}");
    assert_eq!(steps, Steps::default());
    assert_eq!(
        (
            steps.storage.as_str(),
            steps.export_root.to_str(),
            steps.ovftool.to_str()
        ),
        ("local-lvm", Some("./exports"), Some("ovftool"))
    );
    let notes = notes(r#"{"storage": "", "export_root": null}"#);
    for key in [
        "storage",
        "export_root",
        "ovftool",
        "platforms.source",
        "platforms.target",
    ] {
        let said = notes
            .iter()
            .any(|note| note.starts_with(&format!("`{key}` is not given")));
        assert!(said, "{key}: {notes:?}");
    }
}

#[test]
fn the_target_is_what_the_file_fills_in() {
    let target = |text: &str| steps(text).platforms.target;
    assert_eq!(
        target(r#"{"destination": {"kvm_host": "k", "proxmox_host": ""}}"#),
        TargetPlatform::Kvm
    );
    assert_eq!(
        target(r#"{"destination": {"kvm_host": "k", "proxmox_host": "p"}}"#),
        TargetPlatform::Proxmox
    );
    let both =
        r#"{"platforms": {"source": "vcenter", "target": "cloudstack"}, "destination": {"kvm_host": "k"}}"#;
    assert_eq!(target(both), TargetPlatform::Cloudstack);
    assert_eq!(steps(both).platforms.source, SourcePlatform::Vcenter);
}

#[test]
fn a_step_that_is_not_done_is_asked_for_by_its_keys() {
    let unfinished = |text: &str| -> Vec<String> {
        steps(text)
            .unfinished()
            .iter()
            .map(|flaw| flaw.key.clone())
            .collect()
    };
    assert_eq!(
        unfinished("{}"),
        [
            "source.esxi_host",
            "source.esxi_user",
            "source.esxi_pass",
            "selected_vms",
            "destination.proxmox_host",
            "destination.proxmox_user",
            "destination.proxmox_pass",
        ]
    );
    assert_eq!(
        unfinished(
            r#"{"source": {"esxi_host": "h", "esxi_user": "u", "esxi_pass": ""}, "selected_vms": [2],
                "platforms": {"target": "kvm"}, "destination": {"kvm_host": "k"}}"#
        ),
        ["source.esxi_pass", "destination.kvm_user"]
    );
    let error = steps("{}").source().unwrap_err().to_string();
    assert!(
        error.contains("`source.esxi_host` is missing: write the name or address")
            && error.contains("\"root\""),
        "{error}"
    );
    let kvm = steps(r#"{"destination": {"kvm_host": "k", "kvm_user": "u", "kvm_pass": ""}}"#).kvm();
    let kvm = kvm.unwrap();
    assert_eq!((kvm.password, kvm.storage_pool.as_str()), (None, "default"));
}

#[test]
fn cloudstack_needs_no_destination() {
    let text = r#"{"platforms": {"target": "cloudstack"}, "selected_vms": [1],
        "source": {"esxi_host": "h", "esxi_user": "u", "esxi_pass": "p"}}"#;
    assert_eq!(steps(text).unfinished(), []);
}

#[test]
fn values_of_the_wrong_type_are_named_all_at_once_and_not_shown() {
    let text = r#"{
  "source": {"esxi_host": 7151, "esxi_user": ["hunter2"], "esxi_pass": {"x": "hunter2"}},
  "destination": ["hunter2"],
  "platforms": {"source": "hyperv", "target": true},
  "selected_vms": "1,3",
  "storage": false,
  "export_root": 1E400,
  "ovftool": "\ud83d"
}"#;
    let flaws = flaws(text);
    for expected in [
        "`source.esxi_host` (line 2) is a number: write the name or address",
        "`source.esxi_user` (line 2) is a list: write the user's name",
        "`source.esxi_pass` (line 2) is an object: write the user's password",
        "`destination` (line 3) is a list: write an object, such as {\"proxmox_host\": …}",
        "`platforms.source` (line 4) is no platform: write \"esxi\" or \"vcenter\"",
        "`platforms.target` (line 4) is true or false: write \"cloudstack\", \"proxmox\" or \"kvm\"",
        "`selected_vms` (line 5) is a text: write the serial numbers of the machines in brackets",
        "`storage` (line 6) is true or false: write the name of the storage",
        "`export_root` (line 7) cannot be read: write the path",
        "`ovftool` (line 8) cannot be read: write the program's",
    ] {
        let said = flaws.iter().filter(|flaw| flaw.starts_with(expected)).count();
        assert_eq!(said, 1, "{expected}: {flaws:#?}");
    }
    assert_eq!(flaws.len(), 10, "{flaws:#?}");
    let shown = flaws.join(" ");
    assert!(!shown.contains("hunter2") && !shown.contains("7151"), "{shown}");
}

#[test]
fn a_password_without_quotation_marks_is_not_shown() {
    let flaws = flaws(r#"{"source": {"esxi_pass": 24081}}"#).join(" ");
    assert!(
        flaws.contains("in quotation marks") && !flaws.contains("24081"),
        "{flaws}"
    );
}

#[test]
fn hosts_with_space_in_them_are_refused() {
    for host in [" h", "h ", "a b", "h\\n"] {
        let flaws = flaws(&format!("{{\"destination\": {{\"kvm_host\": \"{host}\"}}}}"));
        assert!(
            flaws[0].contains("`destination.kvm_host` (line 1) has white space"),
            "{flaws:?}"
        );
    }
}

#[test]
fn machines_are_numbers_from_one_up() {
    let selected = |list: &str| steps(&format!("{{\"selected_vms\": {list}}}")).selected_vms;
    assert_eq!(selected("[5, 1, 6, 7]").to_string(), "1,5-7");
    assert_eq!(selected(r#"["3", 1]"#).to_string(), "1,3");
    assert!(selected("[]").is_empty() && selected("null").is_empty());
    for list in [
        "[0]",
        "[-1]",
        "[1.5]",
        "[\"web\"]",
        "[\"\"]",
        "[[1]]",
        "[1, null]",
        "[\"1-3\"]",
        "{\"a\": 1}",
    ] {
        let flaws = flaws(&format!("{{\"selected_vms\": {list}}}"));
        assert!(
            flaws.len() == 1
                && flaws[0]
                    .contains("write the serial numbers of the machines in brackets, such as [1, 3, 5]"),
            "{list}: {flaws:?}"
        );
    }
    let notes = notes(r#"{"selected_vms": [2, 1, 2]}"#);
    assert!(
        notes.contains(&"`selected_vms` names 2 more than once: it is taken once".to_owned()),
        "{notes:?}"
    );
}

#[test]
fn what_is_not_known_is_noted_and_no_error() {
    let text = r#"{"comment": 1E999, "esxi_host": "h", "source": {"port": 443, "esxi_host": "a", "esxi_host": "b"},
        "target": 1, "storage": "x", "storage": "y"}"#;
    let notes = notes(text);
    for expected in [
        "`comment` is not known here: it is kept and has no effect",
        "`esxi_host` stands outside of `source` and has no effect there: move it into `source`",
        "`source.port` is not known here: it is kept and has no effect",
        "`source.esxi_host` is there more than once: the last one counts",
        "`storage` is there more than once: the last one counts",
        "`target` is not known here: it is kept and has no effect",
    ] {
        assert!(notes.contains(&expected.to_owned()), "{expected}: {notes:#?}");
    }
    let steps = steps(text);
    assert_eq!(
        (steps.source.host.as_deref(), steps.storage.as_str()),
        (Some("b"), "y")
    );
}

#[test]
fn a_broken_file_is_refused_with_the_place() {
    for (text, line, column, why) in [
        (
            "{\n  \"source\": {\n    \"esxi_pass\": \"hunter2\",\n  }\n}",
            4,
            3,
            "a comma and nothing behind it",
        ),
        ("{\"storage\": \"hunter2}", 1, 21, "EOF while parsing a string"),
        ("{'storage': 1}", 1, 2, "key must be a string"),
        ("{} x", 1, 4, "trailing characters"),
        ("", 1, 1, "the file is empty"),
        (" \n\n", 1, 1, "the file is empty"),
        ("\u{feff}{}", 1, 1, "byte order mark"),
        ("# comment\n{}", 1, 1, "expected value"),
        ("{\"a\": \"x\ny\"}", 1, 8, "control character"),
        ("{\"é\": [1,\n]}", 2, 1, "a comma and nothing behind it"),
    ] {
        let place = Place::with(text);
        match import(&place.path()).unwrap_err() {
            error @ StepsError::Broken { .. } => {
                let shown = error.to_string();
                let at = format!("line {line}, column {column} ");
                assert!(shown.contains(&at) && shown.contains(why), "{text:?}: {shown}");
                assert!(!shown.contains("hunter2"), "{shown}");
            }
            other => panic!("{text:?}: {other}"),
        }
    }
}

#[test]
fn a_file_that_is_no_text_is_refused_with_the_place() {
    let place = Place::empty();
    std::fs::write(place.path(), b"{\n\"storage\": \"\xff\"}").unwrap();
    let shown = import(&place.path()).unwrap_err().to_string();
    assert!(
        shown.contains("line 2, column 13") && shown.contains("UTF-8"),
        "{shown}"
    );
}

#[test]
fn json_that_is_no_object_is_refused() {
    for text in ["[]", "1", "\"x\"", "null", "true"] {
        let shown = import(&Place::with(text).path()).unwrap_err().to_string();
        assert!(shown.contains("begin with `{`"), "{text}: {shown}");
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let place = Place::empty();
    assert!(matches!(import(&place.path()), Err(StepsError::Missing { .. })));
    assert!(matches!(import(place.folder()), Err(StepsError::NoFile { .. })));
    assert!(matches!(
        import(&place.folder().join("nowhere/config.json")),
        Err(StepsError::Io { .. })
    ));
    let pipe = place.folder().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(matches!(import(&pipe), Err(StepsError::NoFile { .. })));
    let long = format!("{{\"x\": \"{}\"}}", "x".repeat(5 << 20));
    assert!(matches!(
        import(&Place::with(&long).path()),
        Err(StepsError::TooLong { .. })
    ));
}

#[test]
fn a_file_that_others_can_read_is_noted() {
    for (mode, noted) in [
        (0o600, false),
        (0o400, false),
        (0o640, true),
        (0o604, true),
        (0o620, true),
    ] {
        let place = Place::with(EXISTING);
        set_mode(&place.path(), mode);
        let notes = import(&place.path()).unwrap().notes;
        assert_eq!(notes.contains(&Note::OpenToOthers { mode }), noted, "{mode:o}");
    }
}

#[test]
fn no_password_is_shown_by_debug() {
    let found = import(&Place::with(EXISTING).path()).unwrap();
    let shown = format!("{found:?} {:?}", found.steps.source());
    assert!(
        shown.contains("192.0.2.74") && !shown.contains("hunter"),
        "{shown}"
    );
}

#[test]
fn exports_count_from_the_folder_of_the_file() {
    let folder = std::path::Path::new("/srv/migration");
    let root = |text: &str| steps(text).export_root_in(folder);
    assert_eq!(root("{}"), folder.join("exports"));
    assert_eq!(
        root(r#"{"export_root": "/mnt/x"}"#),
        std::path::Path::new("/mnt/x")
    );
}

#[test]
fn depth_does_not_overflow_the_stack() {
    let deep = format!("{{\"x\": {}{}}}", "[".repeat(500_000), "]".repeat(500_000));
    assert!(parse(&deep).is_ok());
    let deep = format!("{{\"storage\": {}{}}}", "[".repeat(500_000), "]".repeat(500_000));
    assert!(flaws(&deep)[0].contains("`storage` (line 1) cannot be read"));
}
