//! `hookbox reload`: tells a running hookbox to read its settings again.

use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use super::ask::ask;
use super::output::print;
use super::settings::SettingFlags;
use super::{Failure, note};
use crate::config::{EXIT_USAGE, Reach};
use crate::tls::ServerCheck;

/// The options of `hookbox reload`.
#[derive(Clone, Debug, Args)]
pub(super) struct Reload {
    #[command(flatten)]
    flags: SettingFlags,
}

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

impl Reload {
    /// Requests a reload, and prints its result or every mistake in the settings. The exit code is 64 if the
    /// settings have mistakes, and 1 for any other error.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let reach = Reach::new(&self.flags.layers()?, ServerCheck::Own)?;
        let answer = ask(&reach, ServerCheck::Own, "POST", "/v1/settings/reload")?;
        if answer.status != 200 {
            let detail =
                serde_json::from_str::<Problem>(&answer.body).map_or(answer.body, |problem| problem.detail);
            note(&detail);
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
}
