//! A CloudStack of our own: the API of a management server before KVM hosts, with its misbehaviour, on a loopback port.
//!
//! It follows what is known of the server's code and of its users' troubles, and was written without a look at our
//! client, so that each checks the other. It has real files for volumes and hands them to a [`Hypervisor`](crate::Hypervisor);
//! what the database says and what is plugged in are two things here, as they are there.
//!
//! ```text
//! request --gateway--> faults on the way, signature, role --commands--> job --work--> VM's queue --> hypervisor
//!                 \--> ledger: what came in, and the rules that a client broke          \--> state
//! ```
//!
//! What it leaves out: templates, networks, moves between pools, uploads, encryption, root disks that are swapped.

mod account;
mod caller;
mod clock;
mod cloud;
mod commands;
mod connection;
mod elsewhere;
mod expiry;
mod fault;
mod gateway;
mod job;
mod ledger;
mod refusal;
mod server;
mod settings;
mod signature;
mod state;
mod storage;
mod stranger;
mod view;
mod vm;
mod volume;
mod wire;
mod work;

pub use account::{Credentials, Role};
pub use caller::{Answer, Caller};
pub use elsewhere::{ElsewhereHypervisor, Grip};
pub use fault::{Fault, Faults, Gate, Hold, Moment, Stuck};
pub use job::{Job, JobState};
pub use ledger::{Fate, Received, Violation};
pub use refusal::Refusal;
pub use server::{CloudStackServer, World};
pub use settings::{Enforcement, Expiry, JobIds, RateLimit, Service, Settings, Setup};
pub use state::Snapshot;
pub use stranger::Stranger;
pub use volume::{Attachment, Volume, VolumeState};
pub use wire::Params;
