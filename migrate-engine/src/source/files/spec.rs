//! A package or an image in the words that all sources share. Pure.

use std::error::Error;
use std::path::Path;

use super::find::Candidate;
use crate::model::{DiskSpec, MachineSpec, NetworkSpec};
use crate::source::{Firmware, SourceDisk, SourceFailure, SourceMachine, SourceNetwork, stem};

pub(super) fn of(file: &Candidate, machine: &SourceMachine) -> MachineSpec {
    MachineSpec {
        name: machine.name.clone(),
        cpus: machine.cpus.unwrap_or_default(),
        memory_mb: machine.memory_mb.unwrap_or_default(),
        firmware: machine.firmware.map(|firmware| {
            match firmware {
                Firmware::Bios => "bios",
                Firmware::Efi => "efi",
            }
            .to_owned()
        }),
        disks: machine.disks.iter().map(disk).collect(),
        networks: machine.networks.iter().map(network).collect(),
        notes: machine.notes.clone(),
        ..place(file)
    }
}

/// A file that is no machine to be replicated, and why.
pub(super) fn refused(file: &Candidate, why: &SourceFailure) -> MachineSpec {
    let mut problem = why.to_string();
    let mut cause = why.source();
    while let Some(error) = cause {
        problem = format!("{problem}: {error}");
        cause = error.source();
    }
    MachineSpec {
        name: stem(&file.path),
        problem: Some(problem),
        ..place(file)
    }
}

fn place(file: &Candidate) -> MachineSpec {
    MachineSpec {
        id: file.id.clone(),
        path: shown(&file.path),
        ..MachineSpec::default()
    }
}

fn disk(disk: &SourceDisk) -> DiskSpec {
    DiskSpec {
        id: disk.disk_id.clone(),
        path: disk.path.as_deref().map(shown),
        capacity_bytes: disk.capacity_bytes,
        datastore: None,
        label: disk.label.clone(),
        provisioning: "unknown".to_owned(),
    }
}

fn network(card: &SourceNetwork) -> NetworkSpec {
    NetworkSpec {
        label: card.label.clone(),
        network_name: card.network_name.clone(),
        network_type: "unknown".to_owned(),
        adapter_type: card.adapter_type.clone().unwrap_or_default(),
        mac_address: card.mac_address.clone(),
        is_connected: card.network_name.is_some(),
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
