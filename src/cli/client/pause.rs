//! `hookbox pause` and `hookbox resume`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use jiff::Timestamp;
use serde::Deserialize;

use super::act::Why;
use super::complete::{routes, sources};
use super::dates::relative;
use super::safe::{json_line, safe};
use super::server::{ServerFlags, block_on};
use super::tell::{Format, parse};
use crate::cli::Failure;
use crate::cli::output::print;
use crate::client::Client;

/// The options of `hookbox pause` and `hookbox resume`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Paused {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

/// What is paused.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// The jobs of this route
    #[arg(long, add = ArgValueCandidates::new(routes))]
    route: Option<String>,
    /// The jobs of webhooks from this source
    #[arg(long, add = ArgValueCandidates::new(sources))]
    source: Option<String>,
    /// Every job
    #[arg(long)]
    all: bool,
}

#[derive(Deserialize)]
struct Pause {
    since: String,
}

#[derive(Deserialize)]
struct Resumed {
    was_paused: bool,
}

impl Paused {
    pub(super) fn pause(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let answer = self.ask(&client, "pause")?;
        self.print(&answer, || {
            let Pause { since } = parse(&client, &answer)?;
            Ok(format!("{} paused since {}", self.target, safe(&since)))
        })
    }

    pub(super) fn resume(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let answer = self.ask(&client, "resume")?;
        self.print(&answer, || {
            let Resumed { was_paused } = parse(&client, &answer)?;
            let what = &self.target;
            Ok(match (was_paused, &what.route) {
                (true, _) => format!("{what} resumed"),
                (false, Some(_)) => format!("{what} not paused; its breaker is closed"),
                (false, None) => format!("{what} not paused; nothing has changed"),
            })
        })
    }

    fn ask(&self, client: &Client, action: &str) -> Result<String, Failure> {
        let Target { route, source, all: _ } = &self.target;
        let route = route.as_deref().map(|route| ("route", route));
        let source = source.as_deref().map(|source| ("source", source));
        let query = route.into_iter().chain(source).chain(self.why.parameter()).collect::<Vec<_>>();
        block_on(async { Ok(client.post(&["v1", action], &query).await?) })
    }

    fn print(
        &self,
        answer: &str,
        text: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<ExitCode, Failure> {
        let line = if self.format.json { json_line(answer) } else { text()? };
        print(format_args!("{line}\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Since when something is paused, by whom and why, in a few words.
pub(super) fn paused(since: &str, by: Option<&str>, why: Option<&str>, now: Timestamp) -> String {
    let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    format!("paused {}{by}{why}", relative(since, now))
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.route, &self.source) {
            (Some(route), _) => write!(f, "the route {} is", safe(route)),
            (None, Some(source)) => write!(f, "the source {} is", safe(source)),
            (None, None) => f.write_str("everything is"),
        }
    }
}
