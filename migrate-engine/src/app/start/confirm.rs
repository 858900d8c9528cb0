//! The question before anything starts.

use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::{Context as _, ensure};

use super::super::human;
use super::Consent;

/// Whether it may begin.
///
/// # Errors
/// Where nobody can be asked.
pub(super) async fn confirmed(consent: Consent, machines: usize) -> anyhow::Result<bool> {
    if consent == Consent::Given {
        return Ok(true);
    }
    ensure!(
        io::stdin().is_terminal() && io::stderr().is_terminal(),
        "nothing was started: there is no terminal to ask on whether this is meant; give --yes where it is"
    );
    human::ask(&match machines {
        1 => "Start the replication? [y/N] ".to_owned(),
        number => format!("Start {number} replications? [y/N] "),
    });
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer
        .await
        .context("the question could not be asked")?
        .context("cannot read the answer")?;
    Ok(is_yes(&answer))
}

/// Only what is surely meant; no answer is none.
fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y\n", "Y", " yes \n", "YES"].iter().all(|answer| is_yes(answer)));
        assert!(
            ["", "\n", "n", "no", "yess", "1", "j"]
                .iter()
                .all(|answer| !is_yes(answer))
        );
    }
}
