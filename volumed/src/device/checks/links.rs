//! Whether the links in `/dev/disk/by-id` lead to the disks that they name; people and other programs believe them.

use std::path::{Component, Path, PathBuf};

use crate::device::disk::{Disk, Inventory};
use crate::device::root::SysRoot;
use crate::model::{Check, Identity};

/// udev takes the serial of a SCSI disk from page 0x83, where QEMU cuts it to so many bytes; sysfs has it whole.
const CUT: usize = 20;

/// What a link that names a serial begins with, as udev's rules make them for QEMU's disks.
const PREFIXES: [&str; 2] = ["virtio-", "scsi-0QEMU_QEMU_HARDDISK_"];

/// A link that is not what it says.
enum Wrong {
    /// It names another serial than its disk has.
    Stale(String),
    /// It leads to no disk.
    Dangling(String),
}

/// Compares each link that names a serial with the serial that the kernel reports of the disk where it leads.
///
/// Links by other names (WWN, model) say nothing that could be compared with certainty and are left out, unless they end
/// with the serial of a disk where they do not lead.
pub(super) fn links(root: &SysRoot, inventory: &Inventory) -> Check {
    const NAME: &str = "udev links";
    const REPAIR: &str = "restart systemd-udevd and run `udevadm trigger --subsystem-match=block`; until then nothing that \
                          opens disks by these links may be used (volumed does not)";
    let dir = root.dev.join("disk/by-id");
    let Ok(entries) = std::fs::read_dir(&dir) else {
        return Check::passed(NAME, format!("there are none in {}", dir.display()));
    };
    let (mut compared, mut stale, mut dangling) = (0, Vec::new(), Vec::new());
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if is_of_partition(&name) {
            continue;
        }
        match examine(&dir, &name, root, inventory) {
            Some(Wrong::Stale(seen)) => stale.push(seen),
            Some(Wrong::Dangling(seen)) => dangling.push(seen),
            None => compared += 1,
        }
    }
    stale.sort_unstable();
    dangling.sort_unstable();
    match (stale.is_empty(), dangling.is_empty()) {
        (false, _) => Check::failed(NAME, stale.join("; "), REPAIR),
        (true, false) => Check::warning(NAME, dangling.join("; "), "remove it: udevd does not"),
        (true, true) => Check::passed(NAME, format!("none of {compared} names another disk")),
    }
}

fn examine(dir: &Path, name: &str, root: &SysRoot, inventory: &Inventory) -> Option<Wrong> {
    let node = normal(&dir.join(std::fs::read_link(dir.join(name)).ok()?));
    let Some(disk) = inventory.disks.iter().find(|disk| disk.node == node) else {
        // Tapes, generic SCSI nodes and disks in transition are not in the inventory; a node that is there is theirs.
        let gone = node.starts_with(&root.dev) && !node.exists();
        return gone
            .then(|| Wrong::Dangling(format!("{name} leads to {}, which is not there", node.display())));
    };
    let serial = match &disk.identity {
        Some(Identity::Serial(serial)) => Some(serial.as_str()),
        _ => None,
    };
    let is_own = serial.is_some_and(|serial| ends_with(name, serial));
    let named = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
    let wrong = match named {
        Some(named) => !serial.is_some_and(|serial| is_same(named, serial)),
        None => !is_own && names_another(name, disk, inventory),
    };
    wrong.then(|| {
        let has = serial.map_or_else(
            || "shows no serial".to_owned(),
            |serial| format!("has serial `{serial}`"),
        );
        Wrong::Stale(format!("{name} leads to {}, which {has}", node.display()))
    })
}

/// Whether the link ends with the serial of a disk other than this one.
fn names_another(link: &str, disk: &Disk, inventory: &Inventory) -> bool {
    /// Shorter serials may stand at the end of anything.
    const TELLING: usize = 8;
    let others = inventory.disks.iter().filter(|other| other.name != disk.name);
    let mut serials = others.filter_map(|other| match &other.identity {
        Some(Identity::Serial(serial)) if serial.len() >= TELLING => Some(serial),
        _ => None,
    });
    serials.any(|serial| ends_with(link, serial))
}

fn is_of_partition(link: &str) -> bool {
    let number = link.rsplit_once("-part").map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a link's serial is this one, as far as udev keeps it.
fn is_same(named: &str, serial: &str) -> bool {
    let cut = serial.get(..CUT).unwrap_or(serial);
    let named = folded(named);
    named == folded(serial) || named == folded(cut)
}

fn ends_with(link: &str, serial: &str) -> bool {
    let serial = folded(serial);
    let link = folded(link);
    link.strip_suffix(&serial)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
}

/// A text without what udev replaces in names: blanks and unusual characters become `_`, several one.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if c.is_ascii_alphanumeric() {
            folded.push(c);
        } else if !folded.ends_with('_') {
            folded.push('_');
        }
    }
    folded
}

/// The path without `.` and `..`, by its text alone: the target may be gone.
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
