//! `hookbox bench`: how fast a running hookbox accepts and completes webhooks.

mod client;
pub(super) mod limit;
mod load;
mod report;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use self::client::{Counts, Target};
use self::load::Measured;
use self::report::{Drained, Report, Turn};
use super::Failure;
use crate::telemetry::metrics::Stopwatch;

/// How often the progress is drawn and the drain is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What to send, and where.
#[derive(Clone, Debug, Args)]
pub(super) struct Bench {
    /// The hookbox to send to
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: Target,
    /// How long to send, in all turns together
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Keys as real senders choose them (32 hex digits), or in order
    #[arg(long, value_enum, default_value_t = Keys::Random)]
    keys: Keys,
    /// Run the same route with no storage behind it as well, in turns, and print the ratio
    #[arg(long)]
    limit: bool,
    /// How many turns the duration is cut into, with --limit
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    turns: u8,
    /// Wait until everything is completed, and print the rate end to end
    #[arg(long, conflicts_with = "limit")]
    drain: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How the keys of the webhooks follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Keys {
    /// 32 random hex digits.
    Random,
    /// A counter.
    Ordered,
}

impl Bench {
    /// Sends, measures, and prints.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let report = runtime.block_on(self.measure())?;
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", report.json())?;
        } else {
            write!(out, "{report}")?;
        }
        Ok(if report.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    async fn measure(&self) -> Result<Report, Failure> {
        let before = self.url.counts().await?;
        let progress = progress_bar(self.duration);
        let mut report = Report::default();
        let limit = if self.limit { Some(limit::Server::start().await?) } else { None };
        let turns = if limit.is_some() { u32::from(self.turns) } else { 1 };
        let each = self.duration / turns / if limit.is_some() { 2 } else { 1 };
        for _ in 0..turns {
            let counted = self.url.counts().await?;
            let sent = self.send(&self.url, each, &progress).await?;
            let completed = self.url.counts().await?.completed - counted.completed;
            let completed_per_second = completed as f64 / sent.seconds;
            let bare = match &limit {
                Some(server) => Some(self.send(server.target(), each, &progress).await?),
                None => None,
            };
            report.turns.push(Turn { sent, completed_per_second, limit: bare });
        }
        if self.drain {
            report.drained = Some(self.drain(before, &progress).await?);
        }
        progress.finish_and_clear();
        Ok(report)
    }

    async fn send(
        &self,
        target: &Target,
        time: Duration,
        progress: &ProgressBar,
    ) -> Result<Measured, Failure> {
        let sending = load::send(target, self.keys, self.connections, time);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                measured = &mut sending => return measured,
                () = tokio::time::sleep(LOOK_EVERY) => progress.inc(LOOK_EVERY.as_millis() as u64),
            }
        }
    }

    /// Waits until nothing is unfinished any more. `--limit` goes without it, so all that was sent
    /// was sent in one turn, which has just ended.
    async fn drain(&self, before: Counts, progress: &ProgressBar) -> Result<Drained, Failure> {
        let waited = Stopwatch::start();
        loop {
            let counts = self.url.counts().await?;
            progress.set_message(format!("{} unfinished", counts.unfinished));
            if counts.unfinished == 0 {
                return Ok(Drained {
                    completed: counts.completed - before.completed,
                    waited: waited.seconds(),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn progress_bar(time: Duration) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} % {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(time.as_millis() as u64).with_style(style)
}
