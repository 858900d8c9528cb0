//! The protocol's numbers and fixed layouts (source: the NBD protocol document, `doc/proto.md`). No I/O.

pub(super) const MAGIC: u64 = 0x4e42_444d_4147_4943; // "NBDMAGIC"
pub(super) const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054; // "IHAVEOPT"
pub(super) const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
pub(super) const REQUEST_MAGIC: u32 = 0x2560_9513;
pub(super) const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
pub(super) const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

pub(super) const FLAG_FIXED_NEWSTYLE: u16 = 1 << 0;
pub(super) const FLAG_NO_ZEROES: u16 = 1 << 1;

pub(super) const OPT_STARTTLS: u32 = 5;
pub(super) const OPT_GO: u32 = 7;
pub(super) const OPT_STRUCTURED_REPLY: u32 = 8;
pub(super) const OPT_SET_META_CONTEXT: u32 = 10;

pub(super) const REP_ACK: u32 = 1;
pub(super) const REP_INFO: u32 = 3;
pub(super) const REP_META_CONTEXT: u32 = 4;
pub(super) const REP_ERROR: u32 = 1 << 31;
pub(super) const REP_ERR_UNSUP: u32 = REP_ERROR | 1;
pub(super) const REP_ERR_POLICY: u32 = REP_ERROR | 2;
pub(super) const REP_ERR_INVALID: u32 = REP_ERROR | 3;
pub(super) const REP_ERR_PLATFORM: u32 = REP_ERROR | 4;
pub(super) const REP_ERR_TLS_REQD: u32 = REP_ERROR | 5;
pub(super) const REP_ERR_UNKNOWN: u32 = REP_ERROR | 6;
pub(super) const REP_ERR_SHUTDOWN: u32 = REP_ERROR | 7;
pub(super) const REP_ERR_BLOCK_SIZE_REQD: u32 = REP_ERROR | 8;
pub(super) const REP_ERR_TOO_BIG: u32 = REP_ERROR | 9;

pub(super) const INFO_EXPORT: u16 = 0;
pub(super) const INFO_BLOCK_SIZE: u16 = 3;

pub(super) const BASE_ALLOCATION: &str = "base:allocation";
pub(super) const STATE_ZERO: u32 = 1 << 1;
/// Contexts of qemu's bitmaps begin so (source: qemu, `docs/interop/nbd.txt`).
pub(super) const DIRTY_BITMAP: &str = "qemu:dirty-bitmap:";
pub(super) const STATE_DIRTY: u32 = 1 << 0;

pub(super) const CHUNK_DONE: u16 = 1 << 0;
pub(super) const CHUNK_NONE: u16 = 0;
pub(super) const CHUNK_OFFSET_DATA: u16 = 1;
pub(super) const CHUNK_OFFSET_HOLE: u16 = 2;
pub(super) const CHUNK_BLOCK_STATUS: u16 = 5;
pub(super) const CHUNK_ERROR_BIT: u16 = 1 << 15;
pub(super) const CHUNK_ERROR: u16 = CHUNK_ERROR_BIT | 1;
pub(super) const CHUNK_ERROR_OFFSET: u16 = CHUNK_ERROR_BIT | 2;

pub(super) const COMMAND_FLAG_FUA: u16 = 1 << 0;

/// Longest payload of an option reply that we take.
pub(super) const LONGEST_OPTION_REPLY: u32 = 64 << 10;
/// Longest error chunk that we take: numbers and a string of the protocol's limit.
pub(super) const LONGEST_ERROR_CHUNK: u32 = 4096 + 14;
/// Longest block status chunk that we take: a million extents.
pub(super) const LONGEST_STATUS_CHUNK: u32 = 4 + (8 << 20);
/// Largest payload of a request, whatever the server offers.
pub(super) const LARGEST_PAYLOAD: u32 = 32 << 20;

/// What an export can do (transmission flags).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities(pub(super) u16);

impl Abilities {
    pub(super) fn has_flags(self) -> bool {
        self.0 & (1 << 0) != 0
    }
    pub(super) fn read_only(self) -> bool {
        self.0 & (1 << 1) != 0
    }
    pub(super) fn flush(self) -> bool {
        self.0 & (1 << 2) != 0
    }
    pub(super) fn forced_unit_access(self) -> bool {
        self.0 & (1 << 3) != 0
    }
    pub(super) fn write_zeroes(self) -> bool {
        self.0 & (1 << 6) != 0
    }
    pub(super) fn multi_conn(self) -> bool {
        self.0 & (1 << 8) != 0
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Read,
    Write,
    Disconnect,
    Flush,
    WriteZeroes,
    BlockStatus,
}

impl Command {
    fn number(self) -> u16 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Disconnect => 2,
            Self::Flush => 3,
            Self::WriteZeroes => 6,
            Self::BlockStatus => 7,
        }
    }

    /// The verb for an error message.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Disconnect => "disconnect",
            Self::Flush => "flush",
            Self::WriteZeroes => "zero",
            Self::BlockStatus => "map",
        }
    }
}

/// A request's header.
pub(super) fn request(command: Command, flags: u16, cookie: u64, offset: u64, length: u32) -> [u8; 28] {
    let mut header = [0; 28];
    header[0..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
    header[4..6].copy_from_slice(&flags.to_be_bytes());
    header[6..8].copy_from_slice(&command.number().to_be_bytes());
    header[8..16].copy_from_slice(&cookie.to_be_bytes());
    header[16..24].copy_from_slice(&offset.to_be_bytes());
    header[24..28].copy_from_slice(&length.to_be_bytes());
    header
}

/// An option with its payload.
pub(super) fn option(number: u32, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(16 + payload.len());
    message.extend_from_slice(&OPTION_MAGIC.to_be_bytes());
    message.extend_from_slice(&number.to_be_bytes());
    message.extend_from_slice(&length_of(payload).to_be_bytes());
    message.extend_from_slice(payload);
    message
}

/// Appends a string the protocol's way: its length, then its bytes.
pub(super) fn push_string(message: &mut Vec<u8>, text: &str) {
    message.extend_from_slice(&length_of(text.as_bytes()).to_be_bytes());
    message.extend_from_slice(text.as_bytes());
}

fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("what we send in a handshake is bounded by the longest export name")
}

/// The local error that a server's error number stands for.
pub(super) fn error_of(number: u32) -> std::io::Error {
    // The protocol's numbers are Linux's; anything else is to be read as EINVAL.
    let number = match number {
        1 | 5 | 12 | 22 | 28 | 75 | 95 | 108 => i32::try_from(number).unwrap_or(libc::EINVAL),
        _ => libc::EINVAL,
    };
    std::io::Error::from_raw_os_error(number)
}

/// The protocol's name for an option error.
pub(super) fn option_error_name(code: u32) -> String {
    let name = match code {
        REP_ERR_UNSUP => "unsupported",
        REP_ERR_POLICY => "forbidden by policy",
        REP_ERR_INVALID => "invalid",
        REP_ERR_PLATFORM => "not on this platform",
        REP_ERR_SHUTDOWN => "shutting down",
        REP_ERR_BLOCK_SIZE_REQD => "block size required",
        REP_ERR_TOO_BIG => "too big",
        _ => return format!("error {code:#x}"),
    };
    name.to_owned()
}
