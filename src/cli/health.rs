//! `hookbox health`: asks a running hookbox whether it is ready, for the health check of a container.

use std::process::ExitCode;

use super::Failure;
use super::ask::ask;
use super::output::print;
use crate::config::Config;

/// Prints the answer of `GET /readyz`. The exit code is 0 for status 200, else 1.
pub(super) fn health(config: &Config) -> Result<ExitCode, Failure> {
    let answer = ask(config, "GET", "/readyz")?;
    print(format_args!("{}\n", answer.body))?;
    Ok(if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
