//! The write-ahead log, judged without SQLite, which takes the first frame that does not check for the log's end.
//!
//! After a power cut the end of a log may be rubbish: the frames of the transaction that was never synced. Damage is something
//! else: a frame that does not check, *and behind it* a commit and frames of a later transaction that do. Those were written
//! after a sync of the broken one, so it was whole once, and what SQLite would drop had been promised. The form is SQLite's
//! (sqlite.org/fileformat2.html, section 4): each frame's checksum goes on from the one of the frame before.

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const BIG_ENDIAN: u32 = 0x377f_0683;
const LITTLE_ENDIAN: u32 = 0x377f_0682;

type Sums = (u32, u32);

struct Frame<'a> {
    begins: &'a [u8],
    page: &'a [u8],
    is_commit: bool,
    salts: &'a [u8],
    sums: Sums,
}

/// What is damaged in the bytes of a log: a clause about the log. `None` where it is whole, or torn as a power cut tears it.
pub(super) fn damage(log: &[u8]) -> Option<String> {
    let head = log.get(..HEADER)?;
    let page_size = usize::try_from(word(head, 8)).ok()?;
    if !matches!(word(head, 0), BIG_ENDIAN | LITTLE_ENDIAN)
        || !page_size.is_power_of_two()
        || !(512..=65536).contains(&page_size)
    {
        // A head is one sector: it is written whole or not at all.
        let is_void = log.iter().all(|&byte| byte == 0);
        return (!is_void).then(|| "its head is none of a log".to_owned());
    }
    let big = word(head, 0) == BIG_ENDIAN;
    let mut before = (word(head, 24), word(head, 28));
    let mut broken = (sum(big, (0, 0), &head[..24]) != before).then_some(0);
    let mut synced_since = false;
    let mut frames = log[HEADER..]
        .chunks_exact(FRAME_HEADER + page_size)
        .map(Frame::of)
        .peekable();
    // A head that does not check may have lost its salts, too.
    let salts = match (broken, frames.peek()) {
        (Some(_), Some(first)) => first.salts,
        _ => &head[16..24],
    };
    for (number, frame) in frames.enumerate() {
        if frame.salts != salts {
            // Of the round before, or of none: with it the log ends, unless it is the frame that is broken.
            broken.get_or_insert(number + 1);
            before = frame.sums;
            continue;
        }
        let checks = sum(big, sum(big, before, frame.begins), frame.page) == frame.sums;
        before = frame.sums;
        match (broken, checks) {
            (None, false) => (broken, synced_since) = (Some(number + 1), frame.is_commit),
            (Some(broken), true) if synced_since => {
                return Some(match broken {
                    0 => "its head does not check, and what follows does".to_owned(),
                    broken => format!("frame {broken} does not check, and transactions behind it do"),
                });
            }
            (Some(_), true) => synced_since = frame.is_commit,
            (Some(_), false) | (None, true) => {}
        }
    }
    None
}

impl<'a> Frame<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self {
            begins: &bytes[..8],
            page: &bytes[FRAME_HEADER..],
            is_commit: word(bytes, 4) != 0,
            salts: &bytes[8..16],
            sums: (word(bytes, 16), word(bytes, 20)),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..at + 4].try_into().expect("four bytes are four bytes");
    u32::from_be_bytes(word)
}

fn sum(big: bool, (mut first, mut second): Sums, bytes: &[u8]) -> Sums {
    let read = |at: &[u8]| {
        let word: [u8; 4] = at.try_into().expect("four bytes are four bytes");
        if big {
            u32::from_be_bytes(word)
        } else {
            u32::from_le_bytes(word)
        }
    };
    for pair in bytes.chunks_exact(8) {
        first = first.wrapping_add(read(&pair[..4])).wrapping_add(second);
        second = second.wrapping_add(read(&pair[4..])).wrapping_add(first);
    }
    (first, second)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// A log of several transactions, as SQLite writes it, and its page size.
    fn log() -> (Vec<u8>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x TEXT)")
            .unwrap();
        for n in 0..6 {
            conn.execute("INSERT INTO t VALUES (?1)", [format!("{n}").repeat(3000)])
                .unwrap();
        }
        let bytes = std::fs::read(super::super::beside::log_of(&path)).unwrap();
        let page = usize::try_from(word(&bytes, 8)).unwrap();
        assert!(bytes.len() > HEADER + 8 * (page + FRAME_HEADER));
        (bytes, page)
    }

    #[test]
    fn a_whole_log_and_a_torn_end_are_no_damage() {
        let (bytes, _) = log();
        assert_eq!(damage(&bytes), None);
        assert_eq!(damage(&[]), None);
        for length in (0..bytes.len()).step_by(997) {
            assert_eq!(damage(&bytes[..length]), None, "cut at {length}");
        }
        let mut torn = bytes;
        let end = torn.len();
        torn[end - 100..].fill(0xa5);
        assert_eq!(damage(&torn), None, "the last transaction was never promised");
    }

    #[test]
    fn a_frame_that_was_synced_and_does_not_check_is_damage() {
        let (bytes, page) = log();
        for frame in 0..3 {
            let at = HEADER + frame * (page + FRAME_HEADER);
            for within in [0, 9, FRAME_HEADER + 17, FRAME_HEADER + page - 1] {
                let mut damaged = bytes.clone();
                damaged[at + within] ^= 0x40;
                assert!(damage(&damaged).is_some(), "byte {within} of frame {frame}");
            }
        }
        for at in [0, 8, 13, 17, 25] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert!(damage(&damaged).is_some(), "byte {at} of the head");
        }
    }
}
