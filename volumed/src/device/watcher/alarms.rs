//! What wakes the watcher: kernel uevents, udev's events, changes in the device directories.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use inotify::{Inotify, WatchMask};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, socket_error};
use udev::{MonitorBuilder, MonitorSocket};

use super::sequence::SequenceBook;
use super::stats::{Hearing, WatcherStats};
use super::{Alarms, WatcherConfig, WatcherStartError};
use crate::device::ioctl;
use crate::device::root::SysRoot;

/// Events that are read in one go before a scan may come between.
const BATCH: usize = 4096;

/// Device directories that are watched, below the device root. They need not exist.
const DIRECTORIES: [&str; 2] = ["", "disk/by-id"];

/// All subscriptions of one watcher.
pub(super) struct Subscriptions {
    kernel: Option<MonitorSocket>,
    udev: Option<MonitorSocket>,
    inotify: Option<Inotify>,
    numbers: SequenceBook,
    drops: u32,
    config: WatcherConfig,
}

/// Why the watcher woke up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// Something hints that disks have changed.
    Dirty,
    /// Nothing does: time is up, or somebody asked for something.
    Quiet,
}

impl Hint {
    fn or(self, dirty: bool) -> Hint {
        if dirty { Hint::Dirty } else { self }
    }
}

impl Subscriptions {
    /// Subscribes to all that is to be had.
    pub(super) fn open(config: &WatcherConfig) -> Result<Subscriptions, WatcherStartError> {
        // Read before subscribing: an event in between is then missed at worst, which causes a scan.
        let highest = config.root.uevent_seqnum().unwrap_or(0);
        let kernel = match config.alarms {
            Alarms::InotifyOnly => None,
            Alarms::All => listen(MonitorBuilder::new_kernel(), config.receive_buffer)
                .inspect_err(
                    |error| tracing::warn!(%error, "no kernel uevents: devices are watched by inotify"),
                )
                .ok(),
        };
        let inotify = watch_directories(&config.root);
        let inotify = match (inotify, kernel.is_some()) {
            (Ok(inotify), _) => Some(inotify),
            (Err(error), true) => {
                tracing::warn!(%error, "no inotify on the device directories");
                None
            }
            (Err(error), false) => return Err(WatcherStartError::NoAlarms(error)),
        };
        let config = config.clone();
        let numbers = SequenceBook::after(highest);
        let mut alarms = Subscriptions {
            kernel,
            udev: None,
            inotify,
            numbers,
            drops: 0,
            config,
        };
        alarms.follow_udevd();
        Ok(alarms)
    }

    /// Listens to udevd where one runs, as one more reason to look again. Repeating it is harmless.
    pub(super) fn follow_udevd(&mut self) {
        let wanted = self.config.alarms == Alarms::All && self.config.root == SysRoot::default();
        if self.udev.is_some() || !wanted || !self.config.root.udevd_socket().exists() {
            return;
        }
        let monitor = MonitorBuilder::new().and_then(|builder| builder.match_subsystem("block"));
        self.udev = listen(monitor, self.config.receive_buffer)
            .inspect_err(|error| tracing::debug!(%error, "no events from udevd"))
            .ok();
    }

    /// What is listened to now.
    pub(super) fn hearing(&self) -> Hearing {
        Hearing {
            kernel: self.kernel.is_some(),
            udev: self.udev.is_some(),
            inotify: self.inotify.is_some(),
        }
    }

    /// Waits for an alarm, for `wake`, or until `until`; takes in what has come.
    pub(super) fn wait(
        &mut self,
        wake: BorrowedFd<'_>,
        until: Instant,
        stats: &WatcherStats,
    ) -> io::Result<Hint> {
        let until = self
            .numbers
            .next_verdict()
            .map_or(until, |verdict| verdict.min(until));
        // One millisecond more than asked for, so that the time has come when we look at the clock.
        let timeout = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        let mut fds = vec![PollFd::from_borrowed_fd(wake, PollFlags::IN)];
        let sockets = [
            self.kernel.as_ref().map(AsFd::as_fd),
            self.udev.as_ref().map(AsFd::as_fd),
        ];
        let inotify = self.inotify.as_ref().map(AsFd::as_fd);
        fds.extend(
            sockets
                .into_iter()
                .chain([inotify])
                .flatten()
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
        );
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut counter = [0; 8];
        // Empties the counter; it is empty already where something else woke us.
        let _ = rustix::io::read(wake, &mut counter);
        Ok(self.take_in(stats))
    }

    /// Takes in all that has come. Errors of a source are alarms too.
    fn take_in(&mut self, stats: &WatcherStats) -> Hint {
        let mut hint = Hint::Quiet.or(self.take_kernel(stats));
        if let Some(udev) = &self.udev {
            let overrun = lost_by_error(udev);
            let events = drain(udev, |_| {});
            count(&stats.udev_events, events, stats);
            hint = hint.or(overrun || events > 0);
        }
        if let Some(inotify) = &mut self.inotify {
            let mut buffer = [0; 16 << 10];
            // Nothing to read is an error too, and no alarm.
            let events = inotify.read_events(&mut buffer).map_or(0, Iterator::count);
            count(&stats.inotify_events, events, stats);
            hint = hint.or(events > 0);
        }
        hint
    }

    /// Takes in kernel uevents and keeps the book of their numbers.
    fn take_kernel(&mut self, stats: &WatcherStats) -> bool {
        let Some(kernel) = &self.kernel else { return false };
        let numbers = &mut self.numbers;
        let (mut block_events, mut jumped) = (0, false);
        let mut overrun = lost_by_error(kernel);
        let events = drain(kernel, |event| {
            let now = Instant::now();
            jumped |= numbers.came(event.sequence_number(), now);
            if let Some(diskseq) = diskseq_of(event) {
                stats.announced.came(diskseq, now);
            }
            block_events += usize::from(event.subsystem().is_none_or(|subsystem| subsystem == "block"));
        });
        count(&stats.kernel_events, events, stats);
        count(&stats.block_events, block_events, stats);
        if events < BATCH
            && let Some(sent) = self.config.root.uevent_seqnum()
        {
            jumped |= numbers.sent(sent, Instant::now());
        }
        let lost = numbers.take_lost(Instant::now());
        if lost.events > 0 {
            stats.gaps.fetch_add(lost.gaps, Ordering::Relaxed);
            stats.events_missed.fetch_add(lost.events, Ordering::Relaxed);
            tracing::warn!(events = lost.events, "uevents were lost: scanning all devices");
        }
        if let Ok(drops) = ioctl::socket_drops(kernel) {
            let new = drops.wrapping_sub(self.drops);
            self.drops = drops;
            stats.events_dropped.fetch_add(new.into(), Ordering::Relaxed);
            overrun |= new > 0;
        }
        is_alarm(KernelNews {
            overrun,
            jumped,
            lost: lost.events,
            block_events,
        })
    }
}

/// The running number of the whole disk that a uevent announces. One that tells of its end announces nothing.
fn diskseq_of(event: &udev::Event) -> Option<u64> {
    let comes = matches!(event.event_type(), udev::EventType::Add | udev::EventType::Change);
    if !comes || event.devtype().is_none_or(|devtype| devtype != "disk") {
        return None;
    }
    event.property_value("DISKSEQ")?.to_str()?.parse().ok()
}

/// What one look at the kernel's uevents has brought.
#[derive(Debug, Clone, Copy, Default)]
struct KernelNews {
    /// The kernel says that it dropped some.
    overrun: bool,
    /// Some are missing that were not before.
    jumped: bool,
    /// So many are lost for certain.
    lost: u64,
    /// So many were about block devices.
    block_events: usize,
}

/// Whether the disks may have changed. What is only missing may be lost, and a scan costs little: look at once, and
/// again when it is certain.
fn is_alarm(news: KernelNews) -> bool {
    news.overrun || news.jumped || news.lost > 0 || news.block_events > 0
}

fn count(counter: &AtomicU64, events: usize, stats: &WatcherStats) {
    if events > 0 {
        counter.fetch_add(events as u64, Ordering::Relaxed);
        stats.event_came();
    }
}

/// Starts listening, with a receive buffer of about the size asked for.
fn listen(monitor: io::Result<MonitorBuilder>, receive_buffer: usize) -> io::Result<MonitorSocket> {
    let monitor = monitor?;
    // Only a privileged process may go beyond the system's limit.
    set_socket_recv_buffer_size_force(&monitor, receive_buffer)
        .or_else(|_| set_socket_recv_buffer_size(&monitor, receive_buffer))
        .or_else(|error| {
            tracing::warn!(%error, receive_buffer, "the receive buffer for device events stays small");
            Ok::<_, io::Error>(())
        })?;
    monitor.listen()
}

/// Whether the socket reports an error, of which an overrun is the usual one. Asking clears it, which is why it is
/// asked before reading: the udev crate would swallow it.
fn lost_by_error(socket: &MonitorSocket) -> bool {
    matches!(socket_error(socket), Ok(Err(_)) | Err(_))
}

/// Reads what is there, at most a batch. `None` of the crate may mean "nothing more", "could not be read" or "events
/// were lost", so readiness decides when it is enough.
fn drain(socket: &MonitorSocket, mut each: impl FnMut(&udev::Event)) -> usize {
    let mut events = 0;
    for _ in 0..BATCH {
        if !readable(socket) {
            break;
        }
        for event in socket.iter().take(BATCH - events) {
            each(&event);
            events += 1;
        }
    }
    events
}

fn readable(socket: &MonitorSocket) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

fn watch_directories(root: &SysRoot) -> io::Result<Inotify> {
    let inotify = Inotify::init()?;
    let mask = WatchMask::CREATE | WatchMask::DELETE | WatchMask::ATTRIB | WatchMask::MOVE;
    for directory in DIRECTORIES {
        let watched = inotify.watches().add(root.dev.join(directory), mask);
        match watched {
            Err(error) if directory.is_empty() => return Err(error),
            // No links are made where no udevd runs.
            _ => {}
        }
    }
    Ok(inotify)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_news_is_an_alarm_and_none_is_not() {
        let none = KernelNews::default();
        assert!(!is_alarm(none), "events about other things are no alarm");
        assert!(is_alarm(KernelNews {
            overrun: true,
            ..none
        }));
        assert!(is_alarm(KernelNews { jumped: true, ..none }));
        assert!(is_alarm(KernelNews { lost: 1, ..none }));
        assert!(is_alarm(KernelNews {
            block_events: 1,
            ..none
        }));
    }
}
