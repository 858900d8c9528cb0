//! What the whole-system tests stand on: the real daemon in a place of its own, real devices, and nothing left behind.
//!
//! Everything here fails by panicking: a test that cannot be set up must not pass. What a test made is taken away again
//! when it ends, however it ends, by the value that made it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "support of tests: it fails by panicking and tells what it skips"
)]

pub mod abuse;
mod appliance;
pub mod attach_bench;
pub mod attach_soak;
mod binaries;
mod certificates;
mod chance;
mod cloud_site;
pub mod cloudstack;
pub mod crash_matrix;
mod footprint;
mod holder;
mod hypervisor;
pub mod load_bench;
mod loop_hypervisor;
mod loops;
mod manual_pages;
mod marker;
mod mount;
mod plain_http;
pub mod power_cuts;
mod privilege;
mod raw;
pub mod recovery_bench;
mod refusal;
pub mod swap_attack;
mod tool;
mod vcenter;
pub mod virtual_machine;
mod virtual_site;
mod wait;

pub use appliance::{Appliance, Setup, VM};
pub use binaries::binary;
pub use certificates::{NBD_CERTIFICATES, make_certificate, nbd_certificates};
pub use chance::Chance;
pub use cloud_site::{CloudSite, write_credentials};
pub use footprint::Footprint;
pub use holder::Holder;
pub use hypervisor::{Disk, Hypervisor, HypervisorError};
pub use loop_hypervisor::{LoopHypervisor, Unplug};
pub use loops::{StackedLoop, backing_file, detach_within, loops_within, set_capacity};
pub use manual_pages::write_pages;
pub use marker::{count_markers, read_marker, write_marker, write_marker_at};
pub use mount::Mount;
pub use plain_http::plain_http;
pub use privilege::is_root;
pub use raw::{Answer, Raw};
pub use refusal::{code_of, failed_operation};
pub use tool::{Outcome, run, volumectl, volumed};
pub use vcenter::{VCENTER_PASSWORD, VCENTER_USER, Vcenter};
pub use virtual_site::{SOCKET, VirtualSite};
pub use wait::wait_until;
