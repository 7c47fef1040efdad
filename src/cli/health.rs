//! `hookbox health`: what a container's health check runs.

use std::io::Write;
use std::process::ExitCode;

use super::Failure;
use super::ask::ask;
use crate::config::Config;

/// Asks `/readyz`, and prints what it says.
pub(super) fn health(config: &Config) -> Result<ExitCode, Failure> {
    let answer = ask(config, "GET", "/readyz")?;
    writeln!(std::io::stdout().lock(), "{}", answer.body)?;
    Ok(if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
