//! The few questions to the kernel that need `unsafe`: ioctls on an open block device and a socket's drop counter.
#![allow(
    unsafe_code,
    reason = "ioctl and getsockopt have no safe wrapper for these requests"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::ioctl::{Getter, Opcode, ioctl, opcode};

use crate::model::Bytes;

const BLKROGET: Opcode = opcode::none(0x12, 94);
const BLKGETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);
const BLKGETDISKSEQ: Opcode = opcode::read::<u64>(0x12, 128);
const LOOP_GET_STATUS64: Opcode = 0x4C05;

/// What the loop driver says about the file behind a loop device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoopStatus {
    /// Device number of the backing file's file system, encoded as `st_dev` is.
    pub(super) device: u64,
    /// Inode of the backing file.
    pub(super) inode: u64,
    /// Where in the file the device begins.
    pub(super) offset: u64,
    /// The name that whoever set the device up gave it; ends at the first zero byte.
    pub(super) name: [u8; 64],
}

/// `struct loop_info64` of `linux/loop.h`.
#[repr(C)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

const _: () = assert!(
    size_of::<LoopInfo64>() == 232,
    "the kernel's loop_info64 has 232 bytes"
);

/// The running number of the disk behind `fd`; `None` where the kernel has none (before Linux 5.15).
pub(super) fn diskseq(fd: impl AsFd) -> io::Result<Option<u64>> {
    // SAFETY: BLKGETDISKSEQ writes one u64 to its argument and nothing else.
    match unsafe { ioctl(fd, Getter::<BLKGETDISKSEQ, u64>::new()) } {
        Ok(seq) => Ok(Some(seq)),
        Err(rustix::io::Errno::NOTTY | rustix::io::Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The size of the disk behind `fd`.
pub(super) fn size(fd: impl AsFd) -> io::Result<Bytes> {
    // SAFETY: BLKGETSIZE64 writes one u64 to its argument (its number is built from size_t for history's sake).
    Ok(Bytes(unsafe { ioctl(fd, Getter::<BLKGETSIZE64, u64>::new()) }?))
}

/// Whether the kernel refuses writes to the disk behind `fd`.
pub(super) fn read_only(fd: impl AsFd) -> io::Result<bool> {
    // SAFETY: BLKROGET writes one int to its argument.
    let flag = unsafe { ioctl(fd, Getter::<BLKROGET, libc::c_int>::new()) }?;
    Ok(flag != 0)
}

/// What is behind the loop device `fd`; `ENXIO` where nothing is.
pub(super) fn loop_status(fd: impl AsFd) -> io::Result<LoopStatus> {
    // SAFETY: LOOP_GET_STATUS64 fills one loop_info64, whose layout and size are asserted above.
    let info = unsafe { ioctl(fd, Getter::<LOOP_GET_STATUS64, LoopInfo64>::new()) }?;
    Ok(LoopStatus {
        device: info.device,
        inode: info.inode,
        offset: info.offset,
        name: info.file_name,
    })
}

/// How many messages the kernel could not put into this socket since it was opened.
pub(super) fn socket_drops(fd: impl AsFd) -> io::Result<u32> {
    const DROPS: usize = 8; // SK_MEMINFO_DROPS in linux/sock_diag.h
    let mut counters = [0u32; DROPS + 1];
    let mut length = libc::socklen_t::try_from(size_of_val(&counters)).expect("36 fits a socklen_t");
    // SAFETY: `counters` is writable for `length` bytes and both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            counters.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(counters[DROPS])
}
