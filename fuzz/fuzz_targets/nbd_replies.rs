//! An NBD server that knows the protocol and keeps to it only where it likes: a negotiation that mostly succeeds, then replies of
//! every shape to requests that were made, were not made, or were answered before.
#![no_main]

use arbitrary::Arbitrary;

#[derive(Debug, Arbitrary)]
struct Conversation {
    size: Size,
    abilities: u16,
    blocks: Option<(u8, u8)>,
    structured: bool,
    context: Context,
    replies: Vec<Reply>,
}

#[derive(Debug, Arbitrary)]
enum Size {
    Usual,
    Small(u16),
    Any(u64),
}

#[derive(Debug, Arbitrary)]
enum Context {
    Granted(u8),
    Refused,
    Another,
}

#[derive(Debug, Arbitrary)]
enum Reply {
    Simple {
        cookie: u8,
        error: u8,
        data: Data,
    },
    OffsetData {
        cookie: u8,
        done: bool,
        offset: Place,
        data: Data,
    },
    OffsetHole {
        cookie: u8,
        done: bool,
        offset: Place,
        length: Length,
    },
    Status {
        cookie: u8,
        done: bool,
        context: u8,
        extents: Vec<(Length, u8)>,
    },
    Error {
        cookie: u8,
        done: bool,
        with_place: bool,
        code: u8,
        text: Vec<u8>,
    },
    Nothing {
        cookie: u8,
        done: bool,
    },
    Chunk {
        cookie: u8,
        flags: u16,
        kind: u16,
        told_length: Option<u32>,
        payload: Vec<u8>,
    },
    Bytes(Vec<u8>),
}

/// Where something is: mostly inside of what the client asks for.
#[derive(Debug, Arbitrary)]
enum Place {
    Start(u8),
    Sector(u8, u16),
    Any(u64),
}

#[derive(Debug, Arbitrary)]
enum Length {
    Head,
    Rest,
    Window,
    Any(u32),
}

#[derive(Debug, Arbitrary)]
enum Data {
    Head,
    Rest,
    Few(u16),
}

impl Place {
    fn number(&self) -> u64 {
        match self {
            Self::Start(piece) => u64::from(piece % 4) * 65_536,
            Self::Sector(piece, at) => u64::from(piece % 4) * 65_536 + u64::from(*at),
            Self::Any(at) => *at,
        }
    }
}

impl Length {
    fn number(&self) -> u32 {
        match self {
            Self::Head => 512,
            Self::Rest => 61_440,
            Self::Window => 1 << 30,
            Self::Any(length) => *length,
        }
    }
}

impl Data {
    fn length(&self) -> usize {
        match self {
            Self::Head => 512,
            Self::Rest => 61_440,
            Self::Few(length) => usize::from(*length),
        }
    }
}

fn option_reply(option: u32, kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut message = 0x0003_e889_0455_65a9_u64.to_be_bytes().to_vec();
    message.extend(option.to_be_bytes());
    message.extend(kind.to_be_bytes());
    message.extend(u32::try_from(payload.len()).unwrap_or(0).to_be_bytes());
    message.extend(payload);
    message
}

fn chunk(cookie: u8, flags: u16, kind: u16, told: Option<u32>, payload: &[u8]) -> Vec<u8> {
    let mut message = 0x668e_33ef_u32.to_be_bytes().to_vec();
    message.extend(flags.to_be_bytes());
    message.extend(kind.to_be_bytes());
    message.extend(u64::from(cookie).to_be_bytes());
    let length = u32::try_from(payload.len()).unwrap_or(0);
    message.extend(told.unwrap_or(length).to_be_bytes());
    message.extend(payload);
    message
}

impl Reply {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Simple { cookie, error, data } => {
                let mut message = 0x6744_6698_u32.to_be_bytes().to_vec();
                message.extend(u32::from(*error).to_be_bytes());
                message.extend(u64::from(*cookie).to_be_bytes());
                message.resize(message.len() + data.length(), 0x5a);
                message
            }
            Self::OffsetData {
                cookie,
                done,
                offset,
                data,
            } => {
                let mut payload = offset.number().to_be_bytes().to_vec();
                payload.resize(8 + data.length(), 0x5a);
                chunk(*cookie, u16::from(*done), 1, None, &payload)
            }
            Self::OffsetHole {
                cookie,
                done,
                offset,
                length,
            } => {
                let mut payload = offset.number().to_be_bytes().to_vec();
                payload.extend(length.number().to_be_bytes());
                chunk(*cookie, u16::from(*done), 2, None, &payload)
            }
            Self::Status {
                cookie,
                done,
                context,
                extents,
            } => {
                let mut payload = u32::from(*context).to_be_bytes().to_vec();
                for (length, state) in extents {
                    payload.extend(length.number().to_be_bytes());
                    payload.extend(u32::from(*state).to_be_bytes());
                }
                chunk(*cookie, u16::from(*done), 5, None, &payload)
            }
            Self::Error {
                cookie,
                done,
                with_place,
                code,
                text,
            } => {
                let mut payload = u32::from(*code).to_be_bytes().to_vec();
                payload.extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
                payload.extend(text);
                if *with_place {
                    payload.extend(4096_u64.to_be_bytes());
                }
                let kind = 0x8001 + u16::from(*with_place);
                chunk(*cookie, u16::from(*done), kind, None, &payload)
            }
            Self::Nothing { cookie, done } => chunk(*cookie, u16::from(*done), 0, None, &[]),
            Self::Chunk {
                cookie,
                flags,
                kind,
                told_length,
                payload,
            } => chunk(*cookie, *flags, *kind, *told_length, payload),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

impl Conversation {
    fn bytes(&self) -> Vec<u8> {
        let mut said = 0x4e42_444d_4147_4943_u64.to_be_bytes().to_vec();
        said.extend(0x4948_4156_454f_5054_u64.to_be_bytes());
        said.extend(3_u16.to_be_bytes());
        if self.structured {
            said.extend(option_reply(8, 1, &[]));
            match self.context {
                Context::Granted(id) => {
                    let granted = [&u32::from(id).to_be_bytes()[..], b"base:allocation"].concat();
                    said.extend(option_reply(10, 4, &granted));
                    said.extend(option_reply(10, 1, &[]));
                }
                Context::Refused => said.extend(option_reply(10, 0x8000_0001, &[])),
                Context::Another => said.extend(option_reply(10, 4, b"\0\0\0\x09base:other")),
            }
        } else {
            said.extend(option_reply(8, 0x8000_0001, &[]));
        }
        let size = match self.size {
            Size::Usual => 1 << 20,
            Size::Small(size) => size.into(),
            Size::Any(size) => size,
        };
        let mut export = 0_u16.to_be_bytes().to_vec();
        export.extend(size.to_be_bytes());
        export.extend((self.abilities | 1).to_be_bytes());
        said.extend(option_reply(7, 3, &export));
        if let Some((minimum, largest)) = self.blocks {
            let mut blocks = 3_u16.to_be_bytes().to_vec();
            for log in [minimum % 20, minimum % 20, largest % 32] {
                blocks.extend((1_u32 << log).to_be_bytes());
            }
            said.extend(option_reply(7, 3, &blocks));
        }
        said.extend(option_reply(7, 1, &[]));
        for reply in &self.replies {
            // More would not fit the socket's buffer, and nothing is learnt by it.
            if said.len() < 512 << 10 {
                said.extend(reply.bytes());
            }
        }
        said
    }
}

libfuzzer_sys::fuzz_target!(|conversation: Conversation| volumed_fuzz::converse(&conversation.bytes()));
