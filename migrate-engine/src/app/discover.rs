//! The life of one `migrate-engine discover`: the list goes to standard output.
#![allow(clippy::print_stdout, reason = "this is where the program talks to people")]

use std::io::{self, Write as _};

use super::book::{self, Access};
use super::{Ending, Form, human};
use crate::api;
use crate::model::{MachineSpec, Size};
use crate::source::{Source as _, SourceFailure, Wanted};

/// Lists the machines of a source.
///
/// # Errors
/// Where the list cannot be written.
pub async fn discover(access: &Access, wanted: &Wanted, form: Form) -> anyhow::Result<Ending> {
    let found: Result<_, SourceFailure> = async {
        let source = book::connect(access).await?;
        let found = source.machines(wanted).await;
        source.close().await;
        found
    }
    .await;
    let machines = match found {
        Ok(machines) => machines,
        Err(error) => {
            human::print_error(&error, None);
            return Ok(Ending::Failed);
        }
    };
    let mut out = io::stdout().lock();
    match form {
        Form::Json => writeln!(out, "{}", api::discovered(machines))?,
        Form::Text if machines.is_empty() => {
            human::say("there is no such machine, or this user may not see it")
        }
        Form::Text => write!(out, "{}", table(&machines))?,
    }
    out.flush()?;
    Ok(Ending::Completed)
}

/// The machines with their numbers, one line each, and what is wrong with them.
fn table(machines: &[MachineSpec]) -> String {
    let head = [
        "#", "NAME", "POWER", "CPUS", "MEMORY", "DISKS", "SIZE", "GUEST", "PATH",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for (index, machine) in machines.iter().enumerate() {
        let size: u64 = machine.disks.iter().filter_map(|disk| disk.capacity_bytes).sum();
        rows.push([
            (index + 1).to_string(),
            plain(&machine.name),
            plain(machine.power_state.as_deref().unwrap_or("-")),
            machine.cpus.to_string(),
            Size(machine.memory_mb << 20).to_string(),
            machine.disks.len().to_string(),
            Size(size).to_string(),
            plain(machine.guest_os.as_deref().unwrap_or("-")),
            plain(&machine.path),
        ]);
    }
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
        let machine = index.checked_sub(1).and_then(|index| machines.get(index));
        for said in machine.iter().flat_map(|m| m.problem.iter().chain(&m.notes)) {
            text += &format!("    ! {}\n", plain(said));
        }
    }
    text
}

/// Without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
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
        let text = table(&[web, db]);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("#  NAME"), "{text}");
        assert!(
            lines[1].starts_with("1  web?[31m") && lines[1].ends_with("/DC/vm/web"),
            "{text}"
        );
        assert!(lines[2].starts_with("2  db"), "{text}");
        assert_eq!(lines[3], "    ! it has no disk");
    }
}
