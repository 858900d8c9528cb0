//! One history: the world, one daemon after the other, the events, and the checks between them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::yield_now;

use crate::client::{Clients, volume};
use crate::daemon::Daemon;
use crate::ending::come_to_rest;
use crate::event::{Event, History, What};
use crate::invariants::check;
use crate::strangers::meddle;
use crate::world::World;

/// How a daemon's life ends.
enum Death {
    Crash(Duration),
    Reboot(Duration),
    /// With the history.
    Peace,
}

/// Plays a history; an error tells which rules were broken, and the story.
pub(crate) fn play(history: &History) -> Result<(), String> {
    play_and(history, async |_: &Daemon| {})
}

/// As [`play`], and does something with the daemon before the end.
pub(crate) fn play_and(history: &History, mut look: impl AsyncFnMut(&Daemon)) -> Result<(), String> {
    let place = Place::new();
    let (world, mut clients) = (World::new(history.seed), Clients::default());
    let mut events = history.events.iter();
    loop {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let death = runtime.block_on(async {
            world.wake();
            let death = live(&world, &place.database, &mut clients, &mut events, &mut look).await;
            let down = match &death {
                Death::Crash(down) | Death::Reboot(down) => *down,
                Death::Peace => Duration::ZERO,
            };
            world.sleep(down);
            death
        });
        drop(runtime);
        let mut state = world.untimed();
        state.watch_no_more();
        if !state.violations.is_empty() {
            state.violations.dedup();
            return Err(format!("{:#?}\n{}", state.violations, state.story.join("\n")));
        }
        match death {
            Death::Peace => return Ok(()),
            Death::Crash(_) => {}
            Death::Reboot(_) => state.reboot(),
        }
    }
}

async fn live(
    world: &World,
    database: &Path,
    clients: &mut Clients,
    events: &mut std::slice::Iter<'_, Event>,
    look: &mut impl AsyncFnMut(&Daemon),
) -> Death {
    let daemon = Daemon::start(world, database).await;
    clients.started = daemon.store.now();
    world.now().tell("daemon: started".into());
    let mut is_recovered = false;
    for event in events {
        let is_death = matches!(event.what, What::Crash { .. } | What::Reboot { .. });
        if !is_recovered && !is_death {
            // Most clients wait until it is ready.
            tokio::time::sleep(Duration::from_millis(1)).await;
            is_recovered = true;
        }
        world.now().tell(format!("event: {:?}", event.what));
        match &event.what {
            What::Crash { turns, down_millis } => {
                take_turns(*turns).await;
                return Death::Crash(Duration::from_millis(*down_millis));
            }
            What::Reboot { turns, down_millis } => {
                take_turns(*turns).await;
                return Death::Reboot(Duration::from_millis(*down_millis));
            }
            what => happen(what, &daemon, world, clients).await,
        }
        world.planned();
        tokio::time::sleep(Duration::from_millis(event.then_millis)).await;
        check(&daemon, world, clients).await;
        if !world.now().violations.is_empty() {
            return Death::Peace;
        }
    }
    look(&daemon).await;
    come_to_rest(&daemon, world, clients).await;
    Death::Peace
}

async fn take_turns(turns: u32) {
    for _ in 0..turns {
        yield_now().await;
    }
}

async fn happen(what: &What, daemon: &Daemon, world: &World, clients: &mut Clients) {
    match what {
        What::Ask(asked) => clients.ask(daemon, world, asked).await,
        What::AskAgain(which) => clients.ask_again(daemon, world, *which).await,
        What::ReuseKey(which) => clients.reuse_key(daemon, world, *which).await,
        What::Cancel(which) => clients.cancel(daemon, world, *which).await,
        What::TakeLease { volume, write, ttl } => {
            clients.take_lease(daemon, world, (*volume, *write, *ttl)).await;
        }
        What::RenewLease(which) => clients.renew_lease(daemon, *which).await,
        What::ReleaseLease(which) => clients.release_lease(daemon, *which).await,
        What::Device(which) => clients.device(daemon, world, *which).await,
        What::Open(which) => open(daemon, world, *which, true).await,
        What::Close(which) => open(daemon, world, *which, false).await,
        What::Fault(fault) => world.now().cloud.faults.push_back(*fault),
        What::Deaf(readings) => world.now().cloud.failing_reads = *readings,
        What::Stale(is_stale) => world.now().cloud.is_stale = *is_stale,
        What::Stranger(stranger) => meddle(daemon, world, stranger).await,
        What::Pass { seconds } => tokio::time::sleep(Duration::from_secs(*seconds)).await,
        What::Crash { .. } | What::Reboot { .. } => {}
    }
}

/// Somebody opens the volume's own disk and writes to it, or closes it.
async fn open(daemon: &Daemon, world: &World, which: usize, is_open: bool) {
    let Some(volume) = volume(daemon, which).await else {
        return;
    };
    let mut world = world.now();
    let now = world.elapsed();
    let name = world.name_of_ours(volume.id);
    let seq = name.and_then(|name| Some(world.kernel.of_volume(&name)?.seq));
    if let Some(disk) = seq.and_then(|seq| world.kernel.disk_mut(seq)) {
        disk.opened = is_open.then_some(disk.opened.unwrap_or(now));
        disk.written += 8;
    }
}

/// Where the database of one history lies: in memory, so that making it durable costs nothing.
struct Place {
    dir: tempfile::TempDir,
    database: PathBuf,
}

impl Place {
    fn new() -> Self {
        static FRESH: OnceLock<Vec<u8>> = OnceLock::new();
        let memory = Path::new("/dev/shm");
        let dir = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let place = dir.map(|dir| Self {
            database: dir.path().join("model.db"),
            dir,
        });
        let place = place.unwrap();
        // Made once: then each history begins with a copy.
        let fresh = FRESH.get_or_init(|| {
            let made = place.dir.path().join("fresh.db");
            let store = volumed::store::Store::open_in_line(&made, std::sync::Arc::new(jiff::Timestamp::now));
            drop(store.unwrap());
            std::fs::read(made).unwrap()
        });
        std::fs::write(&place.database, fresh).unwrap();
        place
    }
}
