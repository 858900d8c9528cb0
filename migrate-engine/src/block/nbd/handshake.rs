//! The negotiation: fixed newstyle, structured replies, one metadata context, and `GO`.

use std::io::{Read, Write};
use std::time::Duration;

use super::error::{NbdError, printable};
use super::wire::{self, Abilities};

/// Replies to one option that we are ready to hear before its end.
const MOST_REPLIES: usize = 64;
const LARGEST_MINIMUM_BLOCK: u32 = 64 << 10;

/// What both sides agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// Size of the export in bytes.
    pub(super) size: u64,
    pub(super) abilities: Abilities,
    /// Requests have to be aligned to this.
    pub(super) minimum_block: u32,
    /// Most bytes of data in one request.
    pub(super) largest_payload: u32,
    /// Whether the server told these sizes; they are the protocol's own otherwise.
    pub(super) tells_sizes: bool,
    pub(super) structured_replies: bool,
    /// The server's number for the metadata context that was asked for, where it has it.
    pub(super) status_context: Option<u32>,
    pub(super) status: StatusKind,
}

/// What the block status of a connection tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusKind {
    /// What is zero: `base:allocation`.
    Allocation,
    /// What is dirty: a bitmap of qemu.
    Dirty,
}

/// The metadata context that a connection asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct StatusOf<'a> {
    pub(super) context: &'a str,
    pub(super) kind: StatusKind,
}

impl StatusOf<'_> {
    pub(super) const ALLOCATION: StatusOf<'static> = StatusOf {
        context: wire::BASE_ALLOCATION,
        kind: StatusKind::Allocation,
    };
}

struct OptionReply {
    kind: u32,
    payload: Vec<u8>,
}

struct Handshake<'a, S> {
    stream: &'a mut S,
    patience: Duration,
    export: &'a str,
}

/// Takes the greeting of a fresh connection, and asks for TLS where it is to be encrypted: what follows goes through that.
pub(super) fn greet<S: Read + Write>(
    stream: &mut S,
    export: &str,
    is_encrypted: bool,
    patience: Duration,
) -> Result<(), NbdError> {
    let mut handshake = Handshake {
        stream,
        patience,
        export,
    };
    handshake.greet()?;
    if is_encrypted {
        handshake.ask_for_tls()?;
    }
    Ok(())
}

/// Negotiates for `export` on a connection that was greeted.
pub(super) fn negotiate<S: Read + Write>(
    stream: &mut S,
    export: &str,
    status: StatusOf<'_>,
    patience: Duration,
) -> Result<Terms, NbdError> {
    let mut handshake = Handshake {
        stream,
        patience,
        export,
    };
    let structured_replies = handshake.offer_structured_replies()?;
    let status_context = if structured_replies {
        handshake.ask_for_status(status.context)?
    } else {
        None
    };
    let mut terms = handshake.go()?;
    terms.structured_replies = structured_replies;
    (terms.status_context, terms.status) = (status_context, status.kind);
    Ok(terms)
}

impl<S: Read + Write> Handshake<'_, S> {
    fn greet(&mut self) -> Result<(), NbdError> {
        if u64::from_be_bytes(self.read()?) != wire::MAGIC {
            return Err(NbdError::protocol("it does not greet as an NBD server"));
        }
        if u64::from_be_bytes(self.read()?) != wire::OPTION_MAGIC {
            return Err(NbdError::Unsupported {
                what: "newstyle negotiation",
            });
        }
        let flags = u16::from_be_bytes(self.read()?);
        if flags & wire::FLAG_FIXED_NEWSTYLE == 0 {
            return Err(NbdError::Unsupported {
                what: "fixed newstyle negotiation",
            });
        }
        let ours = flags & (wire::FLAG_FIXED_NEWSTYLE | wire::FLAG_NO_ZEROES);
        self.write(&u32::from(ours).to_be_bytes())
    }

    /// A server that has no TLS is refused: nobody on the way may talk us out of it.
    fn ask_for_tls(&mut self) -> Result<(), NbdError> {
        self.write(&wire::option(wire::OPT_STARTTLS, &[]))?;
        let reply = self.reply(wire::OPT_STARTTLS)?;
        match reply.kind {
            wire::REP_ACK => Ok(()),
            kind if kind & wire::REP_ERROR != 0 => Err(NbdError::TlsRefused {
                code: wire::option_error_name(kind),
                message: printable(&reply.payload),
            }),
            kind => Err(unexpected(kind)),
        }
    }

    fn offer_structured_replies(&mut self) -> Result<bool, NbdError> {
        self.write(&wire::option(wire::OPT_STRUCTURED_REPLY, &[]))?;
        let reply = self.reply(wire::OPT_STRUCTURED_REPLY)?;
        match reply.kind {
            wire::REP_ACK => Ok(true),
            wire::REP_ERR_TLS_REQD => Err(self.refusal(&reply)),
            kind if kind & wire::REP_ERROR != 0 => Ok(false),
            kind => Err(unexpected(kind)),
        }
    }

    fn ask_for_status(&mut self, wanted: &str) -> Result<Option<u32>, NbdError> {
        let mut payload = Vec::new();
        wire::push_string(&mut payload, self.export);
        payload.extend_from_slice(&1u32.to_be_bytes());
        wire::push_string(&mut payload, wanted);
        self.write(&wire::option(wire::OPT_SET_META_CONTEXT, &payload))?;
        let mut context = None;
        for _ in 0..MOST_REPLIES {
            let reply = self.reply(wire::OPT_SET_META_CONTEXT)?;
            match reply.kind {
                wire::REP_ACK => return Ok(context),
                wire::REP_META_CONTEXT => match reply.payload.split_first_chunk::<4>() {
                    Some((id, name)) if name == wanted.as_bytes() => {
                        context = Some(u32::from_be_bytes(*id));
                    }
                    _ => {
                        return Err(NbdError::protocol(
                            "it selected a metadata context nobody asked for",
                        ));
                    }
                },
                // An unknown export is said again, and better, by GO.
                kind if kind & wire::REP_ERROR != 0 => return Ok(None),
                kind => return Err(unexpected(kind)),
            }
        }
        Err(NbdError::protocol("its list of metadata contexts has no end"))
    }

    fn go(&mut self) -> Result<Terms, NbdError> {
        let mut payload = Vec::new();
        wire::push_string(&mut payload, self.export);
        payload.extend_from_slice(&1u16.to_be_bytes());
        payload.extend_from_slice(&wire::INFO_BLOCK_SIZE.to_be_bytes());
        self.write(&wire::option(wire::OPT_GO, &payload))?;
        let mut export = None;
        let mut blocks = None;
        for _ in 0..MOST_REPLIES {
            let reply = self.reply(wire::OPT_GO)?;
            match reply.kind {
                wire::REP_ACK => return terms(export, blocks),
                wire::REP_INFO => match information(&reply.payload)? {
                    Information::Export { size, abilities } => export = Some((size, abilities)),
                    Information::BlockSize { minimum, largest } => blocks = Some((minimum, largest)),
                    Information::Other => {}
                },
                kind if kind & wire::REP_ERROR != 0 => return Err(self.refusal(&reply)),
                kind => return Err(unexpected(kind)),
            }
        }
        Err(NbdError::protocol("its list of export information has no end"))
    }

    fn refusal(&self, reply: &OptionReply) -> NbdError {
        let export = self.export.to_owned();
        match reply.kind {
            wire::REP_ERR_TLS_REQD => NbdError::TlsRequired { export },
            wire::REP_ERR_UNKNOWN => NbdError::UnknownExport { export },
            wire::REP_ERR_UNSUP => NbdError::Unsupported {
                what: "the GO option",
            },
            code => NbdError::Refused {
                export,
                code: wire::option_error_name(code),
                message: printable(&reply.payload),
            },
        }
    }

    fn reply(&mut self, option: u32) -> Result<OptionReply, NbdError> {
        let magic = u64::from_be_bytes(self.read()?);
        let answered = u32::from_be_bytes(self.read()?);
        let kind = u32::from_be_bytes(self.read()?);
        let length = u32::from_be_bytes(self.read()?);
        if magic != wire::OPTION_REPLY_MAGIC || answered != option {
            return Err(NbdError::protocol(
                "an option reply that answers no option of ours",
            ));
        }
        if length > wire::LONGEST_OPTION_REPLY {
            return Err(NbdError::protocol(format!("an option reply of {length} bytes")));
        }
        let mut payload = vec![0; length as usize];
        self.fill(&mut payload)?;
        Ok(OptionReply { kind, payload })
    }

    fn read<const N: usize>(&mut self) -> Result<[u8; N], NbdError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NbdError> {
        let patience = self.patience;
        self.stream
            .read_exact(bytes)
            .map_err(|error| NbdError::transport("receive from", error, patience))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), NbdError> {
        let patience = self.patience;
        self.stream
            .write_all(bytes)
            .and_then(|()| self.stream.flush())
            .map_err(|error| NbdError::transport("send to", error, patience))
    }
}

enum Information {
    Export { size: u64, abilities: Abilities },
    BlockSize { minimum: u32, largest: u32 },
    Other,
}

fn information(payload: &[u8]) -> Result<Information, NbdError> {
    let short = || NbdError::protocol("export information of the wrong length");
    let (kind, rest) = payload.split_first_chunk::<2>().ok_or_else(short)?;
    match u16::from_be_bytes(*kind) {
        wire::INFO_EXPORT => {
            let rest: &[u8; 10] = rest.try_into().map_err(|_| short())?;
            let (size, flags) = rest.split_first_chunk::<8>().ok_or_else(short)?;
            let flags = u16::from_be_bytes(flags.try_into().map_err(|_| short())?);
            Ok(Information::Export {
                size: u64::from_be_bytes(*size),
                abilities: Abilities(flags),
            })
        }
        wire::INFO_BLOCK_SIZE => {
            let rest: &[u8; 12] = rest.try_into().map_err(|_| short())?;
            let number = |at: usize| u32::from_be_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
            let (minimum, largest) = (number(0), number(8));
            let sane = minimum.is_power_of_two() && minimum <= LARGEST_MINIMUM_BLOCK && largest >= minimum;
            if !sane {
                return Err(NbdError::protocol(format!(
                    "block sizes from {minimum} to {largest}"
                )));
            }
            let largest = largest.min(wire::LARGEST_PAYLOAD);
            Ok(Information::BlockSize {
                minimum,
                largest: largest - largest % minimum,
            })
        }
        _ => Ok(Information::Other),
    }
}

fn terms(export: Option<(u64, Abilities)>, blocks: Option<(u32, u32)>) -> Result<Terms, NbdError> {
    let (size, abilities) = export.ok_or_else(|| NbdError::protocol("it agreed without telling the size"))?;
    if i64::try_from(size).is_err() {
        return Err(NbdError::protocol(format!("an export of {size} bytes")));
    }
    let abilities = if abilities.has_flags() {
        abilities
    } else {
        Abilities(0)
    };
    let (minimum_block, largest_payload) = blocks.unwrap_or((1, wire::LARGEST_PAYLOAD));
    Ok(Terms {
        size,
        abilities,
        minimum_block,
        largest_payload,
        tells_sizes: blocks.is_some(),
        structured_replies: false,
        status_context: None,
        status: StatusKind::Allocation,
    })
}

fn unexpected(kind: u32) -> NbdError {
    NbdError::protocol(format!("an option reply of unknown type {kind:#x}"))
}
