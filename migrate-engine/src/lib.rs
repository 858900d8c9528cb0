//! The migration engine: moves virtual machines' disks into volumes; a thin client of the volume daemon.

pub mod process;
pub mod source;
