//! A gate before a server: a client of ours behind it comes to one export, and can neither see nor ask for any other.
//!
//! It reads along while options are haggled about, one at a time, and steps aside when the transmission begins. Where the export wants
//! TLS it speaks that with the server, so the client need not (the way to the gate is encrypted already).

use std::io;

use nbd_export::handshake::{self, HandshakeError};
use nbd_export::tls::{ClientTls, CredentialsError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::uri::{NbdEndpoint, NbdUri};
use super::wire::{
    FLAG_FIXED_NEWSTYLE, LONGEST_OPTION_REPLY, MAGIC, OPT_GO, OPT_SET_META_CONTEXT, OPT_STRUCTURED_REPLY,
    OPTION_MAGIC, OPTION_REPLY_MAGIC, REP_ACK, REP_ERR_POLICY, REP_ERR_UNSUP, REP_ERROR,
};

const OPT_EXPORT_NAME: u32 = 1;
const OPT_ABORT: u32 = 2;
const OPT_LIST: u32 = 3;
const OPT_STARTTLS: u32 = 5;
const OPT_INFO: u32 = 6;
const OPT_LIST_META_CONTEXT: u32 = 9;
const OPT_EXTENDED_HEADERS: u32 = 11;
/// A name and a few queries of the protocol's longest strings.
const LONGEST_OPTION: u32 = 64 << 10;
/// Nobody needs more options than that to come to an export.
const MOST_OPTIONS: usize = 64;

/// A server on the other side of the gate, whose greeting was read.
pub type Server = Box<dyn handshake::Stream>;

/// Why nobody passed the gate.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A line broke, or the client went away.
    #[error("the connection ended before a transmission began")]
    Io(#[from] io::Error),
    /// The server does not encrypt as it should.
    #[error("cannot encrypt the way to the export")]
    Tls(#[from] HandshakeError),
    /// What is needed for that is not there.
    #[error("cannot encrypt the way to the export")]
    Credentials(#[from] CredentialsError),
    /// Something that is not NBD.
    #[error("the {0} does not speak NBD as it should")]
    Nonsense(&'static str),
    /// The client asked for another export, by a way that has no answer.
    #[error("asked for export {name:?}, may have {allowed:?}")]
    OtherExport {
        /// What it asked for.
        name: String,
        /// What it may have.
        allowed: String,
    },
    /// The client said that it wants nothing more.
    #[error("the client ended the negotiation")]
    Ended,
}

/// How the export is reached by the gate.
#[derive(Debug, Clone)]
pub struct Gate {
    export: String,
    tls: Option<(std::path::PathBuf, String)>,
}

/// What becomes of an option.
enum Verdict {
    /// It goes on to the server; what it says decides.
    Pass,
    /// It is answered by the gate.
    Refuse(u32, String),
}

impl Gate {
    /// The gate before one export.
    #[must_use]
    pub fn before(export: &NbdUri) -> Self {
        let tls = export.tls.as_ref().and_then(|tls| {
            let host = match &export.endpoint {
                NbdEndpoint::Tcp { host, .. } => host.as_str(),
                NbdEndpoint::Unix { .. } => "localhost",
            };
            let name = tls.hostname.clone().unwrap_or_else(|| host.to_owned());
            Some((tls.certificates.clone()?, name))
        });
        Self {
            export: export.export.clone(),
            tls,
        }
    }

    /// Leads a client through to the export. When this returns, what both say is the transmission.
    ///
    /// # Errors
    /// Why it did not come to that.
    pub async fn pass<C, S>(&self, client: &mut C, mut server: S) -> Result<Server, GateError>
    where
        C: AsyncRead + AsyncWrite + Unpin + Send,
        S: handshake::Stream + 'static,
    {
        let mut greeting = [0; 18];
        server.read_exact(&mut greeting).await?;
        let (magics, flags) = greeting.split_at(16);
        let expected = [MAGIC.to_be_bytes(), OPTION_MAGIC.to_be_bytes()].concat();
        if magics != expected || u16::from_be_bytes([flags[0], flags[1]]) & FLAG_FIXED_NEWSTYLE == 0 {
            return Err(GateError::Nonsense("server"));
        }
        client.write_all(&greeting).await?;
        client.flush().await?;
        let mut flags = [0; 4];
        client.read_exact(&mut flags).await?;
        server.write_all(&flags).await?;
        let mut server: Server = match &self.tls {
            None => Box::new(server),
            Some((folder, name)) => handshake::encrypt(server, &ClientTls::new(folder, name)?).await?,
        };
        for _ in 0..MOST_OPTIONS {
            if self.option(client, &mut server).await? {
                return Ok(server);
            }
        }
        Err(GateError::Nonsense("client"))
    }

    /// One option and its answer. Whether the transmission begins.
    async fn option<C>(&self, client: &mut C, server: &mut Server) -> Result<bool, GateError>
    where
        C: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut head = [0; 16];
        client.read_exact(&mut head).await?;
        let (magic, option, length) = (long(&head[..8]), word(&head[8..12]), word(&head[12..]));
        if magic != OPTION_MAGIC || length > LONGEST_OPTION {
            return Err(GateError::Nonsense("client"));
        }
        let payload = exactly(client, length).await?;
        match self.judge(option, &payload)? {
            Verdict::Refuse(code, why) => {
                tracing::warn!(option, why, "refused to a client behind a gate");
                client.write_all(&reply(option, code, why.as_bytes())).await?;
                client.flush().await?;
                return Ok(false);
            }
            Verdict::Pass => {
                server.write_all(&[&head[..], &payload].concat()).await?;
                server.flush().await?;
            }
        }
        if option == OPT_EXPORT_NAME {
            return Ok(true);
        }
        let accepted = answers(client, server).await?;
        match option {
            OPT_ABORT => Err(GateError::Ended),
            _ => Ok(accepted && option == OPT_GO),
        }
    }

    fn judge(&self, option: u32, payload: &[u8]) -> Result<Verdict, GateError> {
        let named = match option {
            OPT_EXPORT_NAME => Some(payload),
            OPT_INFO | OPT_GO | OPT_LIST_META_CONTEXT | OPT_SET_META_CONTEXT => {
                let (length, rest) = payload
                    .split_first_chunk::<4>()
                    .ok_or(GateError::Nonsense("client"))?;
                let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
                Some(rest.get(..length).ok_or(GateError::Nonsense("client"))?)
            }
            OPT_ABORT | OPT_STRUCTURED_REPLY | OPT_EXTENDED_HEADERS => None,
            OPT_LIST | OPT_STARTTLS => {
                let why = "this way leads to one export, and is encrypted already".to_owned();
                return Ok(Verdict::Refuse(REP_ERR_POLICY, why));
            }
            _ => return Ok(Verdict::Refuse(REP_ERR_UNSUP, "unknown option".to_owned())),
        };
        match named {
            Some(name) if name != self.export.as_bytes() => {
                let name: String = String::from_utf8_lossy(name).chars().take(250).collect();
                let other = GateError::OtherExport {
                    name,
                    allowed: self.export.clone(),
                };
                match option {
                    OPT_EXPORT_NAME => Err(other),
                    _ => Ok(Verdict::Refuse(REP_ERR_POLICY, other.to_string())),
                }
            }
            _ => Ok(Verdict::Pass),
        }
    }
}

/// Hands on the server's answers to one option. Whether it was accepted.
async fn answers<C>(client: &mut C, server: &mut Server) -> Result<bool, GateError>
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
{
    loop {
        let mut head = [0; 20];
        server.read_exact(&mut head).await?;
        let (magic, kind, length) = (long(&head[..8]), word(&head[12..16]), word(&head[16..]));
        if magic != OPTION_REPLY_MAGIC || length > LONGEST_OPTION_REPLY {
            return Err(GateError::Nonsense("server"));
        }
        let payload = exactly(server, length).await?;
        client.write_all(&[&head[..], &payload].concat()).await?;
        client.flush().await?;
        if kind == REP_ACK || kind & REP_ERROR != 0 {
            return Ok(kind == REP_ACK);
        }
    }
}

async fn exactly(stream: &mut (impl AsyncRead + Unpin), length: u32) -> io::Result<Vec<u8>> {
    let mut payload = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut payload).await?;
    match u32::try_from(payload.len()) == Ok(length) {
        true => Ok(payload),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn reply(option: u32, code: u32, text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a refusal names at most 250 characters");
    [
        &OPTION_REPLY_MAGIC.to_be_bytes()[..],
        &option.to_be_bytes(),
        &code.to_be_bytes(),
        &length.to_be_bytes(),
        text,
    ]
    .concat()
}

fn long(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("the caller cut eight bytes"))
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("the caller cut four bytes"))
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
