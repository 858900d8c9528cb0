//! Machines as a table, with the serial numbers by which they are selected.

use super::table::Table;
use crate::model::{MachineSpec, Size};

/// The whole list, numbered from 1.
pub(super) fn listed(machines: &[MachineSpec]) -> String {
    numbered(
        machines
            .iter()
            .enumerate()
            .map(|(index, machine)| (index + 1, machine)),
    )
}

/// Some of a list with their numbers in it, one line each, and what is wrong with them.
pub(super) fn numbered<'a>(machines: impl Iterator<Item = (usize, &'a MachineSpec)>) -> String {
    let mut table = Table::new([
        "#", "NAME", "POWER", "CPUS", "MEMORY", "DISKS", "SIZE", "GUEST", "PATH",
    ]);
    let given = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    for (serial, machine) in machines {
        table.row([
            serial.to_string(),
            machine.name.clone(),
            given(&machine.power_state),
            machine.cpus.to_string(),
            Size(machine.memory_mb << 20).to_string(),
            machine.disks.len().to_string(),
            Size(capacity(machine)).to_string(),
            given(&machine.guest_os),
            machine.path.clone(),
        ]);
        for said in machine.problem.iter().chain(&machine.notes) {
            table.remark(said);
        }
    }
    table.to_string()
}

/// What its disks hold together, in bytes.
pub(super) fn capacity(machine: &MachineSpec) -> u64 {
    let sizes = machine.disks.iter().filter_map(|disk| disk.capacity_bytes);
    sizes.fold(0, u64::saturating_add)
}

/// `3 machines, 5 disks, 120 GiB`.
pub(super) fn totals<'a>(machines: impl Iterator<Item = &'a MachineSpec> + Clone) -> String {
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    };
    let disks = machines.clone().map(|machine| machine.disks.len()).sum();
    let bytes = machines.clone().map(capacity).fold(0, u64::saturating_add);
    format!(
        "{}, {}, {}",
        count(machines.count(), "machine"),
        count(disks, "disk"),
        Size(bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DiskSpec;

    #[test]
    fn machines_have_numbers_and_what_is_wrong_is_below_them() {
        let web = MachineSpec {
            name: "web\x1b[31m".to_owned(),
            path: "/DC/vm/web".to_owned(),
            cpus: 2,
            memory_mb: 1024,
            disks: vec![DiskSpec {
                capacity_bytes: Some(10 << 30),
                ..DiskSpec::default()
            }],
            ..MachineSpec::default()
        };
        let db = MachineSpec {
            name: "db".to_owned(),
            problem: Some("it has no disk".to_owned()),
            ..MachineSpec::default()
        };
        let machines = [web, db];
        let text = listed(&machines);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("#  NAME"), "{text}");
        assert!(
            lines[1].starts_with("1  web?[31m") && lines[1].ends_with("/DC/vm/web"),
            "{text}"
        );
        assert!(lines[2].starts_with("2  db"), "{text}");
        assert_eq!(lines[3], "    ! it has no disk");
        assert_eq!(totals(machines.iter()), "2 machines, 1 disk, 10 GiB");
        let seventh = numbered([(7, &machines[1])].into_iter());
        assert!(seventh.contains("\n7  db"), "{seventh}");
    }
}
