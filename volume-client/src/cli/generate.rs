//! `volumectl completions` and `volumectl man`: made from the very definition of the command line.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Args;
use super::failure::Failure;

pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    // Rendered first: clap_complete panics when it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "volumectl", &mut text);
    io::stdout().lock().write_all(&text)?;
    Ok(())
}

/// The main page on standard output, or in `out` a page for each verb (`volumectl-volumes-create.1`).
pub(super) fn man(out: Option<&Path>) -> Result<(), Failure> {
    match out {
        None => clap_mangen::Man::new(Args::command()).render(&mut io::stdout().lock())?,
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            clap_mangen::generate_to(Args::command(), dir)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_verb_has_a_page_and_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        man(Some(dir.path())).unwrap();
        let mut command = Args::command();
        command.build();
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let page = dir.path().join(format!("volumectl-{}.1", verb.get_name()));
            let text = std::fs::read_to_string(&page).unwrap();
            assert!(text.contains(verb.get_name()), "{}", page.display());
            for under in verb.get_subcommands().filter(|under| under.get_name() != "help") {
                let page = format!("volumectl-{}-{}.1", verb.get_name(), under.get_name());
                assert!(dir.path().join(&page).exists(), "{page}");
            }
        }
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "volumectl", &mut text);
            let text = String::from_utf8(text).unwrap();
            for verb in command.get_subcommands() {
                assert!(text.contains(verb.get_name()), "{shell}: {}", verb.get_name());
            }
        }
    }
}
