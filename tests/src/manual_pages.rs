//! Manual pages and completions of all programs, made from the very definitions of their command lines.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

/// What the file of a program's completions is called.
type FileName = fn(&str) -> String;

/// What a package brings of each shell's completions: the shell, its folder, and what the file is called.
const SHELLS: [(Shell, &str, FileName); 3] = [
    (Shell::Bash, "bash", str::to_owned),
    (Shell::Zsh, "zsh", |name| format!("_{name}")),
    (Shell::Fish, "fish", |name| format!("{name}.fish")),
];

/// Writes `man/PROGRAM.1`, a page for each verb, and `bash/`, `zsh/` and `fish/` into a folder of each program below `to`.
/// Files that are there are replaced.
///
/// # Errors
/// Where a file cannot be written.
pub fn write_pages(to: &Path) -> io::Result<()> {
    for program in programs() {
        let name = program.get_name().to_owned();
        let folder = to.join(&name);
        fs::create_dir_all(folder.join("man"))?;
        clap_mangen::generate_to(program.clone(), folder.join("man"))?;
        for (shell, folder_of, file) in SHELLS {
            let folder = folder.join(folder_of);
            fs::create_dir_all(&folder)?;
            let mut file = File::create(folder.join(file(&name)))?;
            clap_complete::generate(shell, &mut program.clone(), &name, &mut file);
        }
    }
    Ok(())
}

fn programs() -> [Command; 3] {
    [
        volumed::cli::command(),
        migrate_engine::cli::command(),
        volume_client::cli::command(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_of_every_program_has_a_page_and_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        write_pages(dir.path()).unwrap();
        for mut program in programs() {
            program.build();
            let name = program.get_name();
            let folder = dir.path().join(name);
            let read = |path: String| {
                fs::read_to_string(folder.join(&path)).unwrap_or_else(|e| panic!("{name}/{path}: {e}"))
            };
            let completions = [
                read(format!("bash/{name}")),
                read(format!("zsh/_{name}")),
                read(format!("fish/{name}.fish")),
            ];
            assert!(read(format!("man/{name}.1")).contains(".SH NAME"));
            let verbs: Vec<_> = program
                .get_subcommands()
                .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
                .collect();
            assert!(verbs.len() > 4, "{name} has verbs");
            for verb in verbs.iter().map(|verb| verb.get_name()) {
                assert!(read(format!("man/{name}-{verb}.1")).contains(".SH SYNOPSIS"));
                for completion in &completions {
                    assert!(completion.contains(verb), "{name} {verb} is not completed");
                }
            }
        }
    }
}
