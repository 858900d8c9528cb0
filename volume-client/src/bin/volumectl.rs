//! `volumectl`: the volume daemon from the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    volume_client::cli::main()
}
