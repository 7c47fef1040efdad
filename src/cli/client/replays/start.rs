//! `hookbox replay`: runs finished jobs again, those of one webhook or those of all webhooks that match filters.

use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use super::ask::{Answer, ask, can_ask};
use super::told::Replay;
use super::wait::{to_the_end, wait};
use crate::cli::client::act::Why;
use crate::cli::client::dates::clock_time;
use crate::cli::client::filters::Filters;
use crate::cli::client::interrupt::Interrupt;
use crate::cli::client::names::{Named, not_empty};
use crate::cli::client::server::{ServerFlags, block_on, usage};
use crate::cli::client::tell::{Format, print_status};
use crate::cli::{EXIT_INTERRUPTED, Failure, note};
use crate::client::{Call, Client};
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;

/// The options that choose many webhooks, or are about a replay of many.
const OF_MANY: [&str; 15] = [
    "status",
    "event_type",
    "verdict",
    "cause",
    "idempotency_key",
    "trace_id",
    "error_contains",
    "body_pointer",
    "body_equals",
    "body_contains",
    "since",
    "until",
    "rate",
    "dry_run",
    "no_wait",
];

/// The options of `hookbox replay`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct StartReplay {
    /// The id of a webhook, to run its jobs alone
    #[arg(value_name = "ID", value_parser = not_empty)]
    #[arg(conflicts_with_all = OF_MANY, conflicts_with_all = ["key", "source"])]
    id: Option<String>,
    /// The key of a webhook, in place of its id. It is one of the source `default`, or of --source
    #[arg(long, value_parser = not_empty, conflicts_with_all = OF_MANY)]
    key: Option<String>,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    why: Why,
    /// How many jobs run again per second, minute or hour, such as 50/s [default: as many as their routes run]
    #[arg(long)]
    rate: Option<String>,
    /// Only count the jobs
    #[arg(long)]
    dry_run: bool,
    /// Start without counting the jobs and asking first
    #[arg(long)]
    yes: bool,
    /// Do not wait for the end of the replay
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

impl StartReplay {
    /// Starts the replay, and waits for its end. The exit code is 1 if it is cancelled in the end.
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        if self.id.is_some() || self.key.is_some() {
            return self.replay_one(&client);
        }
        let filter = self.filters.members(SystemClock.now())?;
        if filter.is_empty() {
            return Err(usage(
                "name a webhook, or say which webhooks by filters such as --status, --route or --since; for all of \
                 them: --until 0s. `hookbox replay --help` lists the filters",
            ));
        }
        if !self.dry_run && !self.yes && !can_ask() {
            return Err(usage(
                "there is no terminal to ask on whether the jobs shall run again; start with --yes, or count them \
                 with --dry-run",
            ));
        }
        block_on(self.replay_many(&client, filter))
    }

    /// Runs the finished jobs of one webhook again, and prints its status after it.
    fn replay_one(&self, client: &Client) -> Result<ExitCode, Failure> {
        let wanted = &self.filters.wanted;
        let webhook = Named::new(self.id.clone(), self.key.clone(), wanted.source.clone());
        let (path, mut query) = webhook.call(&["replay"], "replay");
        query.extend(wanted.route.as_deref().map(|route| ("route", route)));
        query.extend(self.why.parameter());
        let answer = block_on(async { Ok(client.post(&path, &query).await?) })?;
        print_status(client, &answer, self.format, SystemClock.now())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn replay_many(
        &self,
        client: &Client,
        mut filter: Map<String, Value>,
    ) -> Result<ExitCode, Failure> {
        let mut interrupt = Interrupt::new()?;
        let mut counted = None;
        if !self.dry_run && !self.yes {
            match self.count_and_ask(client, &mut filter, &mut interrupt).await? {
                ControlFlow::Break(code) => return Ok(code),
                ControlFlow::Continue(jobs) => counted = Some(jobs),
            }
        }
        let Some(replay) = self.start(client, &filter, self.dry_run, &mut interrupt).await? else {
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        };
        // A small dry run is over when it is answered.
        if replay.is_running() {
            replay.print_start(self.format)?;
            if self.no_wait {
                return Ok(ExitCode::SUCCESS);
            }
        }
        to_the_end(client, replay, counted, self.format, &mut interrupt).await
    }

    /// Counts the jobs by a dry run, and asks whether to run them again; continues with their number. Webhooks that come
    /// in after the count are left out. Breaks with the exit code if nothing is to be started.
    async fn count_and_ask(
        &self,
        client: &Client,
        filter: &mut Map<String, Value>,
        interrupt: &mut Interrupt,
    ) -> Result<ControlFlow<ExitCode, u64>, Failure> {
        let interrupted = ControlFlow::Break(ExitCode::from(EXIT_INTERRUPTED));
        let Some(count) = self.start(client, filter, true, interrupt).await? else {
            return Ok(interrupted);
        };
        let Some(count) = wait(client, count, None, interrupt).await? else {
            return Ok(interrupted);
        };
        if !count.is_completed() || count.jobs() == 0 {
            count.print_end(self.format)?;
            let code = if count.is_completed() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            return Ok(ControlFlow::Break(code));
        }
        note(&count.ended());
        let answer = ask("Run them again?", interrupt).await?;
        if answer == Answer::Yes {
            let begun_at = count.started_at.parse::<Timestamp>();
            let begun_at = begun_at.map_err(|error| client.unexpected(error.to_string()))?;
            limit(filter, begun_at);
            return Ok(ControlFlow::Continue(count.jobs()));
        }
        note("nothing runs again");
        Ok(if answer == Answer::No { ControlFlow::Break(ExitCode::FAILURE) } else { interrupted })
    }

    /// Starts a replay. None if Ctrl-C comes before the answer, which is said.
    async fn start(
        &self,
        client: &Client,
        filter: &Map<String, Value>,
        dry_run: bool,
        interrupt: &mut Interrupt,
    ) -> Result<Option<Replay>, Failure> {
        let reason = &self.why.reason;
        let body = json!({ "filter": filter, "reason": reason, "rate": self.rate, "dry_run": dry_run });
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let (path, body) = (&["v1", "replays"], Some(body.to_string().into_bytes()));
        let call = Call { path, headers, body, ..Call::default() };
        match interrupt.race(client.ask(Method::POST, call)).await {
            Some(answer) => Ok(Some(Replay::read(client, answer?)?)),
            None => {
                note("there is no answer yet; `hookbox replays` lists the replay if it is started");
                Ok(None)
            }
        }
    }
}

/// Leaves out the webhooks that are accepted after a time.
fn limit(filter: &mut Map<String, Value>, time: Timestamp) {
    // Times of acceptance have whole milliseconds.
    let end = time.saturating_add(SignedDuration::from_millis(1)).unwrap_or(time);
    let given = filter.get("accepted_before").and_then(Value::as_str);
    let given = given.and_then(|text| text.parse::<Timestamp>().ok());
    let end = given.map_or(end, |given| given.min(end));
    filter.insert("accepted_before".to_owned(), clock_time(end).into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_after_the_count_is_left_out() {
        let counted_at = "2026-03-01T12:00:00.500Z".parse().expect("a time");
        for (given, expected) in [
            (None, "2026-03-01T12:00:00.501Z"),
            (Some("2026-03-01T12:00:01.000Z"), "2026-03-01T12:00:00.501Z"),
            (Some("2026-03-01T11:00:00.000Z"), "2026-03-01T11:00:00.000Z"),
        ] {
            let given = given.map(|time| ("accepted_before".to_owned(), Value::from(time)));
            let mut filter = given.into_iter().collect::<Map<_, _>>();
            limit(&mut filter, counted_at);
            assert_eq!(filter["accepted_before"], expected);
        }
    }
}
