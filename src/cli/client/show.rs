//! `hookbox show`: a webhook with its body, headers, jobs and attempts, or its body alone.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::dates::relative;
use super::facts::Facts;
use super::names::Named;
use super::safe::{is_safe, json_line, safe, safe_lines};
use super::server::{ServerFlags, block_on, refused};
use super::table::{Cell, Column, Table};
use super::tell::{Format, parse};
use super::terminal::{Terminal, Tint, tint_of};
use crate::cli::Failure;
use crate::cli::output::{print, print_bytes};
use crate::client::{Client, Content, Webhook, content_of};
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;

/// How much of a body or of a result is shown to people, in characters.
const SHOWN_CHARS: usize = 16 * 1024;

/// The options of `hookbox show`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    webhook: Named,
    /// Write the body to standard output, byte for byte, and nothing else
    #[arg(long, conflicts_with = "json")]
    body: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    server: ServerFlags,
}

/// What is shown besides names, status and content.
#[derive(Deserialize)]
struct Detail<'a> {
    verdict: String,
    cause: Option<String>,
    trace_id: String,
    #[serde(borrow)]
    jobs: Vec<Job<'a>>,
}

#[derive(Deserialize)]
struct Job<'a> {
    route: String,
    handler: Option<String>,
    status: String,
    attempt_count: u32,
    max_attempts: u32,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    attempts: Vec<Attempt>,
    last_error: Option<String>,
    next_attempt_at: Option<String>,
    run: u32,
    replay: Option<u64>,
    worker: Option<String>,
    lease_until: Option<String>,
}

#[derive(Deserialize)]
struct Attempt {
    number: u32,
    run: u32,
    outcome: String,
    started_at: String,
    finished_at: String,
    error: Option<String>,
    worker: String,
    delivery: Option<Delivery>,
}

#[derive(Deserialize)]
struct Delivery {
    url: String,
    answer: Option<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    status: u32,
}

impl Show {
    /// Prints the webhook.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let client = self.server.client()?;
        if self.body {
            self.write_body(&client)?;
            return Ok(ExitCode::SUCCESS);
        }
        let (path, query) = self.webhook.call(&[], "webhook");
        let answer = block_on(async { Ok(client.get(&path, &query).await?) })?;
        if self.format.json {
            parse::<&RawValue>(&client, &answer)?;
            print(format_args!("{}\n", json_line(&answer)))?;
        } else {
            print(text(&client, &answer, Terminal::stdout(), SystemClock.now())?)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn write_body(&self, client: &Client) -> Result<(), Failure> {
        let body = block_on(async {
            let id = self.webhook.id_at(client).await?;
            Ok(client.bytes(&["v1", "webhooks", &id, "body"]).await?)
        })?;
        if Terminal::stdout().is_terminal && !std::str::from_utf8(&body).is_ok_and(is_safe) {
            return Err(refused(
                "the body is no text, or has characters that can act on this terminal, so it is not written to it; \
                 write it to a file or to a pipe",
            ));
        }
        print_bytes(&body)
    }
}

/// The webhook for people.
fn text(client: &Client, answer: &str, terminal: Terminal, now: Timestamp) -> Result<String, Failure> {
    let webhook = parse::<Webhook>(client, answer)?;
    let detail = parse::<Detail<'_>>(client, answer)?;
    let content = content_of(answer.as_bytes()).map_err(|error| client.unexpected(error))?;
    let mut text = names(&webhook, &detail, terminal, now);
    if !detail.jobs.is_empty() {
        text.push('\n');
        text.push_str(&jobs(&detail.jobs, now).text(terminal));
    }
    for job in &detail.jobs {
        if !job.attempts.is_empty() {
            let heading = format!("attempts of {}", safe(&job.route));
            let _ = writeln!(text, "\n{}", terminal.tinted(&heading, Tint::Heading));
            text.push_str(&attempts(job, now).text(terminal));
        }
        if let Some(result) = job.result {
            let heading = format!("result of {}", safe(&job.route));
            let _ = writeln!(text, "\n{}\n{}", terminal.tinted(&heading, Tint::Heading), shown(result.get()));
        }
    }
    text.push_str(&sent(content.map(|shown| shown.content).as_ref(), terminal));
    Ok(text)
}

fn names(webhook: &Webhook, detail: &Detail<'_>, terminal: Terminal, now: Timestamp) -> String {
    let cause = detail.cause.as_deref().map(|cause| format!(", {cause}"));
    let mut facts = Facts::default();
    facts.add("id", Cell::new(&webhook.id));
    facts.add("source", Cell::new(&webhook.source));
    facts.add("type", Cell::new(&webhook.event_type));
    facts.add("key", Cell::new(&webhook.idempotency_key));
    facts.add("status", Cell::tinted(&webhook.status, tint_of(&webhook.status)));
    let accepted = format!("{} ({})", webhook.accepted_at, relative(&webhook.accepted_at, now));
    facts.add("accepted", Cell::new(accepted));
    facts.add("verdict", Cell::new(format!("{}{}", detail.verdict, cause.unwrap_or_default())));
    facts.add("trace", Cell::new(&detail.trace_id));
    facts.text(0, terminal)
}

fn jobs(jobs: &[Job<'_>], now: Timestamp) -> Table {
    let mut table = Table::new([
        Column::whole("ROUTE"),
        Column::whole("HANDLER"),
        Column::whole("STATUS"),
        Column::number("RUN"),
        Column::number("REPLAY"),
        Column::number("ATTEMPTS"),
        Column::whole("NEXT"),
        Column::whole("WORKER"),
        Column::whole("LEASE ENDS"),
        Column::whole("ERROR"),
    ])
    .moving(&["ERROR", "WORKER", "LEASE ENDS", "HANDLER", "REPLAY", "RUN", "NEXT", "ATTEMPTS"]);
    for job in jobs {
        let next = job.next_attempt_at.as_deref().map(|next| relative(next, now));
        let lease = job.lease_until.as_deref().map(|until| relative(until, now));
        table.add([
            Cell::new(&job.route),
            Cell::new(job.handler.as_deref().unwrap_or("gone from the settings")),
            Cell::tinted(&job.status, tint_of(&job.status)),
            Cell::new(in_run(job, job.run)),
            Cell::new(job.replay.map(|number| number.to_string()).unwrap_or_default()),
            Cell::new(format!("{}/{}", job.attempt_count, job.max_attempts)),
            Cell::new(next.unwrap_or_default()),
            Cell::tinted(job.worker.as_deref().unwrap_or_default(), Tint::Dim),
            Cell::new(lease.unwrap_or_default()),
            Cell::tinted(job.last_error.as_deref().unwrap_or_default(), Tint::Bad),
        ]);
    }
    table
}

/// The number of a run; empty if the job has had only one.
fn in_run(job: &Job<'_>, run: u32) -> String {
    if job.run > 1 { run.to_string() } else { String::new() }
}

fn attempts(job: &Job<'_>, now: Timestamp) -> Table {
    let mut table = Table::new([
        Column::number("NO"),
        Column::number("RUN"),
        Column::whole("OUTCOME"),
        Column::whole("STARTED"),
        Column::number("TOOK"),
        Column::number("ANSWER"),
        Column::whole("TO"),
        Column::whole("WORKER"),
        Column::whole("ERROR"),
    ])
    .moving(&["ERROR", "TO", "WORKER", "RUN", "TOOK", "STARTED", "ANSWER"]);
    for attempt in &job.attempts {
        let delivery = attempt.delivery.as_ref();
        let answer = delivery.and_then(|delivery| delivery.answer.as_ref());
        let tint = if attempt.outcome == "completed" { Tint::Good } else { Tint::Bad };
        table.add([
            Cell::new(attempt.number.to_string()),
            Cell::new(in_run(job, attempt.run)),
            Cell::tinted(&attempt.outcome, tint),
            Cell::tinted(relative(&attempt.started_at, now), Tint::Dim),
            Cell::new(took(&attempt.started_at, &attempt.finished_at)),
            Cell::new(answer.map(|answer| answer.status.to_string()).unwrap_or_default()),
            Cell::new(delivery.map(|delivery| delivery.url.as_str()).unwrap_or_default()),
            Cell::tinted(&attempt.worker, Tint::Dim),
            Cell::tinted(attempt.error.as_deref().unwrap_or_default(), Tint::Bad),
        ]);
    }
    table
}

/// The time between two times; empty if one of them is none.
fn took(from: &str, to: &str) -> String {
    let (Ok(from), Ok(to)) = (from.parse::<Timestamp>(), to.parse::<Timestamp>()) else {
        return String::new();
    };
    format!("{}ms", to.as_millisecond().saturating_sub(from.as_millisecond()))
}

/// The headers and the body.
fn sent(content: Option<&Content>, terminal: Terminal) -> String {
    let heading = |text: &str| format!("\n{}\n", terminal.tinted(text, Tint::Heading));
    let Some(content) = content else { return heading("the body is past its retention") };
    let mut text = String::new();
    if !content.headers.is_empty() {
        text.push_str(&heading("headers"));
        for (name, value) in &content.headers {
            let _ = writeln!(text, "{}: {}", safe(name), safe(value));
        }
    }
    let bytes = content.body.len();
    text.push_str(&heading(&format!("body, {}, {bytes} bytes", safe(&content.content_type))));
    match std::str::from_utf8(&content.body) {
        Ok("") => {}
        Ok(body) => {
            let _ = writeln!(text, "{}", shown(body));
        }
        Err(_) => text.push_str("(not UTF-8; --body writes it)\n"),
    }
    text
}

/// A text of others in lines, cut if it is long.
fn shown(text: &str) -> String {
    let mut shown = safe_lines(&text.chars().take(SHOWN_CHARS).collect::<String>());
    let more = text.chars().count().saturating_sub(SHOWN_CHARS);
    if more > 0 {
        let _ = write!(shown, "\n… ({more} characters more; --json has all of them)");
    }
    shown
}
