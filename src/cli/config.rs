//! `hookbox config` prints the settings in force; `hookbox config check` prints every mistake in them.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;
use super::settings::SettingFlags;
use crate::config::{Config, HANDLERS};

/// The options of `hookbox config`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Show {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: SettingFlags,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Check all settings, and print every mistake with its place; exit code 0 if there is none, else 64
    Check(SettingFlags),
}

impl Show {
    /// Prints the settings in force, each with its origin, or checks them.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let (flags, is_check) = match self.command {
            Some(Command::Check(flags)) => (flags, true),
            None => (self.flags, false),
        };
        let layers = flags.layers()?;
        // If standard error is closed, the warnings are lost.
        layers.warnings().iter().for_each(|warning| drop(writeln!(std::io::stderr(), "warning: {warning}")));
        let config = Config::new(&layers, HANDLERS)?;
        let mut out = std::io::stdout().lock();
        let written = match is_check {
            true => {
                let routes = config.routes.policies().iter().count();
                writeln!(out, "the settings are fine: {routes} route{}", if routes == 1 { "" } else { "s" })
            }
            false => write!(out, "{layers}{}", config.routes_text()),
        };
        match written {
            // Not an error: a reader such as `head` has closed the pipe.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            written => Ok(written.map(|()| ExitCode::SUCCESS)?),
        }
    }
}
