pub(crate) fn copy(_: &CopyArgs) -> anyhow::Result<std::process::ExitCode> {
    unreachable!()
}
#[derive(clap::Args)]
pub(crate) struct CopyArgs {}
