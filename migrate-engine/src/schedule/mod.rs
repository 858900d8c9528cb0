//! When migrations begin: calendars, time zones, blackouts, and the bandwidth by time of day.
//!
//! It has no path of its own. It decides *when* and calls a [`Starter`], which does what a person's request does.
//!
//! Guarantees:
//! - A run is begun at most once. What was missed (the process was down, the machine slept) is said, and never caught up.
//! - No run *begins* in a blackout; one that is under way is not ended by it.
//! - Nothing here trusts a timer: the wall clock is looked at again at least once a minute.
//!
//! A time of day stands for one instant, by the rule of [`Zone::instant`], which also holds where clocks are put forward and
//! back. Everything else follows from it: calendars, blackouts and bandwidth cannot disagree.

mod agenda;
mod bandwidth;
mod blackout;
mod calendar;
mod clock;
mod memory;
mod notation;
mod numbers;
mod plan;
mod run;
mod scheduler;
mod selection;
mod starter;
#[cfg(test)]
mod testing;
mod weekdays;
mod window;
mod zone;

pub use bandwidth::{Bandwidth, BandwidthNow, BandwidthWindow, Rate, RateError, follow};
pub use blackout::{Blackout, BlackoutError, Blackouts, InBlackout};
pub use calendar::{Calendar, CalendarError};
pub use clock::{Clock, SystemClock};
pub use memory::{Begun, Memory, MemoryError, Missed, Outcome};
pub use notation::NotationError;
pub use plan::{Plan, PlanError, Problem, Schedule};
pub use run::{Fate, Run};
pub use scheduler::Scheduler;
pub use selection::{ReplicationType, Selection};
pub use starter::Starter;
pub use weekdays::Weekdays;
pub use window::Window;
pub use zone::{Zone, ZoneError};
