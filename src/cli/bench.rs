//! `hookbox bench`: measures how fast a running hookbox accepts webhooks and completes jobs.

mod client;
mod load;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::client::{Counts, Target};
use self::report::{Drained, Report};
use super::bar::Bar;
use super::client::{DEFAULT_URL, Interrupt, usage};
use super::output::print;
use super::settings::{client_token, variable};
use super::{EXIT_INTERRUPTED, Failure, note};
use crate::config::URL_VARIABLE;
use crate::telemetry::metrics::Stopwatch;

/// How often the progress bar is updated, and how often unfinished jobs are counted with `--drain`.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The template of the progress bar.
const BAR: &str = "{bar} {percent:>3} % {msg}";

/// How many looks with `--drain` are between two notes where there is no bar: 5 seconds.
const LOOKS_PER_NOTE: u32 = 50;

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

impl Bench {
    /// Sends webhooks and prints the results. The exit code is 1 if some webhooks were not accepted.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let target = self.target()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.measure(&target))
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

    /// Sends webhooks, and prints the results. What was measured before a fault or Ctrl-C is printed, too.
    async fn measure(&self, target: &Target) -> Result<ExitCode, Failure> {
        let before = target.counts().await?.completed;
        let connections = load::open(target, self.connections).await?;
        let mut interrupt = Interrupt::new()?;
        let took = Stopwatch::start();
        let progress = Bar::new(self.duration.as_millis() as u64, BAR);
        let mut sent = {
            let sending = load::send(connections, self.keys, self.duration, &mut interrupt);
            tokio::pin!(sending);
            loop {
                tokio::select! {
                    sent = &mut sending => break sent?,
                    () = tokio::time::sleep(LOOK_EVERY) => progress.inc(LOOK_EVERY.as_millis() as u64),
                }
            }
        };
        if sent.is_interrupted {
            let seconds = sent.seconds;
            progress.suspend(|| note(&format!("stopped by Ctrl-C after {seconds:.1} s of sending")));
        }
        // None after Ctrl-C.
        let counts = match sent.fault.take() {
            Some(fault) => Err(fault),
            None if sent.is_interrupted => Ok(None),
            None => interrupt.race(target.counts()).await.transpose(),
        };
        let found = counts.as_ref().ok().copied().flatten();
        // The purge can remove completed jobs meanwhile.
        let completed = found.map(|counts| counts.completed.saturating_sub(before));
        let mut report = Report { sent, completed, drained: None };
        if !self.json {
            progress.suspend(|| print(&report))?;
        }
        let ended = match counts {
            Ok(Some(counts)) if self.drain => drain(target, counts, &progress, &mut interrupt).await,
            counts => counts,
        };
        drop(progress);
        if let (true, Ok(Some(counts))) = (self.drain, &ended) {
            let completed = counts.completed.saturating_sub(before);
            report.drained = Some(Drained { completed, seconds: took.seconds() });
        }
        if self.json {
            print(format_args!("{}\n", report.json()))?;
        } else if let Some(drained) = &report.drained {
            print(drained)?;
        }
        Ok(match ended? {
            None => ExitCode::from(EXIT_INTERRUPTED),
            Some(_) if report.sent.others.is_empty() => ExitCode::SUCCESS,
            Some(_) => ExitCode::FAILURE,
        })
    }
}

/// Waits until no job is unfinished, and says on standard error for what. Returns the counts then; none if Ctrl-C came
/// first.
async fn drain(
    target: &Target,
    mut counts: Counts,
    progress: &Bar,
    interrupt: &mut Interrupt,
) -> Result<Option<Counts>, Failure> {
    let mut looks = 0_u32;
    while counts.unfinished > 0 {
        let unfinished = counts.unfinished;
        progress.set_message(format!("{unfinished} unfinished"));
        if looks == 0 {
            progress.suspend(|| {
                note(&format!(
                    "waiting until no job is unfinished; {unfinished} are. Jobs that are paused, held or blocked do not \
                     end, nor do those of the handler pull without a worker; Ctrl-C ends the wait"
                ));
            });
        } else if progress.is_hidden() && looks.is_multiple_of(LOOKS_PER_NOTE) {
            note(&format!("{unfinished} jobs are unfinished"));
        }
        looks = looks.wrapping_add(1);
        let look = async {
            tokio::time::sleep(LOOK_EVERY).await;
            target.counts().await
        };
        match interrupt.race(look).await {
            Some(found) => counts = found?,
            None => return Ok(None),
        }
    }
    Ok(Some(counts))
}
