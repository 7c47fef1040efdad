//! `hookbox health`: asks a running hookbox whether it is ready or alive, for the health check of a container.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::ask::ask;
use super::output::print;
use super::settings::SettingFlags;
use crate::app::known_handlers;
use crate::config::Config;
use crate::tls::ServerCheck;
use crate::worker::handler::Registry;

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
    /// else 1. With TLS, it does not depend on the files of the certificate: they may be broken, while hookbox still
    /// serves with the certificate of before, and must not be restarted.
    pub(super) fn run(&self, own: &Registry) -> Result<ExitCode, Failure> {
        let path = if self.live { "/healthz" } else { "/readyz" };
        let config = Config::without_tls_files(&self.flags.layers()?, &known_handlers(own))?;
        let answer = ask(&config, ServerCheck::Nothing, "GET", path)?;
        print(format_args!("{}\n", answer.body))?;
        Ok(if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
