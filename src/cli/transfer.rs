//! `hookbox transfer`: moves all webhooks from a SQLite file to a PostgreSQL database.

mod progress;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::progress::Progress;
use super::output::{print, row_counts};
use super::serve::shutdown_signal;
use super::settings::SettingFlags;
use super::{EXIT_INTERRUPTED, Failure};
use crate::clock::SystemClock;
use crate::config;
use crate::domain::secret::Secret;
use crate::store::postgres::Target;
use crate::store::transfer::{self, BATCH_WEBHOOKS, Begun, Limits, Plan, RowCounts, TransferError};
use crate::telemetry::metrics::Stopwatch;

/// The options of `hookbox transfer`.
#[derive(Clone, Debug, Args)]
pub(super) struct Transfer {
    /// The SQLite file to move from, as sqlite://<path>. Stop hookbox first; once the transfer has begun,
    /// hookbox no longer serves the file
    #[arg(long, value_name = "URL")]
    from: Secret,
    /// The database to move to, as postgres://<user>:<password>@<host>:<port>/<database>; it must be empty
    /// [default: the setting database_url]
    #[arg(long, value_name = "URL", conflicts_with = "abandon")]
    to: Option<Secret>,
    /// Move nothing, and allow hookbox to serve the file again. Drop the database first: if both are served,
    /// webhooks run twice
    #[arg(long)]
    abandon: bool,
    /// How many webhooks to move in one batch
    #[arg(long, hide = true, default_value_t = BATCH_WEBHOOKS as u32, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
}

impl Transfer {
    /// Moves all webhooks, and prints how many. If it was stopped, running it again moves the rest.
    #[expect(clippy::disallowed_methods, reason = "the id of the transfer is random")]
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let from = config::transfer_from(self.from.expose())?;
        if self.abandon {
            return abandon(&from);
        }
        let to = match &self.to {
            Some(url) => config::transfer_to(url.expose())?,
            None => config::transfer_to_setting(&SettingFlags::of_file(None).layers()?)?,
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
            print(format_args!("nothing to do: all webhooks of {} are already in {to}\n", from.display()))?;
            if let Some(finished_at) = mark.finished_at {
                print(format_args!("the transfer was finished at {finished_at}\n"))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
    let before = transfer.moved();
    let moved = step_by_step(&mut transfer, &stopping).await;
    let (moved_by_now, total) = (transfer.moved(), transfer.total());
    transfer.close().await;
    match moved.map_err(Box::new)? {
        Some(counted) => {
            print(summary(from, &to, &counted, moved_by_now - before, took))?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            print(format_args!(
                "stopped: {moved_by_now} of {total} webhooks are moved; run the same command again to move the rest\n"
            ))?;
            Ok(ExitCode::from(EXIT_INTERRUPTED))
        }
    }
}

/// Moves all webhooks, then counts both sides. None if it was stopped before the end.
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
    // Stopping while both sides are counted is safe: the next run counts them again.
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
    text.push_str(&row_counts(counted));
    text.push_str(&format!(
        "next: set HOOKBOX_DATABASE_URL to the URL of that database, and start hookbox. hookbox no longer serves {}; \
         keep it until you are sure that nothing is missing\n",
        from.display()
    ));
    text
}

fn abandon(from: &Path) -> Result<ExitCode, Failure> {
    let mark = transfer::abandon(from).map_err(Box::new)?;
    let from = from.display();
    match mark {
        Some(mark) => print(format_args!(
            "{from} may be served again. Do not serve what was moved to {}: drop that database\n",
            mark.moved_to
        ))?,
        None => print(format_args!("nothing to do: no transfer from {from} has begun\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}
