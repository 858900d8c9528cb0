//! By which names a disk is known again, and what its volume is called. Pure.

use std::path::Path;

use volume_client::types::SourceDisk;

/// The longest name of a volume.
const LONGEST: usize = 128;
/// The longest name of a source's machine or disk, in characters.
const LONGEST_KEY: usize = 255;

/// The source disk under which the daemon finds the volume again. Two files of the same name are two disks: the file's
/// whole path is part of it.
pub(super) fn source_disk(machine: &str, file: Option<&Path>, disk_id: &str) -> SourceDisk {
    let disk = match file {
        Some(file) => format!("{}#{disk_id}", file.display()),
        None => disk_id.to_owned(),
    };
    SourceDisk {
        vm: fitting(machine),
        disk: fitting(&disk),
    }
}

/// A text that the daemon takes as it is; one that is too long or not plain keeps its end, after a digest of it all.
fn fitting(text: &str) -> String {
    let count = text.chars().count();
    if (1..=LONGEST_KEY).contains(&count) && !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let digest = blake3::hash(text.as_bytes()).to_hex();
    let readable = text.chars().map(|c| if c.is_control() { '?' } else { c });
    let end: String = readable.skip(count.saturating_sub(LONGEST_KEY - 40)).collect();
    format!("{}…{end}", &digest[..32])
}

/// A name for the volume, of the characters that the daemon takes.
pub(super) fn volume_name(machine: &str, label: &str) -> String {
    let label = label.rsplit('/').next().unwrap_or(label);
    let whole = if label.starts_with(machine) {
        label.to_owned()
    } else {
        format!("{machine}-{label}")
    };
    let fits = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = whole.chars().map(fits).take(LONGEST).collect();
    let name = name.trim_matches(['-', '.', ' ']);
    if name.is_empty() {
        "disk".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_of_one_name_are_two_disks() {
        let a = source_disk("web", Some(Path::new("/a/web.qcow2")), "web.qcow2");
        let b = source_disk("web", Some(Path::new("/b/web.qcow2")), "web.qcow2");
        assert_ne!(a, b);
    }

    #[test]
    fn what_the_daemon_would_refuse_is_made_to_fit_and_stays_distinct() {
        let long = |end: &str| source_disk("m", Some(Path::new(&format!("/{}/{end}", "d".repeat(400)))), end);
        let (a, b) = (long("a"), long("b"));
        assert_ne!(a, b);
        assert!(a.disk.chars().count() <= LONGEST_KEY && a.disk.ends_with("/a#a"));
        let odd = source_disk("one\ntwo", None, "");
        assert!(!odd.vm.contains('\n') && odd.vm.ends_with("one?two"));
        assert!(!odd.disk.is_empty());
    }

    #[test]
    fn names_have_only_what_the_daemon_takes() {
        assert_eq!(volume_name("web", "web.qcow2"), "web.qcow2");
        assert_eq!(volume_name("web 01", "Hard disk/1"), "web-01-1");
        assert_eq!(volume_name("../..", "\n"), "disk");
        assert_eq!(volume_name("a", "a..b..qcow2"), "a..b..qcow2");
        assert!(volume_name(&"x".repeat(500), "y").len() <= LONGEST);
    }
}
