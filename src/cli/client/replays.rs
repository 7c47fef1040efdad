//! `hookbox replays`: lists the replays, shows or watches one, or ends it. `hookbox replay` starts one.

mod ask;
mod start;
mod told;
mod wait;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(super) use self::start::StartReplay;
use self::told::Replay;
use self::wait::to_the_end;
use super::act::Why;
use super::interrupt::Interrupt;
use super::pages::{Pages, Rows};
use super::server::{ServerFlags, block_on};
use super::tell::Format;
use crate::cli::Failure;

/// The options of `hookbox replays`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct Replays {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    pages: Pages,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Print a replay: its filter, state and progress
    Show(Numbered),
    /// Wait until a replay has ended; on a terminal, show its progress
    Watch(Numbered),
    /// Cancel a running replay. Jobs that it has restarted still run
    Cancel {
        #[command(flatten)]
        replay: Numbered,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Clone, Debug, Args)]
struct Numbered {
    /// The number of the replay
    number: u64,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

impl Replays {
    /// Prints the replays, or acts on one. The exit code of `watch` is 1 if the replay is cancelled in the end.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        match &self.command {
            None => {
                let client = self.server.client()?;
                let rows = Rows { table: told::table, add: told::add };
                return block_on(self.pages.print(&client, "replays", &[], self.format, rows));
            }
            Some(Command::Show(replay)) => replay.show()?,
            Some(Command::Watch(replay)) => return replay.watch(),
            Some(Command::Cancel { replay, why }) => replay.cancel(why)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Numbered {
    fn show(&self) -> Result<(), Failure> {
        let client = self.server.client()?;
        let replay = block_on(async { Ok(Replay::get(&client, self.number).await?) })?;
        replay.print_facts(self.format)
    }

    fn watch(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        block_on(async {
            let replay = Replay::get(&client, self.number).await?;
            let mut interrupt = Interrupt::new()?;
            to_the_end(&client, replay, None, self.format, &mut interrupt).await
        })
    }

    fn cancel(&self, why: &Why) -> Result<(), Failure> {
        let client = self.server.client()?;
        let (number, query) = (self.number.to_string(), why.parameter().into_iter().collect::<Vec<_>>());
        let path = ["v1", "replays", number.as_str(), "cancel"];
        let answer = block_on(async { Ok(client.post(&path, &query).await?) })?;
        Replay::read(&client, answer)?.print_end(self.format)
    }
}
