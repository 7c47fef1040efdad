//! `hookbox bench`: measures how fast a running hookbox accepts webhooks and completes jobs.

mod client;
mod load;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::client::Target;
use self::load::Measured;
use super::Failure;
use super::bar::Bar;
use super::client::{DEFAULT_URL, usage};
use super::output::print;
use super::settings::{client_token, variable};
use crate::config::URL_VARIABLE;
use crate::telemetry::metrics::Stopwatch;

/// How often the progress bar is updated, and how often unfinished jobs are counted with `--drain`.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The template of the progress bar.
const BAR: &str = "{bar:40} {percent:>3} % {msg}";

/// The quantiles that are printed.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The options of `hookbox bench`.
#[derive(Clone, Debug, Args)]
pub(super) struct Bench {
    /// The hookbox to send to, as http://<host>:<port> [default: http://127.0.0.1:8080] [env: HOOKBOX_URL]. A token comes
    /// from HOOKBOX_TOKEN
    #[arg(long)]
    url: Option<Target>,
    /// How long to send
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How many connections to use, 1 to 4096; each has one request at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// How to make the idempotency keys
    #[arg(long, value_enum, default_value_t = Keys::Random)]
    keys: Keys,
    /// After sending, wait until no job is unfinished, and print the rate from the first webhook to the last
    /// job
    #[arg(long)]
    drain: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// How the idempotency keys are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Keys {
    /// 32 random hex digits, as real senders choose them
    Random,
    /// A counter
    Ordered,
}

/// The results.
struct Report {
    sent: Measured,
    /// How many jobs were completed while webhooks were sent.
    completed: u64,
    /// The results of `--drain`.
    drained: Option<Drained>,
}

/// The results once no job is unfinished.
struct Drained {
    /// How many jobs were completed since the start.
    completed: u64,
    /// Seconds from the start of sending to the last completed job.
    seconds: f64,
}

impl Bench {
    /// Sends webhooks and prints the results. The exit code is 1 if some webhooks were not accepted.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let target = self.target()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let report = runtime.block_on(self.measure(&target))?;
        if self.json {
            print(format_args!("{}\n", report.json()))?;
        } else {
            print(&report)?;
        }
        Ok(if report.sent.others.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The hookbox to send to. The token belongs to it.
    fn target(&self) -> Result<Target, Failure> {
        let mut target = match &self.url {
            Some(target) => target.clone(),
            None => {
                let url = variable(URL_VARIABLE).unwrap_or_else(|| DEFAULT_URL.to_owned());
                let target = url.parse::<Target>();
                target.map_err(|problem| {
                    usage(format!("{URL_VARIABLE} is not valid for bench: it {problem}"))
                })?
            }
        };
        target.token = client_token();
        Ok(target)
    }

    async fn measure(&self, target: &Target) -> Result<Report, Failure> {
        let before = target.counts().await?.completed;
        let took = Stopwatch::start();
        let progress = Bar::new(self.duration.as_millis() as u64, BAR);
        let sending = load::send(target, self.keys, self.connections, self.duration);
        tokio::pin!(sending);
        let sent = loop {
            tokio::select! {
                sent = &mut sending => break sent?,
                () = tokio::time::sleep(LOOK_EVERY) => progress.inc(LOOK_EVERY.as_millis() as u64),
            }
        };
        // The purge can remove completed jobs meanwhile.
        let completed = target.counts().await?.completed.saturating_sub(before);
        let mut drained = None;
        while self.drain && drained.is_none() {
            let counts = target.counts().await?;
            progress.set_message(format!("{} unfinished", counts.unfinished));
            if counts.unfinished == 0 {
                let completed = counts.completed.saturating_sub(before);
                drained = Some(Drained { completed, seconds: took.seconds() });
            } else {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(Report { sent, completed, drained })
    }
}

impl Report {
    fn accepted_per_second(&self) -> f64 {
        self.sent.accepted as f64 / self.sent.seconds
    }

    fn completed_per_second(&self) -> f64 {
        self.completed as f64 / self.sent.seconds
    }

    /// The quantiles and the maximum of the latencies of accepted webhooks, in milliseconds.
    fn latencies(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let micros = &self.sent.micros;
        let quantiles = QUANTILES.map(|(name, quantile)| (name, micros.value_at_quantile(quantile)));
        let all = quantiles.into_iter().chain([("max", micros.max())]);
        all.map(|(name, micros)| (name, micros as f64 / 1000.0))
    }

    fn json(&self) -> Value {
        json!({
            "accepted": self.sent.accepted,
            "accepted_per_second": self.accepted_per_second(),
            "completed_per_second": self.completed_per_second(),
            "latency_ms": self.latencies().map(|(name, ms)| (name.to_owned(), json!(ms))).collect::<serde_json::Map<_, _>>(),
            "drained": self.drained.as_ref().map(|drained| json!({
                "completed": drained.completed,
                "seconds": drained.seconds,
                "per_second": drained.completed as f64 / drained.seconds,
            })),
            "other_answers": self.sent.others,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accepted = self.sent.accepted;
        writeln!(f, "accepted   {:>9.0} /s   {accepted} webhooks", self.accepted_per_second())?;
        writeln!(f, "completed  {:>9.0} /s   jobs, while sending", self.completed_per_second())?;
        write!(f, "latency   ")?;
        for (name, milliseconds) in self.latencies() {
            write!(f, " {name} {milliseconds:.2} ms ")?;
        }
        writeln!(f)?;
        if let Some(Drained { completed, seconds }) = &self.drained {
            let per_second = *completed as f64 / seconds;
            writeln!(
                f,
                "drained    {per_second:>9.0} /s   {completed} jobs in {seconds:.1} s, from the first webhook to the last job"
            )?;
        }
        for (status, count) in &self.sent.others {
            writeln!(f, "refused    {count} webhooks with status {status}")?;
        }
        Ok(())
    }
}
