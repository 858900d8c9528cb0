//! Whether the process may do what the daemon does: open block devices, see who else has them open, hear every uevent.

use crate::device::WatcherConfig;
use crate::model::Check;

const NAME: &str = "privileges";

// `linux/capability.h`.
const CAP_DAC_OVERRIDE: u64 = 1 << 1;
const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_PTRACE: u64 = 1 << 19;

/// What the machine shows of it.
struct Seen {
    /// `/proc/self/status`.
    status: String,
    /// `/etc/group`.
    groups: String,
    /// The largest receive buffer that anybody may ask for, in bytes.
    largest_buffer: usize,
}

pub(super) fn privilege() -> Check {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    judge(&Seen {
        status: read("/proc/self/status"),
        groups: read("/etc/group"),
        // A network namespace of its own does not show it: then nothing is said.
        largest_buffer: read("/proc/sys/net/core/rmem_max")
            .trim()
            .parse()
            .unwrap_or(usize::MAX),
    })
}

fn judge(seen: &Seen) -> Check {
    let Some(held) = seen.effective() else {
        return Check::warning(NAME, "/proc/self/status does not tell them", "is /proc mounted?");
    };
    let has = |capability: u64| held & capability != 0;
    let reads_all = has(CAP_DAC_OVERRIDE | CAP_DAC_READ_SEARCH);
    let advice = "run the daemon by the unit that comes with it, or as root";
    if !reads_all && !seen.is_root() && !seen.is_member("disk") {
        let seen = "neither CAP_DAC_READ_SEARCH nor the group `disk`: devices cannot be opened".to_owned();
        return Check::failed(NAME, seen, advice);
    }
    let mut lacking = Vec::new();
    if !reads_all {
        lacking.push("no CAP_DAC_READ_SEARCH: devices that were given to others cannot be opened");
    }
    if !reads_all || !has(CAP_SYS_PTRACE) {
        lacking
            .push("no CAP_SYS_PTRACE with CAP_DAC_READ_SEARCH: not all who hold a device open can be seen");
    }
    if !has(CAP_NET_ADMIN) && seen.largest_buffer < WatcherConfig::default().receive_buffer {
        lacking.push(
            "net.core.rmem_max is small and there is no CAP_NET_ADMIN: uevents are lost in a storm of them",
        );
    }
    match lacking.is_empty() {
        false => Check::warning(NAME, lacking.join("; "), advice),
        true => Check::passed(NAME, "all that are needed"),
    }
}

impl Seen {
    /// A line of the status, as `proc_pid_status(5)` has them.
    fn line(&self, name: &str) -> Option<&str> {
        self.status.lines().find_map(|line| line.strip_prefix(name))
    }

    fn effective(&self) -> Option<u64> {
        u64::from_str_radix(self.line("CapEff:")?.trim(), 16).ok()
    }

    /// Real, effective, saved and file system's user, in this order.
    fn is_root(&self) -> bool {
        self.line("Uid:")
            .is_some_and(|users| users.split_whitespace().nth(1) == Some("0"))
    }

    fn is_member(&self, group: &str) -> bool {
        let id = self.groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == group).then(|| fields.nth(1))?
        });
        let ours = ["Gid:", "Groups:"].into_iter().filter_map(|name| self.line(name));
        id.is_some_and(|id| ours.flat_map(str::split_whitespace).any(|own| own == id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckStatus;

    fn seen(uid: u32, groups: &str, held: u64) -> Seen {
        Seen {
            status: format!(
                "Name:\tvolumed\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGroups:\t{groups} \nCapEff:\t{held:016x}\n"
            ),
            groups: "root:x:0:\ndisk:x:6:\nvolumed:x:990:\n".to_owned(),
            largest_buffer: 8 << 20,
        }
    }

    #[test]
    fn the_unit_and_root_may_do_all_that_is_needed() {
        let unit = seen(990, "6 990", CAP_SYS_PTRACE | CAP_DAC_READ_SEARCH);
        assert_eq!(judge(&unit).status, CheckStatus::Passed);
        assert_eq!(judge(&seen(0, "0", u64::MAX)).status, CheckStatus::Passed);
    }

    #[test]
    fn what_is_lacking_is_said_by_what_fails_without_it() {
        let told = |seen: &Seen| {
            let check = judge(seen);
            (check.status, check.seen)
        };
        let (status, text) = told(&seen(990, "6 990", CAP_DAC_READ_SEARCH));
        assert!(
            status == CheckStatus::Warning && text.contains("CAP_SYS_PTRACE"),
            "{text}"
        );
        let (status, text) = told(&seen(990, "6 990", 0));
        assert!(
            status == CheckStatus::Warning && text.contains("given to others"),
            "{text}"
        );
        let (status, text) = told(&seen(990, "990 66", 0));
        assert!(
            status == CheckStatus::Failed && text.contains("cannot be opened"),
            "{text}"
        );
        let small = Seen {
            largest_buffer: 212_992,
            ..seen(990, "6", CAP_SYS_PTRACE | CAP_DAC_READ_SEARCH)
        };
        assert!(told(&small).1.contains("rmem_max"));
        let silent = Seen {
            status: String::new(),
            ..seen(0, "", 0)
        };
        assert_eq!(judge(&silent).status, CheckStatus::Warning);
    }
}
