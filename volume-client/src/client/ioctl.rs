//! The questions that the kernel answers about an opened block device; the only unsafe code of this crate.
#![allow(
    unsafe_code,
    reason = "ioctl is a protocol with the kernel that the compiler cannot check"
)]

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl, opcode};

/// `BLKGETSIZE64` of `linux/fs.h`: declared with `size_t`, answered with a `u64`.
const BLKGETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);
/// `BLKGETDISKSEQ` of `linux/fs.h`, since Linux 5.15.
const BLKGETDISKSEQ: Opcode = opcode::read::<u64>(0x12, 128);
/// `LOOP_GET_STATUS64` of `linux/loop.h`, numbered before numbers had a form.
const LOOP_GET_STATUS64: Opcode = 0x4C05;

/// `struct loop_info64` of `linux/loop.h`: 232 bytes, of which three fields matter here.
#[repr(C)]
struct LoopInfo64 {
    lo_device: u64,
    lo_inode: u64,
    between: [u64; 5],
    lo_file_name: [u8; 64],
    rest: [u64; 14],
}

/// What is behind a loop device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoopBacking {
    /// The device number of the backing file's file system, as the kernel writes it there.
    pub(super) device: u64,
    /// Its inode.
    pub(super) inode: u64,
    /// The name that whoever set the device up gave it; ends at the first zero byte.
    pub(super) name: [u8; 64],
}

/// The size of a block device in bytes.
pub(super) fn size_bytes(device: impl AsFd) -> io::Result<u64> {
    // SAFETY: BLKGETSIZE64 writes one u64 through its argument and reads nothing; any other kind of file answers
    // ENOTTY without touching it.
    let size = unsafe { ioctl(device, Getter::<BLKGETSIZE64, u64>::new()) }?;
    Ok(size)
}

/// Which disk since boot a block device is.
pub(super) fn diskseq(device: impl AsFd) -> io::Result<u64> {
    // SAFETY: BLKGETDISKSEQ writes one u64 through its argument and reads nothing; older kernels answer ENOTTY.
    let diskseq = unsafe { ioctl(device, Getter::<BLKGETDISKSEQ, u64>::new()) }?;
    Ok(diskseq)
}

/// What is behind a loop device; any other block device answers with an error.
pub(super) fn loop_backing(device: impl AsFd) -> io::Result<LoopBacking> {
    // SAFETY: on loop devices LOOP_GET_STATUS64 writes one `loop_info64` through its argument, which `LoopInfo64`
    // matches in size and alignment (checked below). The caller asks only devices of the loop driver's major.
    let info = unsafe { ioctl(device, Getter::<LOOP_GET_STATUS64, LoopInfo64>::new()) }?;
    Ok(LoopBacking {
        device: info.lo_device,
        inode: info.lo_inode,
        name: info.lo_file_name,
    })
}

const _: () = assert!(size_of::<LoopInfo64>() == 232 && align_of::<LoopInfo64>() == 8);
