//! What every source of replications keeps to, by the words of `source/replicable.rs`: one suite over all of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod copying;
mod files;
mod fixture;
mod folders;
mod image;
mod library;
mod listing;
mod lost;
mod ova;
mod package;
#[path = "../vsphere/site.rs"]
#[expect(
    dead_code,
    clippy::cast_possible_truncation,
    reason = "the client's own tests ask more of it; its disks are small"
)]
mod site;
mod unknown;
mod vsphere;

/// A test of each rule for one source.
macro_rules! held_to {
    ($source:ident, $fixture:expr; $($rule:ident),+ $(,)?) => {
        mod $source {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $rule() {
                    if let Some(fixture) = $fixture {
                        crate::contract::$rule(&fixture).await;
                    }
                }
            )+
        }
    };
}

macro_rules! sources {
    ($($source:ident: $fixture:expr),+ $(,)?) => {
        $(
            held_to! { $source, $fixture;
                a_machine_is_found_by_path_id_and_name,
                discovery_is_fresh_each_time,
                what_is_not_one_machine_to_copy_is_told_apart,
                one_cycle_frozen_twice_is_one_content,
                what_changed_since_a_mark_covers_every_changed_byte,
                marks_of_something_else_lead_to_all_of_the_disk,
                a_disk_that_grew_is_copied_whole,
                a_reader_reads_what_was_frozen,
                every_disk_is_copied_to_its_own_digest,
                a_change_under_the_reader_is_noticed,
                a_release_may_be_repeated_and_leaves_nothing,
                what_a_lost_cycle_left_is_removed_and_nothing_of_others,
                a_freeze_that_fails_leaves_nothing_or_says_so,
                secrets_are_told_to_nobody,
            }
        )+
    };
}

sources! {
    vcenter: Some(crate::vsphere::Vsphere::start(&[]).await),
    esxi: Some(crate::vsphere::Vsphere::start(&["-esx"]).await),
    vcenter_by_library: crate::vsphere::Vsphere::start_with_library(&[]).await,
    esxi_by_library: crate::vsphere::Vsphere::start_with_library(&["-esx"]).await,
    ova_package: crate::ova::start(),
    raw_image: crate::image::raw(),
    qcow2_image: crate::image::qcow2(),
}
