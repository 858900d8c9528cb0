//! Named points at which a test has the daemon die by SIGKILL, as a power cut would have it: nothing is dropped or flushed.
//!
//! Only in builds with the feature `crash-points`; in others a point is nothing. `TEST_CRASH_AT=POINT` kills the process when it
//! reaches that point, `TEST_CRASH_AT=POINT#N` when it does so for the Nth time. `TEST_CRASH_LOG=FILE` appends the name of
//! every point that is reached, so that a test learns them instead of listing them.
//!
//! `TEST_STORE_FAULT=full#N` makes the Nth change of the database and the two after it fail as on a full disk, `busy#N` as where
//! somebody else has it locked; each change is the point `store/write`.
//!
//! Points are named `OPERATION/STEP/MOMENT`; they stand in the executor and around the calls to the cloud, so that every
//! operation and every step has them without a line of its own. What is done with leases has points of its own, as
//! `lease/take/before`.

/// The process may die here.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn point(_name: impl FnOnce() -> String) {}

/// The process may die here.
#[cfg(feature = "crash-points")]
pub(crate) fn point(name: impl FnOnce() -> String) {
    if let Some(plan) = armed::PLAN.as_ref() {
        plan.reach(&name());
    }
}

/// What SQLite's `synchronous` is set to by order of a test that shows what the right setting is worth (`TEST_SYNCHRONOUS`).
#[cfg(not(feature = "crash-points"))]
pub(crate) fn synchronous() -> Option<String> {
    None
}

/// What SQLite's `synchronous` is set to by order of a test that shows what the right setting is worth (`TEST_SYNCHRONOUS`).
#[cfg(feature = "crash-points")]
pub(crate) fn synchronous() -> Option<String> {
    std::env::var("TEST_SYNCHRONOUS").ok()
}

/// The failure that a change of the database meets by order of a test.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn store_fault() -> Option<rusqlite::Error> {
    None
}

/// The failure that a change of the database meets by order of a test.
#[cfg(feature = "crash-points")]
pub(crate) fn store_fault() -> Option<rusqlite::Error> {
    point(|| "store/write".to_owned());
    armed::STORE_FAULT.as_ref()?.next()
}

#[cfg(feature = "crash-points")]
mod armed {
    use std::fs::File;
    use std::io::Write;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use parking_lot::Mutex;
    use rustix::process::{Signal, getpid, kill_process};

    pub(super) static PLAN: LazyLock<Option<Plan>> = LazyLock::new(Plan::of_environment);

    pub(super) static STORE_FAULT: LazyLock<Option<StoreFault>> = LazyLock::new(StoreFault::of_environment);

    /// How many changes in a row fail.
    const FAILURES: u64 = 3;

    /// Which changes of the database fail, and how.
    pub(super) struct StoreFault {
        code: i32,
        first: u64,
        changes: AtomicU64,
    }

    impl StoreFault {
        fn of_environment() -> Option<Self> {
            let (kind, first) = parse(&std::env::var("TEST_STORE_FAULT").ok()?);
            let code = match kind.as_str() {
                "full" => rusqlite::ffi::SQLITE_FULL,
                "busy" => rusqlite::ffi::SQLITE_BUSY,
                other => panic!("TEST_STORE_FAULT is full#N or busy#N, not {other}"),
            };
            Some(Self {
                code,
                first,
                changes: AtomicU64::new(0),
            })
        }

        pub(super) fn next(&self) -> Option<rusqlite::Error> {
            let number = self.changes.fetch_add(1, Ordering::SeqCst) + 1;
            let fails = (self.first..self.first + FAILURES).contains(&number);
            let error = rusqlite::ffi::Error::new(self.code);
            fails.then(|| rusqlite::Error::SqliteFailure(error, Some("by order of a test".into())))
        }
    }

    /// Where to die, and where to tell what was reached.
    pub(super) struct Plan {
        at: Option<(String, u64)>,
        reached: AtomicU64,
        log: Option<Mutex<File>>,
    }

    impl Plan {
        fn of_environment() -> Option<Self> {
            let at = std::env::var("TEST_CRASH_AT").ok().map(|text| parse(&text));
            let log = std::env::var_os("TEST_CRASH_LOG").map(|path| {
                let file = File::options().create(true).append(true).open(path);
                Mutex::new(file.expect("the file of TEST_CRASH_LOG can be written"))
            });
            if at.is_none() && log.is_none() {
                return None;
            }
            tracing::warn!(at = ?at, "this daemon dies at a point by order of a test");
            Some(Self {
                at,
                reached: AtomicU64::new(0),
                log,
            })
        }

        pub(super) fn reach(&self, name: &str) {
            if let Some(log) = &self.log {
                let _ = writeln!(log.lock(), "{name}");
            }
            let Some((at, time)) = &self.at else { return };
            if at == name && self.reached.fetch_add(1, Ordering::SeqCst) + 1 == *time {
                let _ = kill_process(getpid(), Signal::KILL);
                // The signal is there before this thread does anything else; should it not be, nothing else is done.
                loop {
                    std::thread::park();
                }
            }
        }
    }

    /// A point, and at which time it is meant: the first where nothing is said.
    fn parse(text: &str) -> (String, u64) {
        match text.rsplit_once('#') {
            Some((name, time)) => (
                name.to_owned(),
                time.parse().expect("POINT#N, where N is a number"),
            ),
            None => (text.to_owned(), 1),
        }
    }
}
