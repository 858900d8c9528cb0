//! One stream of events on a bare socket: as little work as can be, so that what is measured is the daemon's.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::crowd::Board;

/// Asks for the events that come from now on, and returns once the daemon has begun to answer.
pub(super) async fn open(socket: &Path) -> Result<UnixStream> {
    let mut stream = connect(socket).await?;
    let ask = b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(ask).await?;
    let mut head = [0; 1024];
    let read = stream.read(&mut head).await?;
    ensure!(
        head[..read].starts_with(b"HTTP/1.1 200"),
        "a stream was refused: {}",
        String::from_utf8_lossy(&head[..read])
    );
    Ok(stream)
}

/// Connects; a queue of connections that is full at the moment is tried again.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            connected => return connected,
        }
    }
}

/// Reads until the daemon ends the stream, except while `paused`, and notes on the board what comes.
pub(super) async fn follow(mut stream: UnixStream, board: Arc<Board>, mut paused: watch::Receiver<bool>) {
    let (mut numbers, mut is_broken) = (Numbers::default(), false);
    let mut piece = vec![0; 4096];
    loop {
        if paused.wait_for(|paused| !paused).await.is_err() {
            return;
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                let now = Instant::now();
                numbers.feed(&piece[..read], |number| board.saw(number, now));
                if numbers.holes > 0 && !is_broken {
                    is_broken = true;
                    board.broke();
                }
            }
        }
    }
}

/// The numbers of the events in a stream, whatever lies around them.
#[derive(Debug, Default)]
struct Numbers {
    line: Vec<u8>,
    before: Option<i64>,
    /// How often a number did not follow the one before.
    holes: u32,
}

impl Numbers {
    fn feed(&mut self, piece: &[u8], mut saw: impl FnMut(i64)) {
        for &byte in piece {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let Some(number) = line.strip_prefix(b"id: ").and_then(number) else {
                continue;
            };
            if self.before.is_some_and(|before| number != before + 1) {
                self.holes += 1;
            }
            self.before = Some(number);
            saw(number);
        }
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_however_the_stream_is_cut_and_holes_are_counted() {
        let text = b"5b\r\nid: 7\nevent: lease\ndata: {\"id\":7}\n\n\r\n5b\r\nid: 8\ndata: {}\n\n\r\n3\r\n: \n\n\r\nid: 10\n";
        for size in 1..text.len() {
            let (mut numbers, mut seen) = (Numbers::default(), Vec::new());
            for piece in text.chunks(size) {
                numbers.feed(piece, |number| seen.push(number));
            }
            assert_eq!((seen, numbers.holes), (vec![7, 8, 10], 1));
        }
    }
}
