//! When the kernel announced each disk, heard on its own netlink group.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Context;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use udev::{MonitorBuilder, MonitorSocket};

/// Room for the events of a busy machine, in bytes.
const RECEIVE_BUFFER: usize = 8 << 20;

/// How long the end may be overlooked.
const LOOK_UP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

type Heard = Arc<Mutex<HashMap<u64, Instant>>>;

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Uevents {
    heard: Heard,
    is_over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Uevents {
    /// Listens from now on.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let (heard, is_over) = (Heard::default(), Arc::new(AtomicBool::new(false)));
        let (ready, is_ready) = mpsc::channel();
        let (to, over) = (Arc::clone(&heard), Arc::clone(&is_over));
        let listening = std::thread::Builder::new()
            .name("uevents".to_owned())
            .spawn(move || match open() {
                Ok(socket) => {
                    // Whoever started this waits for it.
                    let _ = ready.send(Ok(()));
                    hear(&socket, &to, &over);
                }
                Err(error) => drop(ready.send(Err(error))),
            })?;
        let uevents = Self {
            heard,
            is_over,
            listening: Some(listening),
        };
        is_ready.recv().context("the listener ended")??;
        Ok(uevents)
    }

    /// When the first event came that named this disk.
    pub(super) fn at(&self, diskseq: u64) -> Option<Instant> {
        self.heard.lock().get(&diskseq).copied()
    }
}

impl Drop for Uevents {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It may have panicked, and then it heard nothing more.
        let _ = self.listening.take().map(JoinHandle::join);
    }
}

fn open() -> anyhow::Result<MonitorSocket> {
    let monitor = MonitorBuilder::new_kernel().context("opening the kernel's netlink group")?;
    let monitor = monitor.match_subsystem("block")?;
    set_socket_recv_buffer_size_force(&monitor, RECEIVE_BUFFER)?;
    monitor.listen().context("listening to the kernel's events")
}

fn hear(socket: &MonitorSocket, heard: &Heard, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        if !poll(&mut fds, Some(&LOOK_UP)).is_ok_and(|ready| ready > 0) {
            continue;
        }
        let at = Instant::now();
        for event in socket.iter() {
            let diskseq = event
                .property_value("DISKSEQ")
                .and_then(|value| value.to_str()?.parse().ok());
            if let Some(diskseq) = diskseq {
                heard.lock().entry(diskseq).or_insert(at);
            }
        }
    }
}
