//! A client of QEMU's machine protocol: commands with their answers, and the events that concern disks.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

/// How many events may wait: more than slots, since each slot has at most one disk to lose.
const WAITING_EVENTS: usize = 256;

/// Why a command has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QmpError {
    /// QEMU says no.
    #[error("internal error: unable to execute QEMU command '{command}': {reason}")]
    Refused {
        /// What it was told.
        command: String,
        /// Its words.
        reason: String,
    },
    /// The connection ended: QEMU did.
    #[error("QEMU is gone")]
    Gone,
}

/// A device has left the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceDeleted {
    /// The id it was given with `device_add`.
    pub(super) device: String,
}

type Answer = Result<Value, QmpError>;

/// Answers that are waited for. `None` once the connection has ended.
type Pending = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Result<Value, String>>>>>>;

/// A connection that was greeted. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Qmp {
    writer: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    pending: Pending,
    last: Arc<AtomicU64>,
}

impl Qmp {
    /// Takes the greeting and leaves the negotiation. The events come by themselves from then on.
    pub(super) async fn greet(stream: UnixStream) -> io::Result<(Self, mpsc::Receiver<DeviceDeleted>)> {
        let (reader, writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let greeting = lines.next_line().await?.unwrap_or_default();
        if !greeting.starts_with(r#"{"QMP""#) {
            return Err(io::Error::other(format!("this is not QMP: {greeting:?}")));
        }
        let (events, deleted) = mpsc::channel(WAITING_EVENTS);
        let qmp = Self {
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            pending: Arc::new(Mutex::new(Some(HashMap::new()))),
            last: Arc::default(),
        };
        tokio::spawn(receive(lines, Arc::clone(&qmp.pending), events));
        qmp.execute("qmp_capabilities", json!({}))
            .await
            .map_err(io::Error::other)?;
        Ok((qmp, deleted))
    }

    /// Runs a command.
    pub(super) async fn execute(&self, command: &str, arguments: Value) -> Answer {
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        match self.pending.lock().as_mut() {
            Some(pending) => pending.insert(id, answer),
            None => return Err(QmpError::Gone),
        };
        let line = json!({"execute": command, "arguments": arguments, "id": id}).to_string() + "\n";
        // Whoever writes half a line and is dropped would spoil the next command.
        let writer = Arc::clone(&self.writer);
        let written = tokio::spawn(async move {
            let mut writer = writer.lock().await;
            writer.write_all(line.as_bytes()).await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            return Err(QmpError::Gone);
        }
        let answer = answered.await.map_err(|_| QmpError::Gone)?;
        answer.map_err(|reason| QmpError::Refused {
            command: command.to_owned(),
            reason,
        })
    }
}

/// Hands answers and events on until QEMU closes the connection.
async fn receive(
    mut lines: Lines<BufReader<OwnedReadHalf>>,
    pending: Pending,
    events: mpsc::Sender<DeviceDeleted>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            break;
        };
        if let Some(event) = device_deleted(&message) {
            if events.try_send(event).is_err() {
                break;
            }
        } else if let Some((id, answer)) = answer(&message) {
            let waiting = pending.lock().as_mut().and_then(|pending| pending.remove(&id));
            // Nobody waits any more for the answer of a command that was dropped.
            let _ = waiting.map(|waiting| waiting.send(answer));
        }
    }
    *pending.lock() = None;
}

/// The other events say nothing that the guest or the answers do not say; a part of a device has no id.
fn device_deleted(message: &Value) -> Option<DeviceDeleted> {
    let is_deleted = message["event"] == "DEVICE_DELETED";
    let device = message["data"]["device"].as_str().filter(|_| is_deleted)?;
    Some(DeviceDeleted {
        device: device.to_owned(),
    })
}

fn answer(message: &Value) -> Option<(u64, Result<Value, String>)> {
    let id = message["id"].as_u64()?;
    match message.get("return") {
        Some(value) => Some((id, Ok(value.clone()))),
        None => Some((id, Err(message["error"]["desc"].as_str()?.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair() -> (UnixStream, Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (reader, mut writer) = theirs.into_split();
        writer.write_all(b"{\"QMP\": {}}\n").await.unwrap();
        (ours, BufReader::new(reader).lines(), writer)
    }

    async fn reply(
        lines: &mut Lines<BufReader<OwnedReadHalf>>,
        writer: &mut OwnedWriteHalf,
        rest: Value,
    ) -> Value {
        let asked: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        let mut message = rest;
        message["id"] = asked["id"].clone();
        writer.write_all(format!("{message}\n").as_bytes()).await.unwrap();
        asked
    }

    #[tokio::test]
    async fn answers_find_their_commands_and_events_come_through() {
        let (ours, mut lines, mut writer) = pair().await;
        let qemu = tokio::spawn(async move {
            reply(&mut lines, &mut writer, json!({"return": {}})).await;
            writer
                .write_all(b"{\"event\": \"DEVICE_DELETED\", \"data\": {\"path\": \"/x\"}}\n")
                .await
                .unwrap();
            writer
                .write_all(
                    b"{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"d1\", \"path\": \"/x\"}}\n",
                )
                .await
                .unwrap();
            let asked = reply(
                &mut lines,
                &mut writer,
                json!({"error": {"class": "X", "desc": "no"}}),
            )
            .await;
            assert_eq!(asked["execute"], "device_del");
            assert_eq!(asked["arguments"], json!({"id": "d1"}));
        });
        let (qmp, mut deleted) = Qmp::greet(ours).await.unwrap();
        let refused = qmp.execute("device_del", json!({"id": "d1"})).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "internal error: unable to execute QEMU command 'device_del': no"
        );
        qemu.await.unwrap();
        assert_eq!(
            deleted.recv().await.unwrap().device,
            "d1",
            "parts of devices are none"
        );
        assert_eq!(qmp.execute("cont", json!({})).await, Err(QmpError::Gone));
        assert_eq!(deleted.recv().await, None);
    }

    #[tokio::test]
    async fn something_else_is_not_taken_for_qemu() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"HTTP/1.1 400\n").await.unwrap();
        assert!(Qmp::greet(ours).await.is_err());
    }
}
