//! NBD's numbers and frames, as far as a handshake needs them.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{ExportInfo, HandshakeError};
use crate::ExportName;

pub(super) const OPT_ABORT: u32 = 2;
pub(super) const OPT_LIST: u32 = 3;
pub(super) const OPT_STARTTLS: u32 = 5;
pub(super) const OPT_GO: u32 = 7;
pub(super) const REP_ERR_TLS_REQD: u32 = REP_ERROR_BIT | 5;
pub(super) const FLAG_READ_ONLY: u16 = 1 << 1;
pub(super) const MAX_EXPORTS: usize = 65_536;

const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const CMD_DISC: u16 = 2;
const HANDSHAKE_FIXED_NEWSTYLE: u16 = 1;
const HANDSHAKE_NO_ZEROES: u16 = 1 << 1;
const REP_ACK: u32 = 1;
const REP_SERVER: u32 = 2;
const REP_INFO: u32 = 3;
const REP_ERROR_BIT: u32 = 1 << 31;
const INFO_EXPORT: u16 = 0;
/// A list entry: a length, a name of at most 4096 bytes, and a description as long.
const MAX_REPLY: u32 = 4 + 2 * 4096;

/// A byte stream to a server: TCP or Unix, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An answer to an option that is not an error.
pub(super) enum Reply {
    Ack,
    Server(String),
    /// `None`: an information we did not ask for.
    Info(Option<ExportInfo>),
}

pub(super) async fn greet(stream: &mut (impl Stream + ?Sized)) -> Result<(), HandshakeError> {
    let mut magic = [0; 16];
    stream.read_exact(&mut magic).await?;
    if &magic != GREETING {
        return Err(HandshakeError::Protocol("greeting is not NBD newstyle"));
    }
    let flags = stream.read_u16().await?;
    if flags & HANDSHAKE_FIXED_NEWSTYLE == 0 {
        return Err(HandshakeError::Protocol("server is not fixed newstyle"));
    }
    let answer = flags & (HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES);
    stream.write_all(&u32::from(answer).to_be_bytes()).await?;
    Ok(())
}

pub(super) async fn send_option(
    stream: &mut (impl Stream + ?Sized),
    option: u32,
    payload: &[u8],
) -> Result<(), HandshakeError> {
    let length = u32::try_from(payload.len()).map_err(|_| HandshakeError::Protocol("option too long"))?;
    let mut frame = Vec::with_capacity(16 + payload.len());
    frame.extend_from_slice(OPTION_MAGIC);
    frame.extend_from_slice(&option.to_be_bytes());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    Ok(())
}

/// `NBD_OPT_GO`: length and name, then no information requests (`NBD_INFO_EXPORT` always comes).
pub(super) fn go_payload(name: &ExportName) -> Vec<u8> {
    let name = name.as_str().as_bytes();
    let length = u32::try_from(name.len()).expect("an export name has at most 240 bytes");
    [&length.to_be_bytes()[..], name, &[0, 0]].concat()
}

pub(super) fn disconnect_request() -> [u8; 28] {
    let mut request = [0; 28];
    request[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
    request[6..8].copy_from_slice(&CMD_DISC.to_be_bytes());
    request
}

pub(super) async fn read_reply(
    stream: &mut (impl Stream + ?Sized),
    option: u32,
) -> Result<Reply, HandshakeError> {
    if stream.read_u64().await? != REPLY_MAGIC {
        return Err(HandshakeError::Protocol("bad magic in an option reply"));
    }
    if stream.read_u32().await? != option {
        return Err(HandshakeError::Protocol("reply to another option"));
    }
    let kind = stream.read_u32().await?;
    let length = stream.read_u32().await?;
    if length > MAX_REPLY {
        return Err(HandshakeError::Protocol("option reply too long"));
    }
    let mut payload = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut payload).await?;
    if u32::try_from(payload.len()) != Ok(length) {
        return Err(HandshakeError::Protocol("option reply cut off"));
    }
    match kind {
        REP_ACK => Ok(Reply::Ack),
        REP_SERVER => list_entry(&payload).map(Reply::Server),
        REP_INFO => Ok(Reply::Info(export_info(&payload))),
        code if code & REP_ERROR_BIT != 0 => {
            let text = String::from_utf8_lossy(&payload);
            let message = text.chars().filter(|c| !c.is_control()).take(200).collect();
            Err(HandshakeError::Refused { code, message })
        }
        _ => Err(HandshakeError::Protocol("unknown option reply")),
    }
}

fn list_entry(payload: &[u8]) -> Result<String, HandshakeError> {
    let (length, rest) = payload
        .split_first_chunk::<4>()
        .ok_or(HandshakeError::Protocol("list entry without a name"))?;
    let name = usize::try_from(u32::from_be_bytes(*length))
        .ok()
        .and_then(|length| rest.get(..length));
    let name = name.ok_or(HandshakeError::Protocol("list entry shorter than its name"))?;
    Ok(String::from_utf8_lossy(name).into_owned())
}

fn export_info(payload: &[u8]) -> Option<ExportInfo> {
    let (kind, rest) = payload.split_first_chunk::<2>()?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let flags = <[u8; 2]>::try_from(rest).ok()?;
    (u16::from_be_bytes(*kind) == INFO_EXPORT).then(|| ExportInfo {
        size: u64::from_be_bytes(*size),
        flags: u16::from_be_bytes(flags),
    })
}
