//! `volumed`: see `volumed --help`.

fn main() -> std::process::ExitCode {
    volumed::cli::main()
}
