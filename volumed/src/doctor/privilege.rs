//! Whether the process may do what the daemon does: open and flush block devices, hear every uevent, signal nbd-server.

use crate::model::Check;

const NAME: &str = "privileges";

/// A capability (`linux/capability.h`) and what fails without it.
struct Needed {
    bit: u32,
    name: &'static str,
    without: &'static str,
}

/// Without these the daemon does not work.
const VITAL: [Needed; 1] = [Needed {
    bit: 21,
    name: "CAP_SYS_ADMIN",
    without: "devices cannot be bound or flushed",
}];

/// Without these it works less well.
const USEFUL: [Needed; 4] = [
    Needed {
        bit: 1,
        name: "CAP_DAC_OVERRIDE",
        without: "devices and files of others cannot be opened",
    },
    Needed {
        bit: 2,
        name: "CAP_DAC_READ_SEARCH",
        without: "who holds a device open cannot be seen",
    },
    Needed {
        bit: 5,
        name: "CAP_KILL",
        without: "an nbd-server that gave up root cannot be stopped",
    },
    Needed {
        bit: 12,
        name: "CAP_NET_ADMIN",
        without: "uevents are lost in a storm of them",
    },
];

pub(super) fn privilege() -> Check {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    judge(&status)
}

fn judge(status: &str) -> Check {
    let Some(held) = effective(status) else {
        return Check::warning(NAME, "/proc/self/status does not tell them", "is /proc mounted?");
    };
    let lacking = |needed: &[Needed]| {
        let lacking = needed.iter().filter(|needed| held & (1 << needed.bit) == 0);
        let texts = lacking.map(|needed| format!("no {}: {}", needed.name, needed.without));
        texts.collect::<Vec<_>>().join("; ")
    };
    let (vital, useful) = (lacking(&VITAL), lacking(&USEFUL));
    let advice = "run the daemon as root, by the unit that comes with it";
    match (vital.is_empty(), useful.is_empty()) {
        (false, _) => Check::failed(NAME, vital, advice),
        (true, false) => Check::warning(NAME, useful, advice),
        (true, true) => Check::passed(NAME, "all that are needed"),
    }
}

/// The effective capabilities, as `proc_pid_status(5)` has them.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckStatus;

    #[test]
    fn capabilities_are_judged_by_what_fails_without_them() {
        let of = |held: u64| judge(&format!("Name:\tvolumed\nCapPrm:\t0\nCapEff:\t{held:016x}\n"));
        let all = u64::MAX;
        assert_eq!(of(all).status, CheckStatus::Passed);
        let without_net = of(all & !(1 << 12));
        assert_eq!(without_net.status, CheckStatus::Warning);
        assert!(without_net.seen.contains("CAP_NET_ADMIN") && !without_net.seen.contains("CAP_KILL"));
        let plain = of(0);
        assert_eq!(plain.status, CheckStatus::Failed);
        assert!(plain.seen.contains("CAP_SYS_ADMIN"), "{plain:?}");
        assert_eq!(judge("").status, CheckStatus::Warning);
    }
}
