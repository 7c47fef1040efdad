//! `hookbox reload`: tells a running hookbox to read its settings again.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Deserialize;

use super::Failure;
use super::ask::ask;
use super::output::print;
use crate::config::{Config, EXIT_USAGE};
use crate::tls::ServerCheck;

/// The response of `POST /v1/settings/reload`.
#[derive(Deserialize)]
struct Reloaded {
    routes: u32,
    needs_restart: Vec<String>,
}

/// A problem document.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// Requests a reload, and prints its result or every mistake in the settings. The exit code is 64 if the
/// settings have mistakes, and 1 for any other error.
pub(super) fn reload(config: &Config) -> Result<ExitCode, Failure> {
    let answer = ask(config, ServerCheck::Own, "POST", "/v1/settings/reload")?;
    if answer.status != 200 {
        let detail =
            serde_json::from_str::<Problem>(&answer.body).map_or(answer.body, |problem| problem.detail);
        // If standard error is closed, only the exit code reports the error.
        let _ = writeln!(std::io::stderr(), "hookbox: {detail}");
        return Ok(ExitCode::from(if answer.status == 422 { EXIT_USAGE } else { 1 }));
    }
    let reloaded = serde_json::from_str::<Reloaded>(&answer.body).map_err(Box::new)?;
    let mut text = format!("the settings are reloaded; routes in force: {}\n", reloaded.routes);
    for name in reloaded.needs_restart {
        text.push_str(&format!("{name} has changed too; the change takes effect at the next start\n"));
    }
    print(text)?;
    Ok(ExitCode::SUCCESS)
}
