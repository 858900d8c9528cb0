//! Operations: the only part of the daemon that changes the outside world.
//!
//! A request is admitted (pure rules, one transaction), queued (pure order), and driven through the table of steps of
//! its kind; each step is journaled before it starts and after it ends, so that a crash at any point leaves a journal
//! that says what to ask the world next. Recovery and normal running are the same code.

mod admission;
mod adoption;
mod cloud_call;
mod conditions;
mod device_failure;
mod device_wait;
mod disputes;
mod error;
mod executor;
mod fit;
mod kernel;
mod lease;
mod observer;
mod outcome;
mod pins;
mod plan;
mod queue;
mod recovery;
mod restored;
mod service;
mod step;
mod steps;
mod submission;
mod trouble;
mod turns;
mod view;
mod world;

pub use adoption::Adoption;
pub use error::OperationError;
pub use fit::misfit;
pub use observer::{Observer, Unobserved};
pub use recovery::{Parts, StartError};
pub use service::{NewLease, Operations};
pub use steps::step_names;
pub use submission::{Submission, key_reused};
pub use view::{ConditionRecord, DeviceView, VerifiedDevice};
pub use world::{IdentityPolicy, Settings};
