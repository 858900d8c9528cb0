//! The two block-device calls that have no safe wrapper: size and zero-out.
#![allow(unsafe_code)] // ioctl(2); each call states why it is sound.

use std::os::fd::BorrowedFd;

use rustix::io;
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

const BLKGETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);
const BLKZEROOUT: Opcode = opcode::none(0x12, 127);

/// Size of a block device in bytes.
pub(super) fn device_size(device: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: BLKGETSIZE64 stores one u64 through its pointer, and `Getter` provides exactly one.
    unsafe { ioctl(device, Getter::<BLKGETSIZE64, u64>::new()) }
}

/// Makes a range of a block device read as zeroes; the kernel writes zeroes where the device has no command for it.
/// Both numbers must be multiples of the logical block size.
pub(super) fn zero_out(device: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<()> {
    // SAFETY: BLKZEROOUT reads two u64 (start, length) through its pointer, and `Setter` holds them during the call.
    unsafe { ioctl(device, Setter::<BLKZEROOUT, [u64; 2]>::new([offset, length])) }
}
