//! A clean Debian 12 made by debootstrap, once; copies of it become the disks of machines.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::{check, command, find};
use crate::console;

const SUITE: &str = "bookworm";
const MIRROR: &str = "http://deb.debian.org/debian";
/// What Debian's own cloud images have, as far as the packages can notice, and what the script looks with.
const PACKAGES: &str = "systemd-sysv,udev,dbus,kmod,procps,iproute2,ca-certificates,e2fsprogs,mount,fdisk,\
                        linux-image-cloud-amd64,initramfs-tools,zstd,sqlite3,debconf";
/// Room for the packages, their dependencies and the volumes.
const DISK: &str = "4G";

/// The one that is copied.
pub(super) struct CleanRoot {
    path: PathBuf,
}

/// A copy that may be changed. Dropped, it is gone.
pub(super) struct Copied {
    path: PathBuf,
}

impl CleanRoot {
    /// The one below `place`, made where it is not there; that takes minutes.
    pub(super) fn ensure(place: &Path) -> Result<Self> {
        let path = place.join("base");
        if path.join("boot").exists() {
            console::say("there");
            return Ok(Self { path });
        }
        if find("debootstrap").is_none() {
            bail!("no debootstrap here: apt-get install debootstrap");
        }
        let under_way = place.join("base-under-way");
        let _ = fs::remove_dir_all(&under_way);
        let mut make = command("debootstrap");
        make.args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE]);
        check(make.arg(&under_way).arg(MIRROR))?;
        fs::rename(&under_way, &path).context("cannot put the clean root in its place")?;
        Ok(Self { path })
    }

    /// Installs what the packages depend on, here and not in the machine: it has no network, and an emulated processor takes
    /// ten times as long for it.
    pub(super) fn satisfy(&self, debs: &[PathBuf]) -> Result<()> {
        const SATISFY: &str = r#"apt-get -q update && for deb in /root/wanted/*.deb; do
            apt-get -q -y --no-install-recommends satisfy "$(dpkg-deb --field "$deb" Depends)" || exit 1
        done && apt-get clean && rm -rf /var/lib/apt/lists/*"#;
        let place = self.path.join("root/wanted");
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).context("cannot make a folder in the clean root")?;
        check(command("cp").args(debs).arg(&place))?;
        fs::copy("/etc/resolv.conf", self.path.join("etc/resolv.conf")).context("cannot copy resolv.conf")?;
        let mut satisfy = command("chroot");
        satisfy.arg(&self.path).args(["sh", "-c", SATISFY]);
        let satisfied = check(satisfy.env("DEBIAN_FRONTEND", "noninteractive"));
        fs::remove_dir_all(&place).context("cannot clean the clean root")?;
        satisfied
    }

    pub(super) fn copy(&self, to: &Path) -> Result<Copied> {
        let copied = Copied { path: to.to_owned() };
        let _ = fs::remove_dir_all(to);
        check(command("cp").arg("--archive").arg(&self.path).arg(to))?;
        Ok(copied)
    }

    /// The file in `/boot` whose name begins so.
    pub(super) fn boot_file(&self, beginning: &str) -> Result<PathBuf> {
        let listed = fs::read_dir(self.path.join("boot")).context("cannot list /boot of the clean root")?;
        listed
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
            .map(|entry| entry.path())
            .with_context(|| format!("no {beginning}* in the clean root"))
    }
}

impl Copied {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has the machine run `script` once it is up, with its output on the second serial line, and power off.
    pub(super) fn run_at_start(&self, script: &str) -> Result<()> {
        let unit = "[Unit]\nAfter=multi-user.target\n\n[Service]\nType=oneshot\nExecStart=/root/check.sh\nExecStopPost=/sbin/poweroff\n\
                    Environment=HOME=/root\nWorkingDirectory=/root\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/ttyS1\n\
                    TimeoutStartSec=infinity\n";
        let write = |to: &str, text: &str| {
            let to = self.path.join(to);
            fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))
        };
        write("root/check.sh", script)?;
        fs::set_permissions(self.path.join("root/check.sh"), PermissionsExt::from_mode(0o755))?;
        write("etc/systemd/system/dist-check.service", unit)?;
        let wants = self.path.join("etc/systemd/system/graphical.target.wants");
        fs::create_dir_all(&wants).context("cannot make a folder for units")?;
        symlink("../dist-check.service", wants.join("dist-check.service")).context("cannot enable the check")
    }

    /// The disk with all of it.
    pub(super) fn image(self, to: &Path) -> Result<PathBuf> {
        let _ = fs::remove_file(to);
        check(command("truncate").args(["--size", DISK]).arg(to))?;
        check(
            command("mke2fs")
                .args(["-q", "-F", "-t", "ext4", "-d"])
                .arg(&self.path)
                .arg(to),
        )?;
        Ok(to.to_owned())
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            console::warn(&format!("cannot remove {}: {error}", self.path.display()));
        }
    }
}
