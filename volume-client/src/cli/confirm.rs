//! Consent to what cannot be undone: given on the command line, or asked for on a terminal, never assumed.

use std::io::{self, IsTerminal, Write};

use super::failure::Failure;

/// Whether the person agreed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// By `--yes`.
    Given,
    /// Not yet.
    Asked,
}

impl Consent {
    /// Goes on only if the person agrees.
    pub(super) fn obtain(self, question: &str) -> Result<(), Failure> {
        if self == Self::Given {
            return Ok(());
        }
        let answer = ask(&format!("{question} [y/N] "), "add --yes if you are sure")?;
        match answer.as_str() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::Declined),
        }
    }
}

/// One line from the terminal. Where there is none, that is wrong usage, with the way to do without.
pub(super) fn ask(question: &str, without_terminal: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage {
            error: "this needs to be confirmed, and there is no terminal to ask on".to_owned(),
            hint: Some(without_terminal.to_owned()),
        });
    }
    let mut err = io::stderr().lock();
    write!(err, "{question}")?;
    err.flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
