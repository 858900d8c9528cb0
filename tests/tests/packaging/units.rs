//! The units: how exposed they leave the machine, whether systemd takes them, and what the drop-ins of the examples change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::root;

/// Each service and the most that `systemd-analyze security` may say of it, in tenths (docs/systemd.md).
const EXPOSURE: [(&str, u32); 3] = [
    ("volumed.service", 20),
    ("migrate-engine.service", 15),
    ("migrate-engine-worker.service", 15),
];
/// The folder of the drop-ins, and of which unit each one is.
const EXAMPLES: [(&str, &str); 4] = [
    ("volumed-cloudstack.conf", "volumed.service"),
    ("migrate-engine-network.conf", "migrate-engine.service"),
    ("migrate-engine-to-device.conf", "migrate-engine.service"),
    ("migrate-engine-nbd-server.conf", "migrate-engine.service"),
];

/// `systemd-analyze`, where the machine has it; in CI it has to be there.
fn analyze(arguments: &[&str], units: &[PathBuf]) -> Option<Output> {
    let ran = Command::new("systemd-analyze")
        .args(["--no-pager", "--man=no"])
        .args(arguments)
        .args(units)
        .env("LC_ALL", "C")
        .output();
    match ran {
        Ok(output) => Some(output),
        Err(error) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => {
            panic!("systemd-analyze: {error}")
        }
        Err(error) => {
            eprintln!("SKIPPED: systemd-analyze: {error} (cargo xtask install-deps)");
            None
        }
    }
}

fn said(output: &Output) -> String {
    [output.stdout.as_slice(), &output.stderr]
        .concat()
        .split(|byte| *byte == b'\n')
        .map(String::from_utf8_lossy)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The units in a folder of their own, with programs that are here, which they are asked for.
fn installed() -> (TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for entry in fs::read_dir(root().join("systemd")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".service") || name.ends_with(".socket") {
            let text = fs::read_to_string(entry.path()).unwrap();
            let path = dir.path().join(&name);
            fs::write(&path, with_programs_that_are_here(&text)).unwrap();
            units.push(path);
        }
    }
    assert!(units.len() >= 5, "{units:?}");
    (dir, units)
}

fn with_programs_that_are_here(unit: &str) -> String {
    unit.replace("/usr/bin/volumed", "/bin/true")
        .replace("/usr/bin/migrate-engine", "/bin/true")
}

fn is_within(unit: &Path, tenths: u32) -> Option<Result<(), String>> {
    let threshold = format!("--threshold={tenths}");
    let output = analyze(&["security", "--offline=true", &threshold], &[unit.to_owned()])?;
    Some(match output.status.success() {
        true => Ok(()),
        false => Err(said(&output)),
    })
}

#[test]
fn services_are_no_more_exposed_than_promised() {
    let (_dir, units) = installed();
    for (name, tenths) in EXPOSURE {
        let unit = units.iter().find(|unit| unit.ends_with(name)).unwrap();
        if let Some(Err(report)) = is_within(unit, tenths) {
            panic!("{name} is more exposed than {tenths} tenths:\n{report}");
        }
    }
}

#[test]
fn a_unit_that_lets_go_of_its_protection_is_noticed() {
    let (dir, _) = installed();
    let name = "volumed.service";
    let text = fs::read_to_string(dir.path().join(name)).unwrap();
    let open = text
        .replace("ProtectSystem=strict\n", "")
        .replace("User=volumed\n", "");
    fs::write(dir.path().join(name), open).unwrap();
    if let Some(judged) = is_within(&dir.path().join(name), 20) {
        assert!(judged.is_err(), "a daemon as root with the system open passes");
    }
}

#[test]
fn systemd_takes_every_unit_with_and_without_the_examples() {
    let (dir, units) = installed();
    check_verified(&units, "as delivered");
    for (example, unit) in EXAMPLES {
        let text = fs::read_to_string(root().join("systemd/examples").join(example)).unwrap();
        let folder = dir.path().join(format!("{unit}.d"));
        fs::create_dir_all(&folder).unwrap();
        let place = folder.join(example);
        fs::write(&place, with_programs_that_are_here(&text)).unwrap();
        check_verified(&units, example);
        fs::remove_file(place).unwrap();
    }
}

/// A line of complaint is a failure, also where systemd goes on without the setting.
fn check_verified(units: &[PathBuf], with: &str) {
    let Some(output) = analyze(&["verify"], units) else {
        return;
    };
    let complaints: Vec<_> = said(&output)
        .lines()
        .filter(|line| {
            units
                .iter()
                .any(|unit| line.contains(&*unit.file_name().unwrap().to_string_lossy()))
                || line.contains(with)
        })
        .map(str::to_owned)
        .collect();
    assert!(complaints.is_empty(), "{with}: {complaints:#?}");
    assert!(output.status.success(), "{with}: {}", said(&output));
}

#[test]
fn every_unit_and_example_is_known_here() {
    let listed = |folder: &str, ending: &str| -> Vec<String> {
        let entries = fs::read_dir(root().join(folder)).unwrap().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| name.ends_with(ending))
            .collect();
        names.sort();
        names
    };
    let mut services: Vec<_> = EXPOSURE.iter().map(|(name, _)| (*name).to_owned()).collect();
    services.sort();
    assert_eq!(listed("systemd", ".service"), services);
    let mut examples: Vec<_> = EXAMPLES.iter().map(|(name, _)| (*name).to_owned()).collect();
    examples.sort();
    assert_eq!(listed("systemd/examples", ".conf"), examples);
}
