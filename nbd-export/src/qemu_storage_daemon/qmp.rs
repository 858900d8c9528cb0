//! QMP as far as qemu-storage-daemon needs it: one JSON object a line, commands with ids, events skipped.

use std::{io, path::Path, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

const ANSWER: Duration = Duration::from_secs(20);
/// A list of ten thousand exports is about 1 MiB.
const MAX_LINE: u64 = 64 << 20;

/// Why a QMP command has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QmpError {
    /// The daemon refused; the connection is fine.
    #[error("{description}")]
    Refused {
        /// The daemon's words.
        description: String,
    },
    /// No connection, or it broke: the command may or may not have been carried out.
    #[error("connection failed")]
    Io(#[from] io::Error),
    /// No answer in time: the command may or may not have been carried out.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Something that is not QMP.
    #[error("not a QMP answer: {0}")]
    Protocol(String),
}

/// One connection. The monitor serves one at a time, so it is held only while a command runs.
pub(super) struct Qmp {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    last_id: u64,
}

impl Qmp {
    /// Connects, reads the greeting and leaves capability negotiation.
    pub(super) async fn connect(socket: &Path) -> Result<Self, QmpError> {
        let (reader, writer) = UnixStream::connect(socket).await?.into_split();
        let mut qmp = Self {
            reader: BufReader::new(reader),
            writer,
            last_id: 0,
        };
        let greeting = timeout(ANSWER, qmp.read())
            .await
            .map_err(|_| QmpError::Timeout(ANSWER))??;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Protocol(shortened(&greeting.to_string())));
        }
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Runs one command.
    pub(super) async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        self.last_id += 1;
        let id = self.last_id;
        tracing::trace!(command, %arguments, "qmp");
        let mut line = json!({ "execute": command, "arguments": arguments, "id": id }).to_string();
        line.push('\n');
        let exchange = async {
            self.writer.write_all(line.as_bytes()).await?;
            loop {
                let mut answer = self.read().await?;
                if answer.get("event").is_some() || answer.get("id") != Some(&json!(id)) {
                    continue;
                }
                if let Some(error) = answer.get("error") {
                    let description = error
                        .get("desc")
                        .and_then(Value::as_str)
                        .unwrap_or("no reason given");
                    return Err(QmpError::Refused {
                        description: shortened(description),
                    });
                }
                return match answer.get_mut("return") {
                    Some(result) => Ok(result.take()),
                    None => Err(QmpError::Protocol(shortened(&answer.to_string()))),
                };
            }
        };
        timeout(ANSWER, exchange)
            .await
            .unwrap_or(Err(QmpError::Timeout(ANSWER)))
    }

    async fn read(&mut self) -> Result<Value, QmpError> {
        let mut line = String::new();
        (&mut self.reader).take(MAX_LINE).read_line(&mut line).await?;
        if line.is_empty() {
            return Err(QmpError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_str(&line).map_err(|_| QmpError::Protocol(shortened(&line)))
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(400).collect()
}
