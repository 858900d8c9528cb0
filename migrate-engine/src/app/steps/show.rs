//! What a configuration says, without its secrets, and what is still missing.

use std::fmt::Write as _;
use std::path::Path;

use super::super::plain::plain;
use super::super::{Ending, human};
use super::say_notes;
use crate::config::steps::{self, Imported, Login, Steps, StepsFile};

/// Shows it.
///
/// # Errors
/// Where it cannot be read: everything that is wrong is named.
pub fn show(file: &StepsFile) -> anyhow::Result<Ending> {
    tell(file.path(), &file.read()?)?;
    Ok(Ending::Completed)
}

/// Examines a file that another program wrote, and shows it. It is not changed.
///
/// # Errors
/// Where it cannot be used: everything that is wrong is named.
pub fn import(path: &Path) -> anyhow::Result<Ending> {
    let file = StepsFile::at(path)?;
    tell(file.path(), &steps::import(path)?)?;
    human::say(&plain(&format!(
        "it can be used as it is: name it with --config {}, or copy it to ./config.json",
        file.path().display()
    )));
    Ok(Ending::Completed)
}

fn tell(path: &Path, imported: &Imported) -> std::io::Result<()> {
    human::tell(&text(path, &imported.steps))?;
    say_notes(&imported.notes);
    for flaw in &imported.unfinished {
        human::say(&plain(&format!("to do: {flaw}")));
    }
    Ok(())
}

fn text(path: &Path, steps: &Steps) -> String {
    let destination = &steps.destination;
    let selected = match steps.selected_vms.is_empty() {
        true => "none yet".to_owned(),
        false => format!("{} ({} machines)", steps.selected_vms, steps.selected_vms.len()),
    };
    let facts = [
        (
            "1 platforms",
            format!(
                "{} -> {}",
                steps.platforms.source.name(),
                steps.platforms.target.name()
            ),
        ),
        ("2 source", login(&steps.source)),
        ("3 selected", selected),
        ("4 Proxmox VE", login(&destination.proxmox)),
        (
            "4 KVM",
            format!(
                "{}, pool {}",
                login(&destination.kvm),
                destination.kvm_storage_pool
            ),
        ),
        ("storage", steps.storage.clone()),
        ("export root", steps.export_root.display().to_string()),
        ("ovftool", steps.ovftool.display().to_string()),
    ];
    let mut text = format!("{}\n", plain(&path.display().to_string()));
    for (name, value) in facts {
        let _ = writeln!(text, "  {name:<13} {}", plain(&value));
    }
    text
}

/// Whether there is a password, never which.
fn login(login: &Login) -> String {
    let Login { host, user, password } = login;
    if host.is_none() && user.is_none() && password.is_none() {
        return "not filled in".to_owned();
    }
    let given = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    let secret = match password {
        Some(_) => "password set",
        None => "no password",
    };
    format!("{} at {}, {secret}", given(user), given(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    #[test]
    fn everything_is_shown_but_secrets() {
        let steps = Steps {
            source: Login {
                host: Some("esxi1\u{1b}[2J".to_owned()),
                user: None,
                password: Some(Secret::new("hunter2")),
            },
            selected_vms: [1, 3, 5, 6, 7].into_iter().collect(),
            ..Steps::default()
        };
        let text = text(Path::new("/etc/config.json"), &steps);
        assert!(!text.contains("hunter2"));
        for expected in [
            "/etc/config.json\n",
            "1 platforms   esxi -> proxmox",
            "2 source      ? at esxi1?[2J, password set",
            "3 selected    1,3,5-7 (5 machines)",
            "4 Proxmox VE  not filled in",
            "4 KVM         not filled in, pool default",
            "storage       local-lvm",
        ] {
            assert!(text.contains(expected), "{expected}:\n{text}");
        }
    }
}
