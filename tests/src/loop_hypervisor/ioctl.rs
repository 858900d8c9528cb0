//! The ioctls of the loop driver that a hypervisor over loop devices needs, each as one safe function.
#![allow(
    unsafe_code,
    reason = "the loop driver speaks ioctl with pointers; every such call of the tests is in this file"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

const LOOP_CLR_FD: libc::Ioctl = 0x4C01;
const LOOP_GET_STATUS64: libc::Ioctl = 0x4C05;
const LOOP_SET_CAPACITY: libc::Ioctl = 0x4C07;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
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
    const EMPTY: Self = Self {
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

/// A name that fits, with the zero after it.
fn file_name(name: &str) -> [u8; 64] {
    let mut field = [0; 64];
    let kept = name.len().min(field.len() - 1);
    field[..kept].copy_from_slice(&name.as_bytes()[..kept]);
    field
}

/// The number of a loop device that was free a moment ago; the kernel adds one where there is none.
pub(super) fn first_free(control: &File) -> io::Result<u32> {
    // SAFETY: LOOP_CTL_GET_FREE takes no argument and touches no memory of ours.
    let answer = checked(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
    u32::try_from(answer).map_err(io::Error::other)
}

/// Binds `backing` to a loop device under this name. `EBUSY` where somebody else was faster.
pub(super) fn configure(device: &File, backing: &File, name: &str) -> io::Result<()> {
    let config = LoopConfig {
        fd: u32::try_from(backing.as_raw_fd()).map_err(io::Error::other)?,
        block_size: SECTOR,
        info: LoopInfo64 {
            file_name: file_name(name),
            ..LoopInfo64::EMPTY
        },
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads one `struct loop_config`, whose layout `LoopConfig` has, from the pointer; `config`
    // lives until the call returns, and `backing` keeps the descriptor number in it open meanwhile.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) }).map(drop)
}

/// Whether the device is bound, under this name, to the inode.
pub(super) fn is_bound(device: &File, name: &str, inode: u64) -> io::Result<bool> {
    let mut info = LoopInfo64::EMPTY;
    // SAFETY: LOOP_GET_STATUS64 writes one `struct loop_info64`, whose layout `LoopInfo64` has, to the pointer; `info`
    // is alive and exclusively borrowed for the call.
    match checked(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) }) {
        Ok(_) => Ok(info.inode == inode && info.file_name == file_name(name)),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Unbinds the device now or, while anybody holds it open, when its last opener closes it.
pub(super) fn clear(device: &File) -> io::Result<()> {
    // SAFETY: LOOP_CLR_FD takes no argument and touches no memory of ours.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD) }).map(drop)
}

/// Makes the device as large as its file is now.
pub(super) fn take_capacity(device: &File) -> io::Result<()> {
    // SAFETY: LOOP_SET_CAPACITY takes no argument and touches no memory of ours.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_CAPACITY) }).map(drop)
}

fn checked(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}
