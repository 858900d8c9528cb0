//! What the host says to the agent in the guest, and what it hears: one TCP connection for one request.
//!
//! The host sends the request and its input (standard input, or the content of a file); the agent sends whatever
//! the program prints while it prints it, and one reply at the end. When the host hangs up before, the program is killed.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// Where the agent listens.
pub const AGENT_PORT: u16 = 7070;

/// The longest frame; a whole file is one.
pub const LONGEST_FRAME: usize = 64 << 20;

/// Kind and length.
pub const HEADER: usize = 5;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A [`Request`], as JSON.
    Request,
    /// Its input.
    Input,
    /// What a program printed, or the content of a file.
    Output,
    /// What a program complained of.
    Complaint,
    /// The [`Reply`], as JSON; nothing follows.
    Reply,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Request,
        Self::Input,
        Self::Output,
        Self::Complaint,
        Self::Reply,
    ];

    fn code(self) -> u8 {
        self as u8
    }

    fn of(code: u8) -> io::Result<Self> {
        let kind = Self::ALL.get(usize::from(code)).copied();
        kind.ok_or_else(|| io::Error::other(format!("no kind of frame has the code {code}")))
    }
}

/// How the guest is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It starts again, in the same emulator.
    Reboot,
    /// The emulator ends, too.
    PowerOff,
}

/// What is asked of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Which boot is this?
    Identify,
    /// Run a program to its end.
    Run {
        /// Program and arguments.
        argv: Vec<String>,
        /// Variables beside the agent's own.
        env: Vec<(String, String)>,
    },
    /// Start a program that outlives the connection.
    Start {
        /// Program and arguments.
        argv: Vec<String>,
        /// Variables beside the agent's own.
        env: Vec<(String, String)>,
        /// The file that takes what it prints, after what is in it.
        log: String,
    },
    /// Does a started program still run?
    Look {
        /// Its process id.
        pid: u32,
    },
    /// Send a signal to any process.
    Signal {
        /// Its process id.
        pid: u32,
        /// The signal's number.
        signal: i32,
    },
    /// Read a file.
    Read {
        /// Its path.
        path: String,
    },
    /// Write a file, and the folders above it, from the input.
    Write {
        /// Its path.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// End all programs, write everything to the disks, and end the guest.
    End {
        /// How.
        how: Ending,
    },
}

/// What the agent answers at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reply {
    /// The kernel's id of this boot.
    Boot {
        /// As in `/proc/sys/kernel/random/boot_id`.
        id: String,
    },
    /// The program ended.
    Exited {
        /// Its exit code; `None` where a signal ended it.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    /// The program was started.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// The program runs.
    Running,
    /// What was asked for is done.
    Done,
    /// What was asked for is not done.
    Failed {
        /// Why, for people.
        why: String,
    },
}

/// The bytes of a frame.
#[must_use]
pub fn frame(kind: Kind, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut bytes = vec![kind.code()];
    bytes.extend(length.to_be_bytes());
    bytes.extend(content);
    bytes
}

/// What a header announces: the kind, and how many bytes follow.
///
/// # Errors
/// An unknown kind, or more than [`LONGEST_FRAME`].
pub fn announced(header: [u8; HEADER]) -> io::Result<(Kind, usize)> {
    let [code, length @ ..] = header;
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST_FRAME {
        return Err(io::Error::other(format!("a frame of {length} bytes is too long")));
    }
    Ok((Kind::of(code)?, length))
}

/// Reads a frame.
///
/// # Errors
/// What the connection or the frame has wrong.
pub fn read_frame(from: &mut impl Read) -> io::Result<(Kind, Vec<u8>)> {
    let mut header = [0; HEADER];
    from.read_exact(&mut header)?;
    let (kind, length) = announced(header)?;
    let mut content = vec![0; length];
    from.read_exact(&mut content)?;
    Ok((kind, content))
}

/// Writes a frame.
///
/// # Errors
/// What the connection has wrong.
pub fn write_frame(to: &mut impl Write, kind: Kind, content: &[u8]) -> io::Result<()> {
    to.write_all(&frame(kind, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_went_and_strange_ones_are_refused() {
        let mut bytes = Vec::new();
        for kind in Kind::ALL {
            write_frame(&mut bytes, kind, &[kind.code(); 3]).unwrap();
        }
        let mut rest = bytes.as_slice();
        for kind in Kind::ALL {
            assert_eq!(read_frame(&mut rest).unwrap(), (kind, vec![kind.code(); 3]));
        }
        assert!(read_frame(&mut rest).is_err(), "nothing is left");
        assert!(announced([9, 0, 0, 0, 0]).is_err());
        assert!(announced([0, 255, 0, 0, 0]).is_err());
    }
}
