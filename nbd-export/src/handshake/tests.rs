//! The handshake against servers that lie, stall and talk too much.

use tokio::{io::AsyncReadExt as _, net::UnixListener, task::JoinHandle};

use super::*;

const REPLY: [u8; 8] = 0x0003_e889_0455_65a9_u64.to_be_bytes();

fn reply(option: u32, kind: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [
        &REPLY[..],
        &option.to_be_bytes(),
        &kind.to_be_bytes(),
        &length.to_be_bytes(),
        payload,
    ]
    .concat()
}

/// Sends `script` to the first client, then holds the connection open.
fn server(script: Vec<u8>) -> (tempfile::TempDir, Dial, JoinHandle<()>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let task = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let _ = client.write_all(&script).await;
        let mut sink = Vec::new();
        let _ = client.read_to_end(&mut sink).await;
    });
    (dir, NbdAddress::Unix(path).into(), task)
}

fn greeting(flags: u16) -> Vec<u8> {
    [&b"NBDMAGICIHAVEOPT"[..], &flags.to_be_bytes()].concat()
}

fn info(size: u64, flags: u16) -> Vec<u8> {
    [&[0, 0][..], &size.to_be_bytes(), &flags.to_be_bytes()].concat()
}

fn name() -> ExportName {
    ExportName::new("vol").unwrap()
}

#[tokio::test]
async fn size_and_access_are_checked() {
    let script = [greeting(3), reply(7, 3, &info(4096, 1 | 2)), reply(7, 1, &[])].concat();
    for (size, access, good) in [
        (4096, Access::ReadOnly, true),
        (4096, Access::ReadWrite, false),
        (4097, Access::ReadOnly, false),
    ] {
        let (_dir, address, _task) = server(script.clone());
        let outcome = Session::confirm(&address, &name(), size, access).await;
        assert_eq!(outcome.is_ok(), good, "{size} {access:?}: {:?}", outcome.err());
    }
}

#[tokio::test]
async fn a_refusal_keeps_the_servers_words() {
    let script = [greeting(3), reply(7, 0x8000_0006, b"no such export")].concat();
    let (_dir, address, _task) = server(script);
    match Session::open(&address, &name()).await.err() {
        Some(HandshakeError::Refused {
            code: 0x8000_0006,
            message,
        }) => assert_eq!(message, "no such export"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn malformed_answers_are_refused() {
    let huge = [
        &REPLY[..],
        &7_u32.to_be_bytes(),
        &3_u32.to_be_bytes(),
        &u32::MAX.to_be_bytes(),
    ]
    .concat();
    let scripts = [
        b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
        greeting(0),
        [greeting(3), huge].concat(),
        [greeting(3), reply(3, 1, &[])].concat(),
        [greeting(3), reply(7, 1, &[])].concat(),
        [greeting(3), reply(7, 3, &[0, 0, 1]), reply(7, 1, &[])].concat(),
        [greeting(3), reply(7, 99, &[])].concat(),
    ];
    for script in scripts {
        let (_dir, address, _task) = server(script.clone());
        let error = Session::open(&address, &name()).await.err();
        assert!(
            matches!(error, Some(HandshakeError::Protocol(_))),
            "{script:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_list_entry_that_lies_about_its_name_is_refused() {
    let (_dir, address, _task) = server([greeting(3), reply(3, 2, &[0, 0, 0, 9, b'a'])].concat());
    assert!(matches!(list(&address).await, Err(HandshakeError::Protocol(_))));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_ends_in_a_timeout() {
    let (_dir, address, _task) = server(greeting(3));
    assert!(matches!(list(&address).await, Err(HandshakeError::Timeout(_))));
}
