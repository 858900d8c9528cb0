//! What makes a disk that disk: its identity, the incarnation of it that is plugged in, and its device number.

use std::fmt;
use std::str::FromStr;

/// The identity of a disk as the kernel itself reports it; never a name, an order or a size.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// The serial that the hypervisor gave the disk (virtio-blk, SCSI VPD page 0x80), compared byte for byte.
    Serial(String),
    /// The file behind a loop device: the device number of its file system and its inode there.
    LoopBacking {
        /// `st_dev` of the backing file, as the loop driver reports it.
        device: u64,
        /// `st_ino` of the backing file.
        inode: u64,
    },
    /// A disk that carries no identity, told by the one plug-in of it that followed our attach. It ends with that plug-in,
    /// and with the boot: what comes after must be attached anew.
    Appeared(Incarnation),
}

impl Identity {
    /// Whether it ends with the plug-in: nothing of it may be kept once the disk is detached.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Identity::Appeared(_))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Serial(serial) => write!(f, "serial:{serial}"),
            Identity::LoopBacking { device, inode } => write!(f, "loop:{device}:{inode}"),
            Identity::Appeared(plug_in) => write!(f, "appeared:{}:{}", plug_in.boot_id, plug_in.diskseq),
        }
    }
}

/// A text that is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no device identity (expected `serial:…`, `loop:DEVICE:INODE` or `appeared:BOOT:DISKSEQ`)")]
pub struct IdentityParseError(String);

impl FromStr for Identity {
    type Err = IdentityParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || IdentityParseError(text.to_owned());
        if let Some(serial) = text.strip_prefix("serial:") {
            return if serial.is_empty() {
                Err(bad())
            } else {
                Ok(Identity::Serial(serial.to_owned()))
            };
        }
        if let Some(plug_in) = text.strip_prefix("appeared:") {
            return plug_in.parse().map(Identity::Appeared).map_err(|_| bad());
        }
        let (device, inode) = text
            .strip_prefix("loop:")
            .and_then(|rest| rest.split_once(':'))
            .ok_or_else(bad)?;
        let (device, inode) = (
            device.parse().map_err(|_| bad())?,
            inode.parse().map_err(|_| bad())?,
        );
        Ok(Identity::LoopBacking { device, inode })
    }
}

/// One plug-in incarnation of one disk. `diskseq` alone repeats after every boot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The kernel's `diskseq`, growing by one with every disk that appears (Linux 5.15).
    pub diskseq: u64,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.boot_id, self.diskseq)
    }
}

impl FromStr for Incarnation {
    type Err = IdentityParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || IdentityParseError(text.to_owned());
        let (boot_id, diskseq) = text.rsplit_once(':').ok_or_else(bad)?;
        if boot_id.is_empty() {
            return Err(bad());
        }
        Ok(Incarnation {
            boot_id: boot_id.to_owned(),
            diskseq: diskseq.parse().map_err(|_| bad())?,
        })
    }
}

/// A `diskseq` for people.
#[must_use]
pub fn diskseq_text(diskseq: Option<u64>) -> String {
    diskseq.map_or_else(|| "unnumbered".to_owned(), |diskseq| format!("diskseq {diskseq}"))
}

/// A kernel device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DevNum {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl fmt::Display for DevNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_survive_a_round_trip() {
        for id in [
            Identity::Serial("5b8d4f2e1c3a4d2b9f00".into()),
            Identity::LoopBacking {
                device: 2049,
                inode: 7,
            },
            Identity::Appeared(Incarnation {
                boot_id: "6f3c0b1e-1d5c-4f6e-9d5a-1f2e3d4c5b6a".into(),
                diskseq: 9,
            }),
        ] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for text in [
            "",
            "serial:",
            "loop:1",
            "loop:a:b",
            "appeared::3",
            "appeared:boot",
            "vda",
            "/dev/vda",
        ] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }
}
