use super::super::Failure;
use std::process::ExitCode;
pub(in crate::cli) fn serve() -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
