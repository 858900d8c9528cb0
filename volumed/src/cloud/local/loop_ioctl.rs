//! The ioctls of the loop driver that the standard crates do not wrap, each as one safe function.
#![allow(
    unsafe_code,
    reason = "the loop driver speaks ioctl with pointers; every such call of the provider is in this file"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

const LOOP_CLR_FD: libc::Ioctl = 0x4C01;
const LOOP_GET_STATUS64: libc::Ioctl = 0x4C05;
const LOOP_SET_CAPACITY: libc::Ioctl = 0x4C07;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LOOP_CTL_ADD: libc::Ioctl = 0x4C80;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;

const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
const SECTOR: u32 = 512;

/// `struct loop_info64` of `linux/loop.h`.
#[repr(C)]
#[derive(Clone, Copy)]
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

/// `struct loop_config` of `linux/loop.h`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopInfo64>() == 232);
const _: () = assert!(size_of::<LoopConfig>() == 304);

impl LoopInfo64 {
    const EMPTY: LoopInfo64 = LoopInfo64 {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

/// What the kernel says of a bound loop device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    /// N of `/dev/loopN`.
    pub(super) number: u32,
    /// Device number of the backing file's file system, encoded as in `st_dev`.
    pub(super) device: u64,
    /// Inode of the backing file.
    pub(super) inode: u64,
    /// Whether it is unbound as soon as its last opener closes it.
    pub(super) autoclear: bool,
}

/// What is behind the loop device; `None` where nothing is bound to it (any more).
pub(super) fn status(device: BorrowedFd<'_>) -> io::Result<Option<Status>> {
    let mut info = LoopInfo64::EMPTY;
    // SAFETY: LOOP_GET_STATUS64 writes one `struct loop_info64`, whose layout `LoopInfo64` has, to the pointer; `info`
    // is alive and exclusively borrowed for the call. On a descriptor of another driver the kernel answers ENOTTY.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) };
    match checked(answer) {
        Ok(_) => Ok(Some(Status {
            number: info.number,
            device: info.device,
            inode: info.inode,
            autoclear: info.flags & LO_FLAGS_AUTOCLEAR != 0,
        })),
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Binds `backing` to the loop device with direct I/O where its file system can, without autoclear, in 512-byte sectors.
///
/// `EBUSY` where somebody bound or claimed the device first. `label` is shown to people only, cut at 63 bytes.
pub(super) fn configure(device: BorrowedFd<'_>, backing: BorrowedFd<'_>, label: &str) -> io::Result<()> {
    let mut info = LoopInfo64 {
        flags: LO_FLAGS_DIRECT_IO,
        ..LoopInfo64::EMPTY
    };
    let shown = label.len().min(info.file_name.len() - 1);
    info.file_name[..shown].copy_from_slice(&label.as_bytes()[..shown]);
    let config = LoopConfig {
        fd: backing
            .as_raw_fd()
            .try_into()
            .expect("an open descriptor is never negative"),
        block_size: SECTOR,
        info,
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads one `struct loop_config`, whose layout `LoopConfig` has, from the pointer; `config`
    // lives until the call returns, and `backing` keeps the descriptor number in it open meanwhile.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    checked(answer).map(drop)
}

/// Unbinds the loop device now or, while anybody holds it open, when the last opener closes it. `ENXIO` where unbound.
pub(super) fn clear(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: LOOP_CLR_FD takes no argument and touches no memory of ours.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD) }).map(drop)
}

/// Makes the loop device as large as its backing file is now.
pub(super) fn take_capacity(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: LOOP_SET_CAPACITY takes no argument and touches no memory of ours.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_CAPACITY) }).map(drop)
}

/// The number of a loop device that was unbound a moment ago; the kernel adds one where there is none.
pub(super) fn first_free(control: impl AsFd) -> io::Result<u32> {
    // SAFETY: LOOP_CTL_GET_FREE takes no argument and touches no memory of ours.
    number(unsafe { libc::ioctl(control.as_fd().as_raw_fd(), LOOP_CTL_GET_FREE) })
}

/// Adds a loop device and returns its number.
pub(super) fn add(control: impl AsFd) -> io::Result<u32> {
    let any: libc::c_long = -1;
    // SAFETY: LOOP_CTL_ADD takes a number by value, negative for "any", and touches no memory of ours.
    number(unsafe { libc::ioctl(control.as_fd().as_raw_fd(), LOOP_CTL_ADD, any) })
}

fn number(answer: libc::c_int) -> io::Result<u32> {
    checked(answer).map(|n| u32::try_from(n).expect("checked: not negative"))
}

fn checked(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}
