//! `manual-pages DIR`: writes the manual pages and completions that packages bring; started by `cargo xtask dist`.

use std::path::PathBuf;

use clap::Parser;

#[derive(Parser)]
struct Options {
    /// Where a folder for each program is made
    dir: PathBuf,
}

fn main() -> std::io::Result<()> {
    whole_system_tests::write_pages(&Options::parse().dir)
}
