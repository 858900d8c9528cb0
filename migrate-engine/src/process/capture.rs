//! A child's output, kept within bounds whatever the child writes.

use std::collections::VecDeque;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// How much of a child's standard error is kept: the end of it, because that is where the reason stands.
pub(super) const STDERR_TAIL: usize = 8 * 1024;

/// What a bounded read of standard output came to.
pub(super) enum Captured {
    /// Everything the child wrote.
    All(Vec<u8>),
    /// The child wrote more than it may; reading stopped there.
    TooMuch,
}

/// Everything up to `limit` bytes; stops reading beyond.
pub(super) async fn head(mut from: impl AsyncRead + Unpin, limit: usize) -> io::Result<Captured> {
    let mut kept = Vec::new();
    let mut buffer = [0_u8; 8192];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(Captured::All(kept));
        }
        if kept.len() + read > limit {
            return Ok(Captured::TooMuch);
        }
        kept.extend_from_slice(&buffer[..read]);
    }
}

/// The last [`STDERR_TAIL`] bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<u8>);

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(STDERR_TAIL)..];
        let surplus = (self.0.len() + bytes.len()).saturating_sub(STDERR_TAIL);
        self.0.drain(..surplus);
        self.0.extend(bytes);
    }

    /// The tail as text for people: control characters cannot reach a terminal through it.
    pub(super) fn text(&self) -> String {
        let (first, second) = self.0.as_slices();
        let text = String::from_utf8_lossy(&[first, second].concat()).into_owned();
        text.chars()
            .filter(|c| *c == '\n' || !c.is_control())
            .collect::<String>()
            .trim()
            .to_owned()
    }
}
