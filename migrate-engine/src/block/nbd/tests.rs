//! Servers that lie, break the protocol, or go away: a scripted one that speaks only what a test tells it to.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::super::{BufferPool, BufferSlice, Extent, ReadRequest};
use super::*;

const SIZE: u64 = 1 << 20;
/// Flags, flush, FUA, zeroes.
const ABILITIES: u16 = 0b100_1101;

/// What the scripted server does.
#[derive(Clone)]
struct Script {
    structured: bool,
    size: u64,
    abilities: u16,
    /// Sent in answer to requests after the handshake; the first request's cookie is 2 for reads, else 1.
    answer: Vec<u8>,
}

/// A server for one connection; the thread ends with the connection.
struct Scripted {
    directory: TempDir,
    _thread: JoinHandle<()>,
}

impl Scripted {
    fn start(serve: impl FnOnce(UnixStream) + Send + 'static) -> Self {
        let directory = tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let thread = std::thread::spawn(move || {
            if let Ok((stream, _)) = listener.accept() {
                serve(stream);
            }
        });
        Self {
            directory,
            _thread: thread,
        }
    }

    fn follow(script: Script) -> Self {
        Self::start(move |mut stream| {
            if handshake(&mut stream, &script).is_some() {
                let mut request = [0; 28];
                if stream.read_exact(&mut request).is_ok() && stream.write_all(&script.answer).is_ok() {
                    // Stays until the client leaves, so that it is judged by what it sent.
                    let mut rest = Vec::new();
                    let _ = stream.read_to_end(&mut rest);
                }
            }
        })
    }

    fn connect(&self) -> Result<NbdExport, NbdError> {
        let uri = format!("nbd+unix:///disk?socket={}/s", self.directory.path().display());
        let timeout = Duration::from_millis(500);
        let options = NbdOptions {
            reconnect_for: Duration::ZERO,
            silence_timeout: timeout,
            connect_timeout: timeout,
            ..NbdOptions::default()
        };
        NbdExport::connect(uri.parse().unwrap(), options)
    }
}

fn option_reply(option: u32, kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut message = wire::OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    message.extend(option.to_be_bytes());
    message.extend(kind.to_be_bytes());
    message.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    message.extend(payload);
    message
}

fn greeting() -> Vec<u8> {
    let mut message = wire::MAGIC.to_be_bytes().to_vec();
    message.extend(wire::OPTION_MAGIC.to_be_bytes());
    message.extend(3u16.to_be_bytes());
    message
}

fn read_option(stream: &mut UnixStream) -> Option<u32> {
    let mut header = [0; 16];
    stream.read_exact(&mut header).ok()?;
    let mut payload = vec![0; u32::from_be_bytes(header[12..].try_into().ok()?) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some(u32::from_be_bytes(header[8..12].try_into().ok()?))
}

fn handshake(stream: &mut UnixStream, script: &Script) -> Option<()> {
    stream.write_all(&greeting()).ok()?;
    stream.read_exact(&mut [0; 4]).ok()?;
    loop {
        let option = read_option(stream)?;
        let answer = match option {
            wire::OPT_STRUCTURED_REPLY if script.structured => option_reply(option, wire::REP_ACK, &[]),
            wire::OPT_SET_META_CONTEXT => {
                let context = [&9u32.to_be_bytes()[..], b"base:allocation"].concat();
                [
                    option_reply(option, wire::REP_META_CONTEXT, &context),
                    option_reply(option, wire::REP_ACK, &[]),
                ]
                .concat()
            }
            wire::OPT_GO => {
                let mut info = wire::INFO_EXPORT.to_be_bytes().to_vec();
                info.extend(script.size.to_be_bytes());
                info.extend(script.abilities.to_be_bytes());
                [
                    option_reply(option, wire::REP_INFO, &info),
                    option_reply(option, wire::REP_ACK, &[]),
                ]
                .concat()
            }
            _ => option_reply(option, wire::REP_ERR_UNSUP, &[]),
        };
        stream.write_all(&answer).ok()?;
        if option == wire::OPT_GO {
            return Some(());
        }
    }
}

fn script(structured: bool, answer: Vec<u8>) -> Script {
    Script {
        structured,
        size: SIZE,
        abilities: ABILITIES,
        answer,
    }
}

fn chunk(flags: u16, kind: u16, cookie: u64, payload: &[u8]) -> Vec<u8> {
    let mut message = wire::STRUCTURED_REPLY_MAGIC.to_be_bytes().to_vec();
    message.extend(flags.to_be_bytes());
    message.extend(kind.to_be_bytes());
    message.extend(cookie.to_be_bytes());
    message.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    message.extend(payload);
    message
}

fn data(flags: u16, offset: u64, bytes: &[u8]) -> Vec<u8> {
    chunk(
        flags,
        wire::CHUNK_OFFSET_DATA,
        2,
        &[&offset.to_be_bytes()[..], bytes].concat(),
    )
}

fn hole(flags: u16, offset: u64, length: u32) -> Vec<u8> {
    chunk(
        flags,
        wire::CHUNK_OFFSET_HOLE,
        2,
        &[&offset.to_be_bytes()[..], &length.to_be_bytes()].concat(),
    )
}

fn simple(error: u32, cookie: u64) -> Vec<u8> {
    let mut message = wire::SIMPLE_REPLY_MAGIC.to_be_bytes().to_vec();
    message.extend(error.to_be_bytes());
    message.extend(cookie.to_be_bytes());
    message
}

fn status(context: u32, extents: &[(u32, u32)]) -> Vec<u8> {
    let mut payload = context.to_be_bytes().to_vec();
    for (length, state) in extents {
        payload.extend(length.to_be_bytes());
        payload.extend(state.to_be_bytes());
    }
    chunk(1, wire::CHUNK_BLOCK_STATUS, 1, &payload)
}

/// Reads 4096 bytes at 8192 from a server with this answer.
fn read(structured: bool, answer: Vec<u8>) -> Result<Vec<u8>, BlockError> {
    let server = Scripted::follow(script(structured, answer));
    let export = server.connect()?;
    let mut worker = BlockRead::open_worker(&export, &Cancel::new())?;
    let mut buffer = BufferPool::new(1, 4096, 1).take().unwrap();
    buffer.fill(0xee);
    worker.submit(ReadRequest {
        offset: 8192,
        buffer,
        wanted: std::iter::once(0..4096).collect(),
    })?;
    Ok(worker.complete()?.buffer.to_vec())
}

fn map(answer: Vec<u8>) -> Result<Vec<Extent>, BlockError> {
    let server = Scripted::follow(script(true, answer));
    let mut worker = BlockRead::open_worker(&server.connect()?, &Cancel::new())?;
    worker.extents(0..SIZE)
}

fn is_protocol_error<T: std::fmt::Debug>(result: &Result<T, BlockError>) -> bool {
    matches!(result, Err(BlockError::Nbd(NbdError::Protocol { .. })))
}

#[test]
fn good_replies_in_every_shape() {
    let half = vec![7; 2048];
    let whole = [half.clone(), vec![0; 2048]].concat();
    let shapes = [
        [data(0, 8192, &half), hole(1, 10240, 2048)].concat(),
        [hole(0, 10240, 2048), data(1, 8192, &half)].concat(),
        [
            hole(0, 11264, 1024),
            data(0, 8192, &half),
            hole(0, 10240, 1024),
            chunk(1, 0, 2, &[]),
        ]
        .concat(),
    ];
    for shape in shapes {
        assert_eq!(read(true, shape).unwrap(), whole);
    }
    assert_eq!(
        read(false, [simple(0, 2), whole.clone()].concat()).unwrap(),
        whole
    );
    let extents = map(status(
        9,
        &[
            (65536, 3),
            (65536, 1),
            (65536, 2),
            (u32::try_from(SIZE).unwrap() - 196_608, 0),
        ],
    ));
    // A hole that does not promise zeroes is data.
    let expected = [
        Extent::zero(0..65536),
        Extent::data(65536..131_072),
        Extent::zero(131_072..196_608),
        Extent::data(196_608..SIZE),
    ];
    assert_eq!(extents.unwrap(), expected);
}

#[test]
fn broken_read_replies_are_errors() {
    let half = vec![7; 2048];
    let cases: [(&str, bool, Vec<u8>); 17] = [
        ("wrong magic", true, vec![0x55; 64]),
        (
            "structured reply that was not agreed",
            false,
            data(1, 8192, &half),
        ),
        ("unknown cookie", true, chunk(1, 0, 77, &[])),
        ("unknown cookie, simple", false, simple(0, 77)),
        ("short", true, data(1, 8192, &half)),
        ("nothing at all", true, chunk(1, 0, 2, &[])),
        (
            "overlap",
            true,
            [data(0, 8192, &half), data(1, 9216, &half)].concat(),
        ),
        (
            "hole over data",
            true,
            [data(0, 8192, &half), hole(1, 8192, 1)].concat(),
        ),
        ("twice", true, [hole(0, 8192, 4096), hole(1, 8192, 4096)].concat()),
        ("before the request", true, data(1, 8191, &half)),
        ("behind the request", true, data(1, 10241, &half)),
        ("offset overflow", true, hole(1, u64::MAX, 4096)),
        ("too long", true, hole(1, 8192, u32::MAX)),
        ("empty hole", true, hole(1, 8192, 0)),
        (
            "data without data",
            true,
            chunk(1, wire::CHUNK_OFFSET_DATA, 2, &8192u64.to_be_bytes()),
        ),
        (
            "block status for a read",
            true,
            chunk(1, wire::CHUNK_BLOCK_STATUS, 2, &[0; 12]),
        ),
        (
            "simple reply after agreeing on structured",
            true,
            [simple(0, 2), vec![0; 4096]].concat(),
        ),
    ];
    for (name, structured, answer) in cases {
        let result = read(structured, answer);
        assert!(is_protocol_error(&result), "{name}: {result:?}");
    }
}

#[test]
fn server_errors_keep_number_and_message() {
    let payload = [&28u32.to_be_bytes()[..], &4u16.to_be_bytes(), b"fu\x1bl"].concat();
    for (structured, answer) in [
        (true, chunk(1, wire::CHUNK_ERROR, 2, &payload)),
        (
            true,
            chunk(1, wire::CHUNK_ERROR_OFFSET, 2, &[&payload[..], &[0; 8]].concat()),
        ),
        (
            true,
            [hole(0, 8192, 4096), chunk(1, wire::CHUNK_ERROR, 2, &payload)].concat(),
        ),
        (false, simple(28, 2)),
    ] {
        let error = read(structured, answer).unwrap_err();
        assert_eq!(error.place(), Some((8192, 4096)));
        let BlockError::Nbd(NbdError::Request { source, message, .. }) = error else {
            panic!("{error:?}")
        };
        assert_eq!(source.raw_os_error(), Some(28));
        assert!(message.is_empty() || message == "fu l");
    }
    for broken in [&[][..], &[0, 0, 0], &[0, 0, 0, 5, 255, 255, 1], &[0; 5000]] {
        let result = read(true, chunk(1, wire::CHUNK_ERROR, 2, broken));
        assert!(is_protocol_error(&result), "{result:?}");
    }
    let endless = chunk(0, wire::CHUNK_ERROR, 2, &payload).repeat(100);
    assert!(is_protocol_error(&read(true, endless)));
}

#[test]
fn broken_block_status_is_an_error() {
    let size = u32::try_from(SIZE).unwrap();
    let cases = [
        ("another context", status(8, &[(size, 0)])),
        ("no extents", status(9, &[])),
        ("empty extent", status(9, &[(0, 0), (size, 0)])),
        ("beyond the end", status(9, &[(size + 1, 0)])),
        (
            "extent after the end of the request",
            status(9, &[(size, 0), (1, 0)]),
        ),
        ("odd length", chunk(1, wire::CHUNK_BLOCK_STATUS, 1, &[0; 13])),
        ("data", [data(1, 0, &[1]), vec![]].concat()),
        ("done without extents", chunk(1, 0, 1, &[])),
        ("simple reply", simple(0, 1)),
    ];
    for (name, answer) in cases {
        let result = map(answer);
        assert!(is_protocol_error(&result), "{name}: {result:?}");
    }
}

#[test]
fn a_server_that_leaves_or_falls_silent() {
    let cut = data(1, 8192, &[7; 4096]);
    let server = Scripted::start(move |mut stream| {
        handshake(&mut stream, &script(true, vec![]));
        let _ = stream.read_exact(&mut [0; 28]);
        let _ = stream.write_all(&cut[..1000]);
    });
    let export = server.connect().unwrap();
    let mut worker = BlockRead::open_worker(&export, &Cancel::new()).unwrap();
    let buffer = BufferPool::new(1, 4096, 1).take().unwrap();
    worker
        .submit(ReadRequest {
            offset: 8192,
            buffer,
            wanted: std::iter::once(0..4096).collect(),
        })
        .unwrap();
    assert!(matches!(
        worker.complete(),
        Err(BlockError::Nbd(NbdError::Closed))
    ));
    assert!(
        matches!(worker.complete(), Err(BlockError::Nbd(NbdError::Closed))),
        "spent, not stuck"
    );
    assert!(matches!(
        read(true, vec![]),
        Err(BlockError::Nbd(NbdError::Silent { .. }))
    ));
}

#[test]
fn handshakes_that_must_fail() {
    type Check = fn(&NbdError) -> bool;
    let after_greeting = |answer: Vec<u8>| [greeting(), answer].concat();
    let refused = |kind: u32, text: &[u8]| {
        let no = |option| option_reply(option, wire::REP_ERR_UNSUP, &[]);
        [
            greeting(),
            no(wire::OPT_STRUCTURED_REPLY),
            option_reply(wire::OPT_GO, kind, text),
        ]
        .concat()
    };
    let info = |payload: &[u8]| {
        let no = option_reply(wire::OPT_STRUCTURED_REPLY, wire::REP_ERR_UNSUP, &[]);
        let go = option_reply(wire::OPT_GO, wire::REP_INFO, payload);
        [greeting(), no, go, option_reply(wire::OPT_GO, wire::REP_ACK, &[])].concat()
    };
    let blocks = |minimum: u32, largest: u32| {
        let numbers = [
            minimum.to_be_bytes(),
            4096u32.to_be_bytes(),
            largest.to_be_bytes(),
        ]
        .concat();
        [&wire::INFO_BLOCK_SIZE.to_be_bytes()[..], &numbers].concat()
    };
    let protocol: Check = |error| matches!(error, NbdError::Protocol { .. });
    let unsupported: Check = |error| matches!(error, NbdError::Unsupported { .. });
    let oldstyle = [wire::MAGIC.to_be_bytes(), 0x0000_4202_8186_1253u64.to_be_bytes()].concat();
    let mut too_long = option_reply(wire::OPT_STRUCTURED_REPLY, wire::REP_ERR_UNSUP, &[]);
    too_long[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
    let cases: Vec<(&str, Vec<u8>, Check)> = vec![
        (
            "another protocol",
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            protocol,
        ),
        ("old style", oldstyle, unsupported),
        ("not fixed", [&greeting()[..16], &[0, 0]].concat(), unsupported),
        ("closed at once", vec![], |error| {
            matches!(error, NbdError::Closed | NbdError::Transport { .. })
        }),
        ("huge option reply", after_greeting(too_long), protocol),
        (
            "answer to another option",
            after_greeting(option_reply(99, wire::REP_ACK, &[])),
            protocol,
        ),
        ("unknown export", refused(wire::REP_ERR_UNKNOWN, b""), |error| {
            matches!(error, NbdError::UnknownExport { .. })
        }),
        ("TLS", refused(wire::REP_ERR_TLS_REQD, b""), |error| {
            matches!(error, NbdError::TlsRequired { .. })
        }),
        (
            "policy",
            refused(wire::REP_ERR_POLICY, b"go\naway"),
            |error| matches!(error, NbdError::Refused { message, .. } if message == "go away"),
        ),
        ("no GO", refused(wire::REP_ERR_UNSUP, b""), unsupported),
        ("no size", info(&[0, 77]), protocol),
        ("short information", info(&[0]), protocol),
        (
            "size beyond i64",
            info(&[0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 1]),
            protocol,
        ),
        (
            "block size not a power of two",
            info(&blocks(768, 1 << 20)),
            protocol,
        ),
        ("block size zero", info(&blocks(0, 1 << 20)), protocol),
        ("huge minimum block", info(&blocks(1 << 20, 1 << 25)), protocol),
        ("maximum below minimum", info(&blocks(4096, 512)), protocol),
    ];
    for (name, bytes, is_right) in cases {
        let server = Scripted::start(move |mut stream| {
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let error = server.connect().unwrap_err();
        assert!(is_right(&error), "{name}: {error:?}");
    }
}

#[test]
fn a_silent_listener_is_given_up() {
    let server = Scripted::start(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    assert!(matches!(server.connect(), Err(NbdError::Silent { .. })));
    let nobody = tempdir().unwrap();
    let uri = format!("nbd+unix:///?socket={}/none", nobody.path().display());
    let error = NbdExport::connect(uri.parse().unwrap(), NbdOptions::default()).unwrap_err();
    assert!(matches!(error, NbdError::Connect { .. }));
}

#[test]
fn a_read_only_export_is_not_written() {
    let server = Scripted::follow(Script {
        abilities: ABILITIES | 2,
        ..script(true, vec![])
    });
    let export = server.connect().unwrap();
    let refused = BlockWrite::open_worker(&export, &Cancel::new());
    assert!(matches!(refused, Err(BlockError::Nbd(NbdError::ReadOnly { .. }))));
}

#[test]
fn a_failed_write_surfaces_at_the_next_wait() {
    let server = Scripted::follow(script(true, simple(28, 1)));
    let mut worker = BlockWrite::open_worker(&server.connect().unwrap(), &Cancel::new()).unwrap();
    let data: BufferSlice = BufferPool::new(1, 512, 1).take().unwrap().share(0..512);
    worker.write(1024, data).unwrap();
    let error = worker.flush().unwrap_err();
    assert_eq!(error.place(), Some((1024, 512)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn noise_is_never_taken_for_data(structured: bool, noise in prop::collection::vec(any::<u8>(), 0..200), prefix in 0usize..5) {
        let start = match prefix {
            0 => vec![],
            1 => wire::STRUCTURED_REPLY_MAGIC.to_be_bytes().to_vec(),
            2 => wire::SIMPLE_REPLY_MAGIC.to_be_bytes().to_vec(),
            3 => chunk(0, wire::CHUNK_OFFSET_DATA, 2, &[]),
            _ => hole(0, 8192, 100),
        };
        let result = read(structured, [start, noise, vec![0xff; 64]].concat());
        prop_assert!(result.is_err());
    }
}
