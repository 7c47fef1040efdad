//! `hookbox config` prints the settings in force; `hookbox config check` prints every mistake in them.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;
use super::output::print;
use super::settings::SettingFlags;
use crate::app::known_handlers;
use crate::clock::SystemClock;
use crate::config::{Config, Listening};
use crate::domain::clock::Clock as _;
use crate::worker::handler::Registry;

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
    pub(super) fn run(self, own: &Registry) -> Result<ExitCode, Failure> {
        let (flags, is_check) = match self.command {
            Some(Command::Check(flags)) => (flags, true),
            None => (self.flags, false),
        };
        let layers = flags.layers()?;
        layers.warnings().iter().for_each(warn);
        let handlers = known_handlers(own);
        if is_check {
            let config = Config::protected(&layers, &handlers, Listening::from_start(&layers))?;
            let not_valid = config.tls.as_ref().and_then(|tls| tls.loaded.not_valid(SystemClock.now()));
            not_valid.iter().for_each(warn);
            let counted = |count: usize, what: &str| {
                let plural = if count == 1 { "" } else { "s" };
                format!("{count} {what}{plural}")
            };
            let routes = counted(config.routes.policies().iter().count(), "route");
            let sources = counted(config.sources.map().len(), "source");
            print(format_args!("the settings are fine: {routes}, {sources}\n"))?;
        } else {
            let config = Config::new(&layers, &handlers)?;
            print(format_args!("{}", config.text))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn warn(warning: impl fmt::Display) {
    // If standard error is closed, the warning is lost.
    drop(writeln!(std::io::stderr(), "warning: {warning}"));
}
