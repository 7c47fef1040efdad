//! `hookbox status` and `hookbox watch`: the status of one webhook, now or as it changes.

use std::process::ExitCode;

use clap::Args;

use super::dates::clock_time;
use super::names::Named;
use super::safe::{json_line, safe};
use super::server::{ServerFlags, block_on};
use super::tail::lost;
use super::tell::{Format, print_status};
use super::terminal::{Terminal, tint_of};
use crate::cli::output::print_on;
use crate::cli::{Failure, note};
use crate::client::{Client, ClientError, EventReader, Webhook, refusal};
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;
use crate::domain::job::Status as JobStatus;

/// The pause before a stream that has ended is opened again.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// The options of `hookbox status`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Status {
    #[command(flatten)]
    webhook: Named,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

/// The options of `hookbox watch`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Watch {
    #[command(flatten)]
    webhook: Named,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

impl Status {
    /// Prints the status.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let (path, query) = self.webhook.call(&["status"], "status");
        let answer = block_on(async { Ok(client.get(&path, &query).await?) })?;
        print_status(&client, &answer, self.format, SystemClock.now())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Watch {
    /// Prints each change. The exit code is 0 if all jobs are completed in the end, or there is none, else 1.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        let last = block_on(self.watch(&client))?;
        let is_good = matches!(last.as_deref(), Some("completed" | "filtered") | None);
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Watches to the end, also if hookbox restarts, which is said. Returns the last status; none if the reader has closed
    /// the pipe.
    async fn watch(&self, client: &Client) -> Result<Option<String>, Failure> {
        let id = self.webhook.id_at(client).await?;
        let mut seen = Seen::default();
        loop {
            match self.once(client, &id, &mut seen).await {
                Ok(Ended::Done(status)) => return Ok(Some(status)),
                Ok(Ended::Unread(failure)) => return failure.map_or(Ok(None), Err),
                Err(error) if seen.has_begun && error.is_passing() => {
                    if !std::mem::replace(&mut seen.is_lost, true) {
                        note(&lost(client.url(), &error.why()));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Follows one stream to its end.
    async fn once(&self, client: &Client, id: &str, seen: &mut Seen) -> Result<Ended, ClientError> {
        let mut stream = client.open(&["v1", "webhooks", id, "watch"], &[]).await?;
        let (mut reader, mut last) = (EventReader::default(), None);
        seen.has_begun = true;
        while let Some(bytes) = client.more(&mut stream).await? {
            reader.add(&bytes);
            let next = |reader: &mut EventReader| {
                reader.next_event().map_err(|error| client.unexpected(error.to_string()))
            };
            while let Some(event) = next(&mut reader)? {
                if event.name == "error" {
                    return Err(problem(client, &event.data));
                }
                let webhook = serde_json::from_str::<Webhook>(&event.data)
                    .map_err(|error| client.unexpected(error.to_string()))?;
                if std::mem::take(&mut seen.is_lost) {
                    note(&format!("connected to {} again", client.url()));
                }
                if seen.told != event.data {
                    event.data.clone_into(&mut seen.told);
                    match self.print(&webhook, &event.data) {
                        Ok(true) => {}
                        Ok(false) => return Ok(Ended::Unread(None)),
                        Err(failure) => return Ok(Ended::Unread(Some(failure))),
                    }
                }
                last = Some(webhook.status);
            }
        }
        match last {
            // A proxy may end a stream as if it were whole, when hookbox was killed.
            Some(status) if goes_on(&status) => Err(client.closed()),
            Some(status) => Ok(Ended::Done(status)),
            None => Err(client.unexpected("the stream has no status")),
        }
    }

    /// Returns false if the reader has closed the pipe.
    fn print(&self, webhook: &Webhook, json: &str) -> Result<bool, Failure> {
        if self.format.json {
            return print_on(format_args!("{}\n", json_line(json)));
        }
        let status = Terminal::stdout().tinted(&safe(&webhook.status), tint_of(&webhook.status));
        let attempts = match webhook.attempt_count {
            None | Some(0) => String::new(),
            Some(count) => format!("  attempt {count}"),
        };
        let error = webhook.last_error.as_deref().map(|error| format!("  {}", safe(error)));
        let now = clock_time(SystemClock.now());
        print_on(format_args!("{now}  {status}{attempts}{}\n", error.unwrap_or_default()))
    }
}

/// What has come of all streams.
#[derive(Debug, Default)]
struct Seen {
    has_begun: bool,
    /// Whether it was said that the connection is lost, and not yet that it is there again.
    is_lost: bool,
    /// The last status that was printed.
    told: String,
}

/// How a stream has ended.
enum Ended {
    /// All jobs are final; the webhook has this status.
    Done(String),
    /// The reader has closed the pipe, or the status cannot be printed.
    Unread(Option<Failure>),
}

/// Whether a webhook with this status is watched further.
fn goes_on(status: &str) -> bool {
    status.parse::<JobStatus>().is_ok_and(|status| !status.is_final() || status == JobStatus::Quarantined)
}

/// The error that ended a stream.
fn problem(client: &Client, data: &str) -> ClientError {
    #[derive(serde::Deserialize)]
    struct Status {
        status: u16,
    }
    match serde_json::from_str::<Status>(data) {
        Ok(Status { status }) => refusal(&crate::client::Answer {
            status,
            content_type: "application/problem+json".to_owned(),
            body: data.as_bytes().to_vec(),
        }),
        Err(error) => client.unexpected(error.to_string()),
    }
}
