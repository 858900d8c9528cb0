//! The parser of server-sent events: bytes in, whole events out, with a bound on what is kept.

use std::mem;

/// The largest event, in bytes.
const MAX_EVENT: usize = 1024 * 1024;

/// One event as it was sent. Without data it is none, by the rules of the format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// `id:`, if any.
    pub(super) id: Option<String>,
    /// The `data:` lines, joined.
    pub(super) data: String,
}

/// An event larger than [`MAX_EVENT`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventTooLarge;

impl EventTooLarge {
    pub(super) const LIMIT: usize = MAX_EVENT;
}

/// Keeps what is not complete yet.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    frame: Frame,
    has_data: bool,
}

impl Parser {
    /// Takes bytes however they were cut, and appends the events that they complete.
    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut Vec<Frame>) -> Result<(), EventTooLarge> {
        for &byte in bytes {
            let ends_crlf = mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
            if ends_crlf {
                continue;
            }
            if byte == b'\r' || byte == b'\n' {
                let line = mem::take(&mut self.line);
                out.extend(self.take_line(&String::from_utf8_lossy(&line)));
                continue;
            }
            self.line.push(byte);
            if self.line.len() + self.frame.data.len() > MAX_EVENT {
                return Err(EventTooLarge);
            }
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            let frame = mem::take(&mut self.frame);
            return mem::take(&mut self.has_data).then_some(frame);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.frame.id = Some(value.to_owned()),
            "data" => {
                if mem::replace(&mut self.has_data, true) {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
            }
            // Comments (heartbeats), `event` (the data says it too), `retry`, and what is to come.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        ": hello\n\nid: 7\nevent: volume\ndata: {\"a\":\ndata:  1}\n\nid: 8\r\ndata: ü\r\n\r\ndata: cut";

    fn parse(chunks: impl Iterator<Item = Vec<u8>>) -> Vec<Frame> {
        let mut parser = Parser::default();
        let mut out = Vec::new();
        for chunk in chunks {
            parser.feed(&chunk, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let whole = parse(std::iter::once(STREAM.as_bytes().to_vec()));
        assert_eq!(
            whole.len(),
            2,
            "the third has no end yet, the comment is no event"
        );
        assert_eq!(whole[0].id.as_deref(), Some("7"));
        assert_eq!(whole[0].data, "{\"a\":\n 1}");
        assert_eq!(whole[1].data, "ü");
        for size in 1..9 {
            let pieces = STREAM.as_bytes().chunks(size).map(<[u8]>::to_vec);
            assert_eq!(parse(pieces), whole, "cut every {size} bytes");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        let mut out = Vec::new();
        let lines = "data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(1000);
        let refused = (0..100).any(|_| parser.feed(lines.as_bytes(), &mut out).is_err());
        assert!(refused && out.is_empty());
    }
}
