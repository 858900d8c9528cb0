//! What the commands say to the person at the terminal: steps, facts, warnings, questions.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "talking to a person is what this module is for"
)]

use std::io::{self, BufRead, IsTerminal, Write};

/// Announces the next step.
pub(crate) fn step(text: &str) {
    if io::stdout().is_terminal() {
        println!("\x1b[1m==> {text}\x1b[0m");
    } else {
        println!("==> {text}");
    }
}

/// One line of ordinary output.
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Something the reader should know although the work goes on.
pub(crate) fn warn(text: &str) {
    eprintln!("warning: {text}");
}

/// Why the command failed.
pub(crate) fn error(text: &str) {
    eprintln!("error: {text}");
}

/// Prints `text` as it is, indented, so that another program's words stand apart from ours.
pub(crate) fn quote(text: &str) {
    for line in text.lines() {
        println!("    {line}");
    }
}

/// Whether somebody is there to answer a question.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Asks a yes/no question; anything but a clear yes is a no.
pub(crate) fn confirm(question: &str) -> io::Result<bool> {
    print!("{question} [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
