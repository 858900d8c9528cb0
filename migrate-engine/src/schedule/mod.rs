//! When migrations begin: calendars, time zones, blackouts, and the bandwidth by time of day.
//!
//! It has no path of its own. It decides *when* and calls a [`Starter`], which does what a person's request does. What a
//! person starts by hand ([`Timetable::run_now`]) goes the same way.
//!
//! Guarantees:
//! - A run is begun at most once. What was missed (the process was down, the machine slept) is said, and never caught up.
//! - No run *begins* in a blackout; one that is under way is not ended by it.
//! - Nothing here trusts a timer: the wall clock is looked at again at least once a minute.
//!
//! A time of day stands for one instant, by the rule of [`Zone::instant`], which also holds where clocks are put forward and
//! back. Everything else follows from it: calendars, blackouts and bandwidth cannot disagree.

mod agenda;
mod at_desk;
mod bandwidth;
mod blackout;
mod calendar;
mod clock;
mod memory;
mod notation;
mod numbers;
mod outcome;
mod plan;
mod records;
mod run;
mod scheduler;
mod selection;
mod starter;
#[cfg(test)]
mod testing;
mod timetable;
mod weekdays;
mod window;
mod zone;

pub use at_desk::AtDesk;
pub use bandwidth::{Bandwidth, BandwidthNow, BandwidthWindow, Rate, RateError, follow};
pub use blackout::{Blackout, BlackoutError, Blackouts, InBlackout};
pub use calendar::{Calendar, CalendarError};
pub use clock::{Clock, SystemClock};
pub use memory::{BegunBy, History, Memory, MemoryError, Past};
pub use notation::NotationError;
pub use outcome::{Begun, Missed, Outcome, VmFate, VmStart};
pub use plan::{Plan, PlanError, PlanFileError, PlanWatch, Problem, Schedule};
pub use records::Records;
pub use run::{Fate, Run};
pub use scheduler::Scheduler;
pub use selection::{ReplicationType, Selection};
pub use starter::Starter;
pub use timetable::{RunNowError, Standing, Timetable};
pub use weekdays::Weekdays;
pub use window::Window;
pub use zone::{Zone, ZoneError};
