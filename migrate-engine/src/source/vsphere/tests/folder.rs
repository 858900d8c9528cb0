//! Files of datastores: exact ranges, broken connections, ends of sessions, and locks.

use super::super::{DatastorePath, FolderError, FolderFile, HttpError};
use super::server::{Reply, Seen, Server, answer};

const SIZE: usize = 100_000;

fn byte(offset: usize) -> u8 {
    u8::try_from(offset * 7 % 251).unwrap()
}

fn bytes(first: usize, last: usize) -> Vec<u8> {
    (first..=last).map(byte).collect()
}

/// The range that was asked for.
fn asked(seen: &Seen) -> Option<(usize, usize)> {
    let (first, last) = seen.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn part(range: &str, body: &[u8]) -> Reply {
    let length = body.len();
    let mut bytes =
        format!("HTTP/1.1 206 P\r\nContent-Length: {length}\r\nContent-Range: {range}\r\n\r\n").into_bytes();
    bytes.extend(body);
    Reply::Keep(bytes)
}

/// As a host does.
fn good(seen: &Seen) -> Reply {
    if seen.head.starts_with("HEAD") {
        return Reply::Keep(format!("HTTP/1.1 200 O\r\nContent-Length: {SIZE}\r\n\r\n").into_bytes());
    }
    let (first, last) = asked(seen).unwrap();
    part(&format!("bytes {first}-{last}/{SIZE}"), &bytes(first, last))
}

/// A server whose answers to reads are given by `handler`, where it gives any: by the number of the read.
async fn server(handler: impl Fn(usize, &Seen) -> Option<Reply> + Send + Sync + 'static) -> Server {
    let reads = std::sync::atomic::AtomicUsize::new(0);
    Server::with_login(move |seen| {
        let is_head = seen.head.starts_with("HEAD /folder/");
        if !is_head && !seen.head.starts_with("GET /folder/") {
            return None;
        }
        let number = if is_head {
            return Some(good(seen));
        } else {
            reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
        };
        Some(handler(number, seen).unwrap_or_else(|| good(seen)))
    })
    .await
}

async fn open(server: &Server) -> FolderFile {
    let session = server.login().await;
    let path: DatastorePath = "[store 1] web/web-flat.vmdk".parse().unwrap();
    session.folder_file(&path, Some("a/DC 0")).await.unwrap()
}

async fn read(file: &FolderFile, offset: usize, length: usize) -> Result<Vec<u8>, FolderError> {
    let mut buffer = vec![0; length];
    file.read_at(u64::try_from(offset).unwrap(), &mut buffer).await?;
    Ok(buffer)
}

#[tokio::test]
async fn ranges_are_read_at_once_over_kept_connections() {
    let server = server(|_, _| None).await;
    let file = open(&server).await;
    assert_eq!(file.size(), u64::try_from(SIZE).unwrap());
    let (a, b) = tokio::join!(read(&file, 0, 1000), read(&file, SIZE - 5, 5));
    assert_eq!(a.unwrap(), bytes(0, 999));
    assert_eq!(b.unwrap(), bytes(SIZE - 5, SIZE - 1));
    let first = read(&file, 7, 70_000).await.unwrap();
    assert_eq!(first, bytes(7, 70_006));
    let seen = server.seen();
    let last = seen.last().unwrap();
    assert!(
        last.head
            .starts_with("GET /folder/web/web-flat.vmdk?dcPath=a%2FDC%200&dsName=store%201 HTTP/1.1")
    );
    assert_eq!(last.header("cookie"), Some("vmware_soap_session=\"s1\""));
    assert!(
        seen.iter().map(|seen| seen.connection).max() < Some(4),
        "connections are kept"
    );
}

#[tokio::test]
async fn a_broken_read_goes_on_where_it_stopped() {
    let server = server(|number, seen| {
        let (first, last) = asked(seen)?;
        let head = format!(
            "HTTP/1.1 206 P\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{SIZE}\r\n\r\n",
            last - first + 1
        );
        let mut cut = head.into_bytes();
        cut.extend(bytes(first, first + 99));
        match number {
            0 => Some(Reply::Cut(cut)),
            1 => Some(Reply::Cut(Vec::new())),
            _ => None,
        }
    })
    .await;
    let file = open(&server).await;
    assert_eq!(read(&file, 50, 1000).await.unwrap(), bytes(50, 1049));
    let asked: Vec<_> = server.seen().iter().filter_map(asked).collect();
    assert_eq!(asked, [(50, 1049), (150, 1049), (150, 1049)]);
}

#[tokio::test]
async fn it_gives_up_on_a_server_that_always_breaks_off() {
    let server = server(|_, _| Some(Reply::Cut(Vec::new()))).await;
    let file = open(&server).await;
    let error = read(&file, 0, 10).await.unwrap_err();
    assert!(
        matches!(
            error,
            FolderError::Http {
                source: HttpError::Lost { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(server.seen().iter().filter_map(asked).count(), 4);
}

#[tokio::test]
async fn a_forgotten_session_is_renewed_once() {
    let server = server(|_, seen| {
        let is_new = seen.header("cookie") == Some("vmware_soap_session=\"s2\"");
        (!is_new).then(|| answer(401, "WWW-Authenticate: Basic realm=x\r\n", "who?"))
    })
    .await;
    let file = open(&server).await;
    assert_eq!(read(&file, 0, 10).await.unwrap(), bytes(0, 9));
    assert_eq!(server.count("Login"), 2);
}

#[tokio::test]
async fn refused_for_ever_it_logs_in_only_once_more() {
    let server = server(|_, _| Some(answer(401, "", "who?"))).await;
    let file = open(&server).await;
    let error = read(&file, 0, 10).await.unwrap_err();
    assert!(matches!(error, FolderError::Unauthorized { .. }), "{error:?}");
    assert_eq!(server.count("Login"), 2);
}

#[tokio::test]
async fn wrong_answers_are_refused() {
    type Is = fn(&FolderError) -> bool;
    let other: Is = |error| matches!(error, FolderError::OtherRange { .. });
    let cases: [(&str, Reply, Is); 12] = [
        ("another range", part("bytes 1-10/100000", &bytes(1, 10)), other),
        ("a longer range", part("bytes 0-99/100000", &bytes(0, 9)), other),
        ("no range", part("", &bytes(0, 9)), other),
        ("a shorter range", part("bytes 0-4/100000", &bytes(0, 4)), other),
        (
            "fewer bytes than said",
            part("bytes 0-9/100000", &bytes(0, 4)),
            other,
        ),
        (
            "more bytes than said",
            part("bytes 0-9/100000", &bytes(0, 40)),
            other,
        ),
        ("another size", part("bytes 0-9/99999", &bytes(0, 9)), |error| {
            matches!(error, FolderError::Size { found: 99_999, .. })
        }),
        ("the whole file", answer(200, "", "whole"), |error| {
            matches!(error, FolderError::NoRanges { .. })
        }),
        ("locked", answer(500, "", ""), |error| {
            matches!(error, FolderError::Locked { .. })
        }),
        ("gone", answer(404, "", ""), |error| {
            matches!(error, FolderError::NotFound { .. })
        }),
        ("forbidden", answer(403, "", ""), |error| {
            matches!(error, FolderError::Forbidden { .. })
        }),
        ("a redirect", answer(301, "Location: /ui\r\n", ""), |error| {
            matches!(
                error,
                FolderError::Http {
                    source: HttpError::Redirect { .. },
                    ..
                }
            )
        }),
    ];
    for (what, reply, is_it) in cases {
        let server = server(move |_, _| Some(reply.clone())).await;
        let file = open(&server).await;
        let error = read(&file, 0, 10).await.unwrap_err();
        assert!(is_it(&error), "{what}: {error:?}");
        assert_eq!(
            server.seen().iter().filter_map(asked).count(),
            1,
            "{what} is not asked for again"
        );
    }
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let server = server(|number, _| (number == 0).then(|| answer(503, "", "later"))).await;
    let file = open(&server).await;
    assert_eq!(read(&file, 0, 10).await.unwrap(), bytes(0, 9));
}

#[tokio::test]
async fn nothing_is_asked_beyond_the_end() {
    let server = server(|_, _| None).await;
    let file = open(&server).await;
    for (offset, length) in [(SIZE, 1), (SIZE - 1, 2), (usize::MAX, 1)] {
        let error = read(&file, offset, length).await.unwrap_err();
        assert!(matches!(error, FolderError::BeyondEnd { .. }), "{error:?}");
    }
    assert_eq!(read(&file, SIZE, 0).await.unwrap(), b"");
    assert_eq!(server.seen().iter().filter_map(asked).count(), 0);
}

#[tokio::test]
async fn a_server_without_head_tells_the_size_by_a_range() {
    let server = Server::with_login(|seen| {
        if seen.head.starts_with("HEAD /folder/") {
            return Some(Reply::Keep(
                b"HTTP/1.1 405 M\r\nContent-Length: 0\r\n\r\n".to_vec(),
            ));
        }
        seen.head.starts_with("GET /folder/").then(|| good(seen))
    })
    .await;
    assert_eq!(open(&server).await.size(), u64::try_from(SIZE).unwrap());
}

#[tokio::test]
async fn a_flat_disk_is_opened_through_its_descriptor() {
    const TEXT: &str = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
        createType=\"vmfs\"\n\n# Extent description\nRW 195 VMFS \"web-flat.vmdk\"\n";
    let server = Server::with_login(|seen| {
        let is_flat = seen.head.contains("-flat.vmdk");
        let size = if is_flat { 195 * 512 } else { TEXT.len() };
        if seen.head.starts_with("HEAD /folder/") {
            return Some(Reply::Keep(
                format!("HTTP/1.1 200 O\r\nContent-Length: {size}\r\n\r\n").into_bytes(),
            ));
        }
        let (first, last) = asked(seen)?;
        let body = if is_flat {
            bytes(first, last)
        } else {
            TEXT.as_bytes()[first..=last].to_vec()
        };
        Some(part(&format!("bytes {first}-{last}/{size}"), &body))
    })
    .await;
    let session = server.login().await;
    let path: DatastorePath = "[store 1] web/web.vmdk".parse().unwrap();
    let file = session.flat_file(&path, None, 195 * 512).await.unwrap();
    assert_eq!(file.path().to_string(), "[store 1] web/web-flat.vmdk");
    assert_eq!(read(&file, 512, 512).await.unwrap(), bytes(512, 1023));
    let error = session.flat_file(&path, None, 512).await.err().unwrap();
    assert!(
        matches!(error, FolderError::Size { expected: 512, .. }),
        "{error:?}"
    );
}
