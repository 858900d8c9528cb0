//! The migration engine: moves virtual machines' disks into volumes.

pub mod block;
pub mod transfer;
