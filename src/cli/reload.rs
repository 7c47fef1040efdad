//! `hookbox reload`: has a running hookbox read its settings anew.

use std::io::Write;
use std::process::ExitCode;

use serde::Deserialize;

use super::Failure;
use super::ask::ask;
use crate::config::{Config, EXIT_USAGE};

/// The answer of `POST /v1/settings/reload`.
#[derive(Deserialize)]
struct Reloaded {
    routes: u32,
    needs_restart: Vec<String>,
}

/// A refusal.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// Asks for a reload, and prints what it did, or every mistake in the settings.
pub(super) fn reload(config: &Config) -> Result<ExitCode, Failure> {
    let answer = ask(config, "POST", "/v1/settings/reload")?;
    if answer.status != 200 {
        let detail =
            serde_json::from_str::<Problem>(&answer.body).map_or(answer.body, |problem| problem.detail);
        // Where standard error is closed, nothing can be told.
        let _ = writeln!(std::io::stderr(), "hookbox: {detail}");
        return Ok(ExitCode::from(if answer.status == 422 { EXIT_USAGE } else { 1 }));
    }
    let reloaded = serde_json::from_str::<Reloaded>(&answer.body).map_err(Box::new)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "the settings are reloaded; routes in force: {}", reloaded.routes)?;
    for name in reloaded.needs_restart {
        writeln!(out, "{name} was changed too; it takes effect at the next start")?;
    }
    Ok(ExitCode::SUCCESS)
}
