//! `hookbox retry`, `cancel`, `release` and `discard`: act on a webhook.

use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::complete::routes;
use super::names::{Named, not_empty};
use super::safe::{json_line, safe};
use super::server::{ServerFlags, block_on};
use super::tell::{Format, print_status};
use crate::cli::Failure;
use crate::cli::output::print;
use crate::client::Client;
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;

/// Why an operator acts.
#[derive(Clone, Debug, Args)]
pub(super) struct Why {
    /// Why, in your own words, for the list of actions
    #[arg(long)]
    pub(super) reason: Option<String>,
}

/// The options of `hookbox retry` and `hookbox cancel`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct OnJobs {
    #[command(flatten)]
    webhook: Named,
    /// Act only on the job of this route
    #[arg(long, add = ArgValueCandidates::new(routes))]
    route: Option<String>,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

/// The options of `hookbox release` and `hookbox discard`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct OnQuarantined {
    /// The id of the webhook
    #[arg(value_name = "ID", value_parser = not_empty)]
    id: String,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

impl Why {
    /// The parameter of a call; none if no reason is given.
    pub(super) fn parameter(&self) -> Option<(&str, &str)> {
        self.reason.as_deref().map(|reason| ("reason", reason))
    }
}

impl OnJobs {
    /// Acts, and prints the status after it. `action` is the last part of the path.
    pub(super) fn run(&self, action: &str) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let by_id = [action];
        let (path, mut query) = self.webhook.call(&by_id, action);
        query.extend(self.route.as_deref().map(|route| ("route", route)));
        query.extend(self.why.parameter());
        let answer = block_on(async { Ok(client.post(&path, &query).await?) })?;
        print_status(&client, &answer, self.format, SystemClock.now())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl OnQuarantined {
    /// Releases the webhook, and prints its status after it.
    pub(super) fn release(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let answer = self.ask(&client, "release")?;
        print_status(&client, &answer, self.format, SystemClock.now())?;
        Ok(ExitCode::SUCCESS)
    }

    /// Removes the webhook.
    pub(super) fn discard(&self) -> Result<ExitCode, Failure> {
        let answer = self.ask(&self.server.client()?, "discard")?;
        if self.format.json {
            print(format_args!("{}\n", json_line(&answer)))?;
        } else {
            print(format_args!("the webhook {} is removed\n", safe(&self.id)))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn ask(&self, client: &Client, action: &str) -> Result<String, Failure> {
        let query = self.why.parameter().into_iter().collect::<Vec<_>>();
        block_on(async { Ok(client.post(&["v1", "webhooks", &self.id, action], &query).await?) })
    }
}
