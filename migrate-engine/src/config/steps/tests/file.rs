//! Changes of a file: what stays, who may read it, links, and files that are not touched.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use serde_json::json;

use crate::config::steps::lock::Lock;
use crate::config::steps::replace::{Placed, Reading, replace};
use crate::config::steps::{
    Change, Note, Platforms, Section, SourcePlatform, StepsError, StepsFile, TargetPlatform, import,
};
use crate::model::Selection;

use super::{EXISTING, Place, connection, kvm, set_mode};

#[test]
fn the_four_steps_make_a_file_that_can_be_used() {
    let place = Place::empty();
    let platforms = Platforms {
        source: SourcePlatform::Vcenter,
        target: TargetPlatform::Kvm,
    };
    for change in [
        Change::Platforms(platforms),
        Change::Source(connection("vc1")),
        Change::SelectedVms(Selection::from_iter([1, 5, 6])),
        Change::Kvm(kvm("kvm1")),
    ] {
        assert_eq!(place.file().apply(&change).unwrap(), []);
    }
    assert_eq!(
        place.text(),
        r#"{
  "platforms": {
    "source": "vcenter",
    "target": "kvm"
  },
  "source": {
    "esxi_host": "vc1",
    "esxi_user": "root",
    "esxi_pass": "hush"
  },
  "selected_vms": [
    1,
    5,
    6
  ],
  "destination": {
    "kvm_host": "kvm1",
    "kvm_user": "root",
    "kvm_pass": "",
    "kvm_storage_pool": "default"
  }
}
"#
    );
    let found = import(&place.path()).unwrap();
    assert_eq!(found.unfinished, []);
    assert_eq!(found.steps.platforms, platforms);
    assert_eq!(found.steps.kvm(), Ok(kvm("kvm1")));
}

#[test]
fn a_step_changes_its_own_keys_and_no_other_byte() {
    let place = Place::with(EXISTING);
    place.file().apply(&Change::Proxmox(connection("pve9"))).unwrap();
    let expected = EXISTING
        .replace("192.0.2.80", "pve9")
        .replace("root@pam", "root")
        .replace("hunter3", "hush");
    assert_eq!(place.text(), expected);
    place.file().apply(&Change::Storage("ceph".to_owned())).unwrap();
    let expected = expected.replace("local-lvm", "ceph");
    assert_eq!(place.text(), expected);
    let one = json!([2]);
    place.file().write_section(Section::SelectedVms, one).unwrap();
    assert_eq!(place.text(), expected.replace("    1,\n    3\n", "    2\n"));
}

#[test]
fn every_change_is_read_as_it_was_written() {
    let place = Place::with("{\"keep\": [1 ,2]}");
    let file = place.file();
    let mut odd = connection("h");
    odd.password = crate::model::Secret::new("a\"b\\c\n\u{1}é\u{1f600}");
    file.apply(&Change::Source(odd.clone())).unwrap();
    file.apply(&Change::Proxmox(odd.clone())).unwrap();
    file.apply(&Change::Ovftool("/opt/ovf tool".to_owned())).unwrap();
    file.apply(&Change::ExportRoot("/srv/\"x\"".to_owned())).unwrap();
    let steps = file.read().unwrap().steps;
    assert_eq!(steps.source(), Ok(odd.clone()));
    assert_eq!(steps.proxmox(), Ok(odd));
    assert_eq!(steps.ovftool.to_str(), Some("/opt/ovf tool"));
    assert_eq!(steps.export_root.to_str(), Some("/srv/\"x\""));
    assert!(place.text().starts_with("{\"keep\": [1 ,2],"));
}

#[test]
fn repeated_it_changes_nothing_at_all() {
    let place = Place::with(EXISTING);
    let change = Change::Source(connection("h"));
    place.file().apply(&change).unwrap();
    let first = fs::metadata(place.path()).unwrap();
    place.file().apply(&change).unwrap();
    assert_eq!(fs::metadata(place.path()).unwrap().ino(), first.ino());
}

#[test]
fn a_new_file_is_for_its_owner_only_and_nothing_else_is_left() {
    let place = Place::empty();
    place.file().apply(&Change::Source(connection("h"))).unwrap();
    for name in ["config.json", "config.json.lock"] {
        let mode = fs::metadata(place.folder().join(name)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    assert_eq!(place.names(), ["config.json", "config.json.lock"]);
}

#[test]
fn the_mode_stays_and_an_open_one_is_noted() {
    let place = Place::with(EXISTING);
    set_mode(&place.path(), 0o640);
    let notes = place.file().apply(&Change::Source(connection("h"))).unwrap();
    assert_eq!(notes, [Note::OpenToOthers { mode: 0o640 }]);
    let mode = fs::metadata(place.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
}

#[test]
fn owner_and_access_list_stay() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        eprintln!("skipped: only root can give files away");
        return;
    }
    let place = Place::with(EXISTING);
    std::os::unix::fs::chown(place.path(), Some(1234), Some(2345)).unwrap();
    // Version 2: owner rw-, user 4321 r--, group ---, mask r--, others ---.
    let list: Vec<u8> = [
        2_u32.to_le_bytes().to_vec(),
        entry(0x01, 6, u32::MAX),
        entry(0x02, 4, 4321),
        entry(0x04, 0, u32::MAX),
        entry(0x10, 4, u32::MAX),
        entry(0x20, 0, u32::MAX),
    ]
    .concat();
    let none = rustix::fs::XattrFlags::empty();
    let name = "system.posix_acl_access";
    let has_lists = rustix::fs::setxattr(place.path(), name, &list, none).is_ok();
    place.file().apply(&Change::Source(connection("h"))).unwrap();
    let is = fs::metadata(place.path()).unwrap();
    assert_eq!((is.uid(), is.gid()), (1234, 2345));
    let lock = fs::metadata(place.folder().join("config.json.lock")).unwrap();
    assert_eq!((lock.uid(), lock.gid()), (1234, 2345));
    if has_lists {
        let mut found = vec![0; 256];
        let length = rustix::fs::getxattr(place.path(), name, found.as_mut_slice()).unwrap();
        assert_eq!(found[..length], list);
    } else {
        eprintln!("skipped in part: no access lists on this file system");
    }
}

fn entry(tag: u16, permissions: u16, id: u32) -> Vec<u8> {
    [
        tag.to_le_bytes().to_vec(),
        permissions.to_le_bytes().to_vec(),
        id.to_le_bytes().to_vec(),
    ]
    .concat()
}

#[test]
fn a_link_stays_and_its_target_is_written() {
    let (place, elsewhere) = (Place::empty(), Place::with(EXISTING));
    symlink(elsewhere.path(), place.folder().join("hop")).unwrap();
    symlink("hop", place.path()).unwrap();
    place.file().apply(&Change::Storage("ceph".to_owned())).unwrap();
    assert_eq!(elsewhere.text(), EXISTING.replace("local-lvm", "ceph"));
    assert_eq!(fs::read_link(place.path()).unwrap().to_str(), Some("hop"));
    assert_eq!(place.names(), ["config.json", "hop"]);
    assert_eq!(place.file().read().unwrap().steps.storage, "ceph");
}

#[test]
fn a_link_to_nothing_is_refused() {
    let place = Place::empty();
    symlink("gone", place.path()).unwrap();
    let change = Change::Storage("ceph".to_owned());
    assert!(matches!(
        place.file().apply(&change),
        Err(StepsError::DanglingLink { .. })
    ));
    assert!(matches!(
        place.file().read(),
        Err(StepsError::DanglingLink { .. })
    ));
    assert_eq!(place.names(), ["config.json"]);
}

#[test]
fn a_broken_file_is_never_written() {
    for text in [
        "",
        "{",
        "{\"source\": {\"esxi_pass\": \"x\",}}",
        "[]",
        "\u{feff}{}",
        "{\"source\": [], }",
    ] {
        let place = Place::with(text);
        let error = place.file().apply(&Change::Source(connection("h"))).unwrap_err();
        assert!(
            matches!(error, StepsError::Broken { .. } | StepsError::Flawed { .. }),
            "{text:?}: {error}"
        );
        assert_eq!(place.text(), text);
        assert_eq!(place.names(), ["config.json", "config.json.lock"]);
    }
}

#[test]
fn values_that_cannot_be_meant_are_not_written() {
    let place = Place::with(EXISTING);
    let file = place.file();
    for (error, expected) in [
        (
            file.apply(&Change::Source(connection("a b"))).unwrap_err(),
            "`source.esxi_host` has white space",
        ),
        (
            file.write_section(Section::Destination, json!(["x"]))
                .unwrap_err(),
            "`destination` is a list: write an object",
        ),
        (
            file.write_section(Section::SelectedVms, json!([0])).unwrap_err(),
            "`selected_vms` has an entry that is no number from 1 up",
        ),
        (
            file.write_section(Section::Platforms, json!({"source": "hyperv"}))
                .unwrap_err(),
            "`platforms.source` is no platform",
        ),
    ] {
        let shown = error.to_string();
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert_eq!(place.text(), EXISTING);
}

#[test]
fn what_is_wrong_with_another_section_does_not_stop_a_step() {
    let text = "{\"storage\": 7, \"source\": {\"esxi_user\": 8}}";
    let place = Place::with(text);
    place.file().apply(&Change::Kvm(kvm("k"))).unwrap();
    assert!(
        place
            .text()
            .starts_with("{\"storage\": 7, \"source\": {\"esxi_user\": 8}")
    );
    assert!(place.file().read().is_err());
    place.file().apply(&Change::Storage("ceph".to_owned())).unwrap();
    place.file().apply(&Change::Source(connection("h"))).unwrap();
    assert!(place.file().read().is_ok());
}

/// Does something as another user than root. The kernel keeps users by thread, so that no other test is touched.
#[allow(unsafe_code, reason = "setresuid for one thread has no safe wrapper here")]
fn as_nobody<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    const NOBODY: libc::c_long = 65534;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: takes three numbers and changes nothing but this thread, which ends with the action.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
            assert_eq!(changed, 0, "{}", std::io::Error::last_os_error());
            action()
        });
        thread.join().unwrap()
    })
}

/// A place whose folder belongs to nobody, with the file of `mode` still ours.
fn place_of_nobody(mode: u32) -> Option<Place> {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        eprintln!("skipped: only root can become somebody else");
        return None;
    }
    let place = Place::with(EXISTING);
    set_mode(&place.path(), mode);
    std::os::unix::fs::chown(place.folder(), Some(65534), Some(65534)).unwrap();
    Some(place)
}

#[test]
fn a_file_that_is_closed_to_writing_stays() {
    let Some(place) = place_of_nobody(0o444) else {
        return;
    };
    let file = place.file();
    let error = as_nobody(move || file.apply(&Change::Storage("x".to_owned()))).unwrap_err();
    assert!(matches!(error, StepsError::ReadOnly { .. }), "{error}");
    assert_eq!(place.text(), EXISTING);
    assert_eq!(place.names(), ["config.json", "config.json.lock"]);
}

#[test]
fn a_file_whose_owner_could_not_be_kept_stays() {
    let Some(place) = place_of_nobody(0o666) else {
        return;
    };
    let file = place.file();
    let error = as_nobody(move || file.apply(&Change::Storage("x".to_owned()))).unwrap_err();
    assert!(matches!(error, StepsError::Owner { owner: 0, .. }), "{error}");
    assert_eq!(place.text(), EXISTING);
    assert_eq!(place.names(), ["config.json", "config.json.lock"]);
}

#[test]
fn a_file_that_cannot_be_read_is_said() {
    let Some(place) = place_of_nobody(0o600) else {
        return;
    };
    let file = place.file();
    let error = as_nobody(move || file.read()).unwrap_err();
    assert!(matches!(error, StepsError::Io { doing: "read", .. }), "{error}");
}

#[test]
fn a_change_by_an_editor_in_between_is_not_overwritten() {
    let place = Place::with(EXISTING);
    let old = Reading::of(&place.path()).unwrap();
    fs::write(place.folder().join("new"), "{\"mine\": 1}").unwrap();
    fs::rename(place.folder().join("new"), place.path()).unwrap();
    assert_eq!(
        replace(&place.path(), old.as_ref(), "{}").unwrap(),
        Placed::Overtaken
    );
    assert_eq!(place.text(), "{\"mine\": 1}");
    let old = Reading::of(&place.path()).unwrap();
    fs::remove_file(place.path()).unwrap();
    assert_eq!(
        replace(&place.path(), old.as_ref(), "{}").unwrap(),
        Placed::Overtaken
    );
    assert_eq!(replace(&place.path(), None, "{}").unwrap(), Placed::Yes);
    assert_eq!(replace(&place.path(), None, "{ }").unwrap(), Placed::Overtaken);
    assert_eq!(
        (place.text().as_str(), place.names()),
        ("{}", vec!["config.json".to_owned()])
    );
}

#[test]
fn a_lock_that_is_kept_is_said_and_one_of_the_dead_is_not_in_the_way() {
    let place = Place::with(EXISTING);
    let held = Lock::take(&place.path(), None).unwrap();
    let error = Lock::take_within(&place.path(), None, Duration::from_millis(20)).unwrap_err();
    assert!(error.to_string().contains("config.json.lock locked"), "{error}");
    drop(held);
    Lock::take_within(&place.path(), None, Duration::ZERO).unwrap();
}

#[test]
fn a_relative_name_means_the_same_file_for_ever() {
    let file = StepsFile::at(std::path::Path::new("config.json")).unwrap();
    assert!(file.path().is_absolute());
    assert!(StepsFile::at(std::path::Path::new("")).is_err());
}
