//! `hookbox transfer`: moves all webhooks from a SQLite file to a PostgreSQL database.

mod progress;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::progress::Progress;
use super::Failure;
use super::serve::{EXIT_INTERRUPTED, shutdown_signal};
use super::settings::SettingFlags;
use crate::clock::SystemClock;
use crate::config;
use crate::domain::job::Status;
use crate::store::postgres::Target;
use crate::store::transfer::{self, BATCH_WEBHOOKS, Begun, Limits, Plan, RowCounts, TransferError};
use crate::telemetry::metrics::Stopwatch;

/// From where, and where to.
#[derive(Clone, Debug, Args)]
pub(super) struct Transfer {
    /// The file to move from, as sqlite://<path>. No hookbox may serve it, now or later
    #[arg(long, value_name = "URL")]
    from: String,
    /// The database to move to, as postgres://<user>:<password>@<host>:<port>/<database>; it has to be
    /// empty. Without it, the setting database_url
    #[arg(long, value_name = "URL", conflicts_with = "abandon")]
    to: Option<String>,
    /// Move nothing, and let the file be served again. Only where the database was thrown away: else
    /// webhooks run twice
    #[arg(long)]
    abandon: bool,
    /// Webhooks in one batch
    #[arg(long, hide = true, default_value_t = BATCH_WEBHOOKS as u32, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
}

impl Transfer {
    /// Moves, and prints what was moved. May be run again until all has been.
    #[expect(clippy::disallowed_methods, reason = "here randomness enters the program")]
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let from = config::transfer_from(&self.from)?;
        if self.abandon {
            return abandon(&from);
        }
        let to = match &self.to {
            Some(url) => config::transfer_to(url)?,
            None => config::transfer_to_setting(&SettingFlags::none().layers()?)?,
        };
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(move_all(&from, to, id, self.batch as usize))
    }
}

async fn move_all(from: &Path, to: Target, id: Uuid, batch: usize) -> Result<ExitCode, Failure> {
    let stopping = CancellationToken::new();
    let (stop, signal) = (stopping.clone(), shutdown_signal()?);
    tokio::spawn(async move {
        signal.await;
        stop.cancel();
    });
    let took = Stopwatch::start();
    let limits = Limits { webhooks: batch, ..Limits::default() };
    let plan = Plan { from: from.to_owned(), to: to.clone(), id, limits };
    let mut transfer = match transfer::Transfer::begin(plan, Arc::new(SystemClock)).await.map_err(Box::new)? {
        Begun::Ready(transfer) => transfer,
        Begun::Finished(mark) => {
            let mut out = std::io::stdout().lock();
            writeln!(out, "nothing to do: the webhooks of {} were moved to {to} before", from.display())?;
            if let Some(finished_at) = mark.finished_at {
                writeln!(out, "that was finished at {finished_at}")?;
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
    let before = transfer.moved();
    let moved = step_by_step(&mut transfer, &stopping).await;
    let (moved_by_now, total) = (transfer.moved(), transfer.total());
    transfer.close().await;
    let mut out = std::io::stdout().lock();
    match moved.map_err(Box::new)? {
        Some(counted) => {
            write!(out, "{}", summary(from, &to, &counted, moved_by_now - before, took))?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            writeln!(
                out,
                "stopped: {moved_by_now} of {total} webhooks are moved; run the same command again to go on where it stopped"
            )?;
            Ok(ExitCode::from(EXIT_INTERRUPTED))
        }
    }
}

/// Moves all, and counts. None if it was stopped before that.
async fn step_by_step(
    transfer: &mut transfer::Transfer,
    stopping: &CancellationToken,
) -> Result<Option<RowCounts>, TransferError> {
    let mut progress = Progress::new(transfer.total(), transfer.moved());
    while transfer.step().await? {
        progress.moved(transfer.moved());
        if stopping.is_cancelled() {
            return Ok(None);
        }
    }
    progress.count();
    // To stop while both sides are counted changes nothing: the next process counts them.
    tokio::select! {
        counted = transfer.finish() => counted.map(Some),
        () = stopping.cancelled() => Ok(None),
    }
}

fn summary(from: &Path, to: &Target, counted: &RowCounts, moved: u64, took: Stopwatch) -> String {
    let seconds = took.seconds();
    let mut text = format!(
        "moved {moved} webhooks from {} to {to} in {seconds:.1} s, {:.0} a second\n",
        from.display(),
        moved as f64 / seconds.max(f64::EPSILON),
    );
    text.push_str("both sides hold the same:\n");
    let by_status = Status::ALL.map(|status| (status.as_str(), counted.counts.of(status)));
    let all = [("webhooks", counted.webhooks), ("attempts", counted.attempts)];
    for (what, count) in all.into_iter().chain(by_status).filter(|(_, count)| *count > 0) {
        text.push_str(&format!("  {what:<14}{count:>12}\n"));
    }
    text.push_str(&format!(
        "next: start hookbox with the URL of that database in HOOKBOX_DATABASE_URL. {} is served no more; keep it until you \
         are sure\n",
        from.display()
    ));
    text
}

fn abandon(from: &Path) -> Result<ExitCode, Failure> {
    let mark = transfer::abandon(from).map_err(Box::new)?;
    let mut out = std::io::stdout().lock();
    let from = from.display();
    match mark {
        Some(mark) => writeln!(
            out,
            "{from} may be served again. What was moved to {} must never be: drop that database",
            mark.moved_to
        )?,
        None => writeln!(out, "nothing to do: no transfer from {from} was begun")?,
    }
    Ok(ExitCode::SUCCESS)
}
