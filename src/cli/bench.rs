//! placeholder
pub(super) mod limit;
use super::Failure;
use std::process::ExitCode;
#[derive(Debug, clap::Args)]
pub(super) struct Bench {}
impl Bench {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        Ok(ExitCode::SUCCESS)
    }
}
