//! The host's ear: every word is on the ledger before its client in the guest may go on.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::words::Word;

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Vec<Word>>>,
    talks: Arc<Mutex<JoinSet<()>>>,
    accepting: JoinHandle<()>,
}

impl Listener {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, talks) = (Arc::default(), Arc::new(Mutex::new(JoinSet::new())));
        let (into, all) = (Arc::clone(&heard), Arc::clone(&talks));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                all.lock().spawn(listen(stream, Arc::clone(&into)));
            }
        });
        Self {
            address,
            heard,
            talks,
            accepting,
        }
    }

    /// How many words were heard since they were last taken.
    pub(super) fn count(&self) -> usize {
        self.heard.lock().len()
    }

    /// What was heard, once nobody in the guest can say any more: what had left it is heard to its end.
    pub(super) async fn hear_out(&self) -> Vec<Word> {
        let mut talks = std::mem::take(&mut *self.talks.lock());
        while talks.join_next().await.is_some() {}
        std::mem::take(&mut self.heard.lock())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn listen(stream: TcpStream, heard: Arc<Mutex<Vec<Word>>>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    // A connection that breaks in the middle of a line has said nothing with it.
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(word) = serde_json::from_str(&line) else {
            return;
        };
        heard.lock().push(word);
        if write.write_all(b"ok\n").await.is_err() {
            return;
        }
    }
}
