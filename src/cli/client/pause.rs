//! `hookbox pause` and `hookbox resume`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use serde::Deserialize;

use super::act::Why;
use super::complete::{routes, sources};
use super::safe::{json_line, safe};
use super::server::{ServerFlags, block_on};
use super::tell::{Format, parse};
use crate::cli::output::print;
use crate::cli::{Failure, note};
use crate::client::{Client, ClientError};
use crate::domain::error::Reason;
use crate::domain::webhook::Source;

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
        let (answer, unknown) = block_on(async {
            let answer = self.ask(&client, "pause").await?;
            Ok((answer, self.target.unknown_source(&client).await))
        })?;
        let code = self.print(&answer, || {
            let Pause { since } = parse(&client, &answer)?;
            Ok(format!("{} paused since {}", self.target, safe(&since)))
        })?;
        if let Some(source) = unknown.map(safe) {
            note(&format!(
                "the settings have no source {source}; the pause is kept all the same, until `hookbox resume --source \
                 {source}` ends it. `hookbox sources` lists the names"
            ));
        }
        Ok(code)
    }

    pub(super) fn resume(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let answer = block_on(self.ask(&client, "resume"))?;
        self.print(&answer, || {
            let Resumed { was_paused } = parse(&client, &answer)?;
            let what = &self.target;
            Ok(match (was_paused, &what.route) {
                (true, _) => format!("{what} resumed"),
                (false, Some(_)) => format!("{what} not paused; its breaker, if it has one, is closed"),
                (false, None) => format!("{what} not paused; nothing has changed"),
            })
        })
    }

    async fn ask(&self, client: &Client, action: &str) -> Result<String, Failure> {
        let Target { route, source, all: _ } = &self.target;
        let route = route.as_deref().map(|route| ("route", route));
        let source = source.as_deref().map(|source| ("source", source));
        let query = route.into_iter().chain(source).chain(self.why.parameter()).collect::<Vec<_>>();
        Ok(client.post(&["v1", action], &query).await?)
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

impl Target {
    /// The source that is named, if the settings do not have it: the name may be misspelt. hookbox takes the pause all the
    /// same, because jobs can be left of a source that is gone, and because replicas can have other settings.
    async fn unknown_source(&self, client: &Client) -> Option<&str> {
        let source = self.source.as_deref().filter(|source| !is_built_in(source))?;
        let found = client.get(&["v1", "sources", source], &[]).await;
        // Any other error says nothing of the pause, which is in force.
        let is_unknown = |reason: &str| reason == Reason::SourceNotFound.as_str();
        matches!(found, Err(ClientError::Refused { reason, .. }) if is_unknown(&reason)).then_some(source)
    }
}

/// Whether a source is there without settings.
pub(super) fn is_built_in(source: &str) -> bool {
    source == Source::OWN || source == Source::default().as_str()
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
