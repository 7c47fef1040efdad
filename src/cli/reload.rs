//! `hookbox reload`: tells a running hookbox to read its settings again.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::ask::{Answer, ask, is_of_another_certificate};
use super::output::print;
use super::settings::SettingFlags;
use super::{Failure, note};
use crate::config::{EXIT_USAGE, Reach, TOKEN_VARIABLE};
use crate::domain::clock::Signal;
use crate::tls::{LOOK_EVERY, ServerCheck};

/// The pause before another try while the server has another certificate than the settings.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// How many tries follow the first one: until the server has looked at the files, and two more.
const TRIES: u64 = LOOK_EVERY.as_secs() / TRY_EVERY.as_secs() + 2;

/// The options of `hookbox reload`.
#[derive(Clone, Debug, Args)]
pub(super) struct Reload {
    /// How many tries follow the first one while the server has another certificate. For tests
    #[arg(long, hide = true, default_value_t = TRIES)]
    further_tries: u64,
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
    /// Requests a reload, and prints its result or the mistakes in the settings, as far as the answer has them. The exit
    /// code is 64 if the settings have mistakes, and 1 for any other error.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let answer = self.answer(&Reach::new(&self.flags.layers()?, ServerCheck::Own)?)?;
        if answer.status != 200 {
            let detail =
                serde_json::from_str::<Problem>(&answer.body).map_or(answer.body, |problem| problem.detail);
            note(&detail);
            if answer.status == 401 {
                note(&format!(
                    "if admin_token has changed, set {TOKEN_VARIABLE} to the one in force, or send SIGHUP"
                ));
            }
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

    /// The answer of the server. While it has another certificate than the settings, tries again: it may not have looked at
    /// new files yet.
    fn answer(&self, reach: &Reach) -> Result<Answer, Failure> {
        let mut left = self.further_tries;
        loop {
            match ask(reach, ServerCheck::Own, "POST", "/v1/settings/reload") {
                Err(failure) if left > 0 && is_of_another_certificate(&failure) => {
                    if left == self.further_tries {
                        let seconds = LOOK_EVERY.as_secs();
                        note(&format!(
                            "the server has another certificate than the settings; it reads new files within {seconds} s, \
                             so this command tries again"
                        ));
                    }
                    left -= 1;
                    Signal::default().wait(Some(TRY_EVERY));
                }
                answered => return answered,
            }
        }
    }
}
