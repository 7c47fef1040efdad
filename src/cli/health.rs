//! `hookbox health`: asks a running hookbox whether it is ready or alive, for the health check of a container.

use std::process::ExitCode;

use clap::Args;

use super::ask::ask;
use super::output::print;
use super::settings::SettingFlags;
use super::{Failure, note};
use crate::config::Reach;
use crate::tls::ServerCheck;

/// The options of `hookbox health`.
#[derive(Clone, Debug, Args)]
pub(super) struct Health {
    /// Ask only whether the process is alive, which does not depend on the database
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

impl Health {
    /// Prints the answer of `GET /readyz`, or of `GET /healthz` with `--live`. The exit code is 0 for status 200,
    /// else 1. It depends neither on mistakes in the settings nor on the files of the certificate: hookbox still serves
    /// with those of before, and must not be restarted.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let path = if self.live { "/healthz" } else { "/readyz" };
        let (layers, unread) = self.flags.readable_layers();
        if let Some(unread) = unread {
            note(&format!("{unread}; the flags and the environment say where to ask"));
        }
        let reach = Reach::new(&layers, ServerCheck::Nothing).map_err(Box::new)?;
        let answer = ask(&reach, ServerCheck::Nothing, "GET", path)?;
        print(format_args!("{}\n", answer.body))?;
        Ok(if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
