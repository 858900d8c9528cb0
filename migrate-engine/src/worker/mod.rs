//! The worker beside a source, and the service's end of the line to it.
//!
//! A worker runs where the source is, and reaches out to the service; nothing has to reach it. The service makes *calls*: find
//! machines, freeze one, tell changes, copy a disk. The worker does them with its own credentials, reads there, and writes through
//! a tunnel into the volume's export. All decisions and all records stay with the service; a worker keeps nothing, so
//! that another one, or the same after a crash, goes on where the service's journal says (docs/adr/0019).
//!
//! ```text
//! service: Hub ◄── orders, outcomes, progress, checkpoints (HTTPS) ── Hand: worker ── source
//!     export  ◄────────────── NBD in a tunnel (HTTPS, upgraded) ──────┘
//! ```
//!
//! A call belongs to one process of a worker. When it ends, however it does, its tunnels are closed, and whatever comes
//! of it later is refused: a worker that was taken for dead cannot write.

pub mod hand;
pub mod hub;
pub mod wire;
