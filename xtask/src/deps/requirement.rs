//! The list of what building, testing and the demo need from the system, and which Debian packages bring it.

use std::fmt;
use std::path::Path;

use crate::command::{command, find, output};

/// How to see whether something is there. Always the thing itself, never the package: it may have come otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) enum Probe {
    /// A program on the path.
    Program(&'static str),
    /// A library with headers that pkg-config knows.
    Library(&'static str),
    /// A program that is not on the path.
    File(&'static str),
}

impl Probe {
    /// What is looked for.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Program(name) | Self::File(name) | Self::Library(name) => name,
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(name) | Self::File(name) => f.write_str(name),
            Self::Library(name) => write!(f, "{name} (library and headers)"),
        }
    }
}

/// One thing we need, why, and the packages to try for it, likeliest first.
pub(super) struct Requirement {
    pub(super) probe: Probe,
    pub(super) reason: &'static str,
    pub(super) packages: &'static [&'static str],
}

impl Requirement {
    pub(super) fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => find(name).is_some(),
            Probe::File(path) => Path::new(path).exists(),
            Probe::Library(name) => output(command("pkg-config").args(["--exists", name])).is_ok(),
        }
    }
}

const fn program(name: &'static str, reason: &'static str, packages: &'static [&'static str]) -> Requirement {
    Requirement {
        probe: Probe::Program(name),
        reason,
        packages,
    }
}

pub(super) const REQUIREMENTS: &[Requirement] = &[
    program("cc", "compiles the bundled SQLite", &["build-essential"]),
    program("pkg-config", "finds libraries for the build", &["pkg-config"]),
    program("python3", "runs schemathesis", &["python3-venv"]),
    Requirement {
        probe: Probe::Library("libudev"),
        reason: "device events",
        packages: &["libudev-dev"],
    },
    Requirement {
        probe: Probe::File("/lib/systemd/systemd-udevd"),
        reason: "device events as on a real system",
        packages: &["udev"],
    },
    program("udevadm", "device events as on a real system", &["udev"]),
    program("qemu-img", "disk image formats", &["qemu-utils"]),
    program("qemu-nbd", "NBD server to test against", &["qemu-utils"]),
    program("qemu-io", "reads and writes of images in tests", &["qemu-utils"]),
    // Debian 12 has it in qemu-system-common, later ones in qemu-utils.
    program(
        "qemu-storage-daemon",
        "NBD exports",
        &["qemu-utils", "qemu-system-common"],
    ),
    program("nbd-server", "NBD exports", &["nbd-server"]),
    program("nbdkit", "NBD server to test against, and faults", &["nbdkit"]),
    Requirement {
        probe: Probe::File("/usr/include/nbdkit-plugin.h"),
        reason: "the tests' stand-in for nbdkit's VDDK plugin",
        packages: &["nbdkit-plugin-dev"],
    },
    program("nbdinfo", "NBD client to test against", &["libnbd-bin"]),
    program(
        "nbdcopy",
        "NBD client to test and measure against",
        &["libnbd-bin"],
    ),
    program(
        "qemu-system-x86_64",
        "the virtual appliance",
        &["qemu-system-x86"],
    ),
    program(
        "busybox",
        "programs in the virtual appliance",
        &["busybox-static"],
    ),
    program("strip", "small programs in the virtual appliance", &["binutils"]),
    program("openssl", "certificates in tests", &["openssl"]),
    program(
        "systemd-analyze",
        "the units, checked as systemd reads them",
        &["systemd"],
    ),
    program("losetup", "loop devices", &["mount"]),
    program("mount", "looking into migrated volumes", &["mount"]),
    program("blockdev", "sizes of devices", &["util-linux"]),
    program("sfdisk", "partition tables", &["fdisk"]),
    program("mkfs.ext4", "file systems", &["e2fsprogs"]),
    program(
        "mkfs.btrfs",
        "snapshots on a file system that clones",
        &["btrfs-progs"],
    ),
    program("addpart", "partitions in tests", &["util-linux"]),
    program("unshare", "namespaces in tests", &["util-linux"]),
    program("jq", "the examples of the API guide", &["jq"]),
    program("ip", "the loopback of a namespace in tests", &["iproute2"]),
    program("go", "the tests' vSphere simulator", &["golang-go"]),
    Requirement {
        probe: Probe::File("/usr/share/gocode/src/github.com/vmware/govmomi/simulator/simulator.go"),
        reason: "the tests' vSphere simulator",
        packages: &["golang-github-vmware-govmomi-dev"],
    },
    program("curl", "the hooks of the tests' vSphere simulator", &["curl"]),
    program("promtool", "checks alert rules and tests them", &["prometheus"]),
    program("gzip", "compressed disks of OVA archives", &["gzip"]),
    program("tar", "OVA archives", &["tar"]),
    program("cmp", "comparing disks", &["diffutils"]),
    Requirement {
        probe: Probe::File("/usr/bin/time"),
        reason: "what copies cost, in the benches",
        packages: &["time"],
    },
    program(
        "cloudstack",
        "an independent client to test our CloudStack with",
        &["cs"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_says_why_and_from_where() {
        for requirement in REQUIREMENTS {
            assert!(!requirement.reason.is_empty(), "{}", requirement.probe);
            assert!(!requirement.packages.is_empty(), "{}", requirement.probe);
        }
    }

    #[test]
    fn probes_see_what_is_there_and_what_is_not() {
        assert!(program("sh", "", &[]).is_met());
        assert!(!program("no-such-program-anywhere", "", &[]).is_met());
        let file = |path| Requirement {
            probe: Probe::File(path),
            reason: "",
            packages: &[],
        };
        assert!(file("/proc/self").is_met());
        assert!(!file("/no/such/file").is_met());
        let library = Requirement {
            probe: Probe::Library("no-such-library"),
            reason: "",
            packages: &[],
        };
        assert!(!library.is_met());
    }
}
