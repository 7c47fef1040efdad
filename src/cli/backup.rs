//! `hookbox backup` and `hookbox restore`: copy the SQLite file to a new file, and check the copy.

mod bar;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::BinaryBytes;
use tokio::sync::oneshot;

use self::bar::CopyBar;
use super::client::usage;
use super::output::{print, row_counts};
use super::serve::shutdown_signal;
use super::settings::SettingFlags;
use super::{EXIT_INTERRUPTED, Failure};
use crate::clock::SystemClock;
use crate::config;
use crate::domain::clock::Clock as _;
use crate::store::sqlite::backup::{self, BackupError, Copied, Progress};
use crate::telemetry::metrics::Stopwatch;

/// The nice value of the process: the highest one, because a hookbox may serve beside it.
const NICENESS: i32 = 19;

/// How often the progress of the copy is read.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long to wait, after a signal, for the copy to end. A check that has begun takes longer.
const STOP_TIME: Duration = Duration::from_secs(2);

/// The next step after a restore, and its consequences.
const NEXT: &str = "next: start hookbox. Webhooks that were accepted after the backup are not in it; jobs that have \
    ended since then run again\n";

/// The options of `hookbox backup`.
#[derive(Clone, Debug, Args)]
pub(super) struct Backup {
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    flags: SettingFlags,
}

/// The options of `hookbox restore`.
#[derive(Clone, Debug, Args)]
pub(super) struct Restore {
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The file to write; it must not exist [default: the file in the setting database_url]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    flags: SettingFlags,
}

impl Backup {
    /// Copies the file of `database_url`, which may be served, and prints what the copy has.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        check_file(&self.to)?;
        let (from, to) = (config::sqlite_file(&self.flags.layers()?)?, self.to);
        let (begun_at, took) = (SystemClock.now(), Stopwatch::start());
        let what = format!("backed up {} to {}", from.display(), to.display());
        let copied = run(move |progress| backup::back_up(&from, &to, progress))?;
        let Some(copied) = copied else { return stopped() };
        print(summary(&what, &copied, took))?;
        print(format_args!("it has everything that was acknowledged before {begun_at}\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Restore {
    /// Copies a backup to a file that does not exist, and prints what that has.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        check_file(&self.from)?;
        self.to.as_deref().map_or(Ok(()), check_file)?;
        let to = match self.to {
            Some(to) => to,
            None => config::sqlite_file(&self.flags.layers()?)?,
        };
        let (from, took) = (self.from, Stopwatch::start());
        let what = format!("restored {} to {}", from.display(), to.display());
        let copied = run(move |progress| backup::restore(&from, &to, progress))?;
        let Some(copied) = copied else { return stopped() };
        print(summary(&what, &copied, took))?;
        print(NEXT)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Errors: the path is what means standard input or output in other commands.
fn check_file(path: &Path) -> Result<(), Failure> {
    if path == Path::new("-") {
        return Err(usage("a backup is a file, and neither standard input nor standard output; name a file"));
    }
    Ok(())
}

/// Copies in a thread of its own, and shows the progress. None if it was stopped.
fn run(
    copy: impl FnOnce(&Progress) -> Result<Copied, BackupError> + Send + 'static,
) -> Result<Option<Copied>, Failure> {
    // If the system refuses, the copy is only less considerate.
    let _ = rustix::process::nice(NICENESS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(watch(copy))
}

async fn watch(
    copy: impl FnOnce(&Progress) -> Result<Copied, BackupError> + Send + 'static,
) -> Result<Option<Copied>, Failure> {
    let signal = shutdown_signal()?;
    tokio::pin!(signal);
    let progress = Arc::new(Progress::default());
    let (done, mut ended) = oneshot::channel();
    let copying = Arc::clone(&progress);
    // No task of the runtime, which would wait for its end.
    std::thread::Builder::new().name("copy".into()).spawn(move || {
        let _ = done.send(copy(&copying));
    })?;
    let mut bar = CopyBar::new();
    let copied = loop {
        tokio::select! {
            copied = &mut ended => break copied,
            () = &mut signal => {
                progress.stop();
                match tokio::time::timeout(STOP_TIME, &mut ended).await {
                    Ok(copied) => break copied,
                    Err(_) => {
                        progress.abandon();
                        return Ok(None);
                    }
                }
            }
            () = tokio::time::sleep(LOOK_EVERY) => bar.show(progress.step()),
        }
    };
    // Shows the last step also if it was shorter than the interval.
    bar.show(progress.step());
    match copied {
        Ok(Ok(copied)) => Ok(Some(copied)),
        Ok(Err(BackupError::Stopped)) => Ok(None),
        Ok(Err(error)) => Err(Box::new(error).into()),
        Err(_) => Err(Failure::Other("the copy failed; this is a bug of hookbox, please report it".into())),
    }
}

fn stopped() -> Result<ExitCode, Failure> {
    print(format_args!("{}\n", BackupError::Stopped))?;
    Ok(ExitCode::from(EXIT_INTERRUPTED))
}

fn summary(what: &str, copied: &Copied, took: Stopwatch) -> String {
    let (size, seconds) = (BinaryBytes(copied.bytes), took.seconds());
    format!("{what}: {size} in {seconds:.1} s, checked\n{}", row_counts(&copied.rows))
}
