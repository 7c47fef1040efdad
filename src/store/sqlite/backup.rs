//! Copies a file of hookbox, also while it is served, and checks the copy.
//!
//! A read transaction is open while the pages are copied. As long as it is, checkpoints change no page in the file
//! that is not in the write-ahead log as well, and no writer starts the log over. So the log as it was at the
//! beginning, and then the file, piece by piece, are together one state of the database: that of the beginning, or a
//! later one. The copied log is put into the copied file, which is then checked. `docs/decisions.md` says why neither
//! SQLite's backup API nor `VACUUM INTO` does it.
//!
//! Call this only in a process that serves no file: closing a file releases all of SQLite's locks that the process has
//! on it (<https://www.sqlite.org/howtocorrupt.html>).

mod check;
mod error;
mod half_made;
mod pages;
mod source;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use diesel::sqlite::SqliteConnection;

pub use self::error::BackupError;
use self::half_made::HalfMade;
use self::source::Source;
use crate::store::transfer::row_counts::RowCounts;

/// A finished copy.
#[derive(Clone, Copy, Debug)]
pub struct Copied {
    /// The size of the copy.
    pub bytes: u64,
    /// How many rows it has.
    pub rows: RowCounts,
}

/// What is being done at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Pages are copied.
    Copying {
        /// The bytes that are copied.
        done: u64,
        /// The bytes to copy; 0 if this is not known yet.
        total: u64,
    },
    /// The copy is checked.
    Checking,
}

/// How far a copy is. The thread that copies shares it with one that shows it, and can stop it.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
    is_checking: AtomicBool,
    is_stopped: AtomicBool,
    /// The copy until it is finished.
    half_made: Mutex<Option<HalfMade>>,
}

/// Copies the file `from`, which another process may serve, to a new file `to`. What was acknowledged before the call
/// is in the copy. Errors: see [`BackupError`]; then there is no file `to`.
pub fn back_up(from: &Path, to: &Path, progress: &Progress) -> Result<Copied, BackupError> {
    let from = Source::open(from)?;
    let snapshot = from.snapshot()?;
    copy(&from, Some(snapshot), to, progress)
}

/// Copies the backup `from`, which no process serves, to a new file `to`. Errors: see [`BackupError`]; then there is no
/// file `to`.
pub fn restore(from: &Path, to: &Path, progress: &Progress) -> Result<Copied, BackupError> {
    let from = Source::open(from)?;
    from.refuse_served()?;
    copy(&from, None, to, progress)
}

fn copy(
    from: &Source,
    snapshot: Option<SqliteConnection>,
    to: &Path,
    progress: &Progress,
) -> Result<Copied, BackupError> {
    let copied = try_copy(from, snapshot, to, progress);
    progress.abandon();
    match copied {
        Err(_) if progress.is_stopped() => Err(BackupError::Stopped),
        copied => copied,
    }
}

fn try_copy(
    from: &Source,
    snapshot: Option<SqliteConnection>,
    to: &Path,
    progress: &Progress,
) -> Result<Copied, BackupError> {
    let (half_made, file) = HalfMade::create(to)?;
    let path = half_made.path().to_owned();
    *progress.half_made() = Some(half_made);
    pages::copy(from, &path, &file, progress)?;
    // From here on the log of the file can be copied back.
    drop(snapshot);
    progress.is_checking.store(true, Ordering::Relaxed);
    if progress.is_stopped() {
        return Err(BackupError::Stopped);
    }
    let rows = check::check(&path, from.path())?;
    if progress.is_stopped() {
        return Err(BackupError::Stopped);
    }
    let unwritten = |source| BackupError::writing(to, source);
    file.sync_all().map_err(unwritten)?;
    let bytes = file.metadata().map_err(unwritten)?.len();
    let half_made = progress.half_made().take();
    half_made.ok_or(BackupError::Stopped)?.publish(to)?;
    Ok(Copied { bytes, rows })
}

impl Progress {
    /// What is being done now.
    pub fn step(&self) -> Step {
        if self.is_checking.load(Ordering::Relaxed) {
            return Step::Checking;
        }
        Step::Copying { done: self.done.load(Ordering::Relaxed), total: self.total.load(Ordering::Relaxed) }
    }

    /// Stops the copy. It ends after the next piece, but a check that has begun goes on to its end.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Removes what is made of the copy, for a process that does not wait for the end of a check. Does nothing if the
    /// copy is finished.
    pub fn abandon(&self) {
        drop(self.half_made().take());
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    fn begin(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn half_made(&self) -> MutexGuard<'_, Option<HalfMade>> {
        self.half_made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
