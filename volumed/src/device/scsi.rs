//! Asking a SCSI disk itself for its serial, through an open descriptor.
//!
//! What sysfs shows of a SCSI disk is what the kernel was told when the disk came. A hypervisor takes such a disk away
//! without asking the guest (virtio-scsi; unlike PCI hot-unplug), and may give its address to another one before the guest
//! has noticed: until then the old name, number and `diskseq`, and every open descriptor, lead to the other disk. Only the
//! disk itself can tell.
#![allow(unsafe_code, reason = "SG_IO has no safe wrapper")]

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};

/// `SG_IO` of `scsi/sg.h`.
const SG_IO: Opcode = 0x2285;
const FROM_DEVICE: i32 = -3;
/// A disk that does not answer such a question in this time does not answer.
const TIMEOUT_MS: u32 = 5000;
/// "Unit serial number", SPC-4 7.8.16.
const PAGE: u8 = 0x80;
const LENGTH: u8 = 252;

/// `struct sg_io_hdr` of `scsi/sg.h`.
#[repr(C)]
struct SgIoHdr {
    interface_id: i32,
    direction: i32,
    command_length: u8,
    sense_length: u8,
    iovec_count: u16,
    data_length: u32,
    data: *mut u8,
    command: *const u8,
    sense: *mut u8,
    timeout: u32,
    flags: u32,
    pack_id: i32,
    user: *mut std::ffi::c_void,
    status: u8,
    masked_status: u8,
    message_status: u8,
    sense_written: u8,
    host_status: u16,
    driver_status: u16,
    residual: i32,
    duration: u32,
    info: u32,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<SgIoHdr>() == 88, "the kernel's sg_io_hdr has 88 bytes");

/// The serial that the disk behind `fd` gives now, with its padding; `None` where it has none. `ENXIO` where nothing answers
/// at its address any more. Blocks for as long as the disk needs, five seconds at most.
pub(super) fn serial(fd: impl AsFd) -> io::Result<Option<Vec<u8>>> {
    let command = [0x12, 1, PAGE, 0, LENGTH, 0]; // INQUIRY with EVPD, SPC-4 6.6
    let (mut data, mut sense) = ([0u8; LENGTH as usize], [0u8; 32]);
    let mut header = SgIoHdr {
        interface_id: i32::from(b'S'),
        direction: FROM_DEVICE,
        command_length: 6,
        sense_length: 32,
        iovec_count: 0,
        data_length: u32::from(LENGTH),
        data: data.as_mut_ptr(),
        command: command.as_ptr(),
        sense: sense.as_mut_ptr(),
        timeout: TIMEOUT_MS,
        flags: 0,
        pack_id: 0,
        user: std::ptr::null_mut(),
        status: 0,
        masked_status: 0,
        message_status: 0,
        sense_written: 0,
        host_status: 0,
        driver_status: 0,
        residual: 0,
        duration: 0,
        info: 0,
    };
    // SAFETY: the header's layout is the kernel's (asserted above); its pointers lead to buffers of the lengths that it
    // names, which outlive the call; the kernel writes to them and to the header only.
    unsafe { ioctl(fd, Updater::<SG_IO, SgIoHdr>::new(&mut header)) }?;
    if header.host_status != 0 {
        return Err(Errno::NXIO.into());
    }
    Ok(match header.status {
        0 => page_serial(&data).map(<[u8]>::to_vec),
        // It answers, but does not know the page.
        _ => None,
    })
}

/// The serial in the page, if it is that page.
pub(super) fn page_serial(data: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes([*data.get(2)?, *data.get(3)?]));
    (data[1] == PAGE).then(|| data.get(4..4 + length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serial_is_what_the_page_says_it_is_long() {
        assert_eq!(page_serial(b"\0\x80\0\x03abcdef"), Some(&b"abc"[..]));
        assert_eq!(page_serial(b"\0\x83\0\x03abcdef"), None);
        assert_eq!(page_serial(b"\0\x80\0\x09abc"), None);
        assert_eq!(page_serial(b"\0\x80"), None);
    }

    #[test]
    fn what_is_no_scsi_disk_does_not_answer() {
        let file = tempfile::tempfile().unwrap();
        assert!(serial(&file).is_err());
    }
}
