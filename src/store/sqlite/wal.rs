//! Keeps the write-ahead log short without slow commits.
//!
//! A checkpoint within a commit would delay every command that waits for the commit. A checkpoint in another
//! thread never reaches the end of a log that keeps growing, and SQLite reuses a log only after all of it was
//! copied. So a thread copies most of the log while the writer continues. Then the writer copies the rest
//! between two commits, and its next write starts at the beginning of the log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;

use super::connection;
use super::open_error::OpenError;
use super::owner::Owner;
use crate::domain::clock::Signal;
use crate::domain::error::message_of_panic;
use crate::store::statement::statement;
use crate::telemetry::repeated::Repeated;

/// The length of the log, in pages, at which copying starts: 128 MiB. Each copying delays a few commits for a
/// moment, so with a longer log fewer webhooks are delayed.
const COPY_FROM_PAGES: i64 = 32 * 1024;

/// The maximum number of pages left for the writer to copy between two commits: 4 MiB. Fewer would need more
/// passes of the thread, and each pass delays commits, too.
const WRITER_COPIES_PAGES: i64 = 1024;

/// Passes after which the thread leaves the rest to the writer, whatever its size. Bounds the length of the
/// log.
const PASSES: usize = 8;

/// How long the thread waits after a pass that a reader, such as a backup, kept from copying anything. Such a pass is
/// not free: it can sort the whole log.
const HELD_BACK_PAUSE: Duration = Duration::from_millis(500);

/// Commits between two checks of the length of the log.
const LOOK_EVERY_COMMITS: u32 = 16;

/// The signals between the writer and the copying thread.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The writer has found the log to be long, or the thread has to stop.
    long: Arc<Signal>,
    /// The thread has left the rest of the log to the writer.
    nearly_copied: AtomicBool,
    stopping: Signal,
}

impl Log {
    /// Ends the copying thread.
    pub(super) fn stop(&self) {
        self.stopping.raise();
        self.long.raise();
    }

    /// The writer's part. Call it after each commit; `commits` counts these calls.
    pub(super) fn after_commit(&self, connection: &mut SqliteConnection, commits: &mut u32) {
        *commits = commits.wrapping_add(1);
        let outcome = if self.nearly_copied.load(Ordering::SeqCst) {
            self.nearly_copied.store(false, Ordering::SeqCst);
            copy_once(connection).map(drop)
        } else if commits.is_multiple_of(LOOK_EVERY_COMMITS) {
            Look {}.get_result::<LogRow>(connection).map(|log| {
                if log.pages >= COPY_FROM_PAGES {
                    self.long.raise();
                }
            })
        } else {
            Ok(())
        };
        if let Err(error) = outcome {
            not_copied(&error);
        }
    }
}

/// Starts the copying thread.
pub(super) fn start(path: &Path, owner: Arc<Owner>, log: Arc<Log>) -> Result<JoinHandle<()>, OpenError> {
    let connection = connection::open_checkpointer(path)?;
    let path = path.to_owned();
    let copying = move || {
        copy_when_long(Checkpointer { path, connection, owner }, &log, copy);
    };
    std::thread::Builder::new().name("store-wal".into()).spawn(copying).map_err(OpenError::Thread)
}

/// The connection of the copying thread.
struct Checkpointer {
    path: PathBuf,
    /// Dropped before `owner`, so that it is closed before the lock is released.
    connection: SqliteConnection,
    owner: Arc<Owner>,
}

impl Checkpointer {
    /// Runs `copy`. If it panics, the writer copies, as after any other fault.
    fn run(&mut self, copy: &mut impl FnMut(&mut SqliteConnection) -> Copied) -> Copied {
        // Unwind safe: the connection is replaced if it can be.
        catch_unwind(AssertUnwindSafe(|| copy(&mut self.connection))).unwrap_or_else(|panic| {
            let error = message_of_panic(panic.as_ref());
            tracing::error!(
                error,
                "copying the write-ahead log back panicked; its thread goes on with a new connection"
            );
            // Opening a path without the file would create an empty one.
            if self.owner.is_at(&self.path)
                && let Ok(anew) = connection::open_checkpointer(&self.path)
            {
                self.connection = anew;
            }
            Copied::Nearly
        })
    }
}

/// Copies with `copy` whenever the log is long, until the store closes.
fn copy_when_long(
    mut checkpointer: Checkpointer,
    log: &Log,
    mut copy: impl FnMut(&mut SqliteConnection) -> Copied,
) {
    loop {
        log.long.wait(None);
        if log.stopping.is_raised() {
            return;
        }
        let copied = checkpointer.run(&mut copy);
        // Taken before the writer is notified, so that its next check can raise the signal again.
        log.long.take();
        if log.stopping.is_raised() {
            // `stop` may have raised the signal that was just taken.
            return;
        }
        match copied {
            Copied::Nearly => log.nearly_copied.store(true, Ordering::SeqCst),
            Copied::HeldBack => log.stopping.wait(Some(HELD_BACK_PAUSE)),
        }
    }
}

static COPYING: Repeated = Repeated::new("the write-ahead log is copied back again");

fn not_copied(error: &diesel::result::Error) {
    COPYING.failed(|times| {
        tracing::warn!(times, error = %error, "the write-ahead log could not be copied back; trying again later");
    });
}

/// How far the thread has copied the log.
#[derive(Debug, PartialEq, Eq)]
enum Copied {
    /// So far that the writer copies the rest.
    Nearly,
    /// Up to what a reader needs. The writer could copy no more than that, either.
    HeldBack,
}

fn copy(connection: &mut SqliteConnection) -> Copied {
    let mut copied_before = None;
    for _ in 0..PASSES {
        match copy_once(connection) {
            Ok(log) if log.pages - log.copied <= WRITER_COPIES_PAGES => return Copied::Nearly,
            Ok(log) if copied_before == Some(log.copied) => return Copied::HeldBack,
            Ok(log) => copied_before = Some(log.copied),
            Err(error) => {
                not_copied(&error);
                return Copied::Nearly;
            }
        }
    }
    Copied::Nearly
}

/// Runs a checkpoint. A success ends the fault that [`not_copied`] logs.
fn copy_once(connection: &mut SqliteConnection) -> QueryResult<LogRow> {
    let log = Copy {}.get_result::<LogRow>(connection)?;
    COPYING.works();
    Ok(log)
}

/// The result of a checkpoint, in pages.
#[derive(Queryable)]
struct LogRow {
    #[expect(dead_code, reason = "a column of the answer")]
    busy: i64,
    pages: i64,
    copied: i64,
}

statement! { Sqlite;
    /// Copies the part of the log that no reader needs.
    struct Copy {}
    returns (BigInt, BigInt, BigInt);
    "PRAGMA wal_checkpoint(PASSIVE)"
}

statement! { Sqlite;
    /// Returns the same columns without copying.
    struct Look {}
    returns (BigInt, BigInt, BigInt);
    "PRAGMA wal_checkpoint(NOOP)"
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use diesel::connection::SimpleConnection;

    use super::*;

    #[test]
    fn the_thread_ends_when_it_is_stopped_in_the_middle_of_copying() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.db");
        let mut writer = connection::open_writer(&path).expect("opens");
        writer.batch_execute("CREATE TABLE filler (bytes BLOB)").expect("creates");
        for round in 0..60_u64 {
            // Writes enough that copying takes a moment, and stops at a different point of it in each round.
            writer.batch_execute("INSERT INTO filler VALUES (zeroblob(100000))").expect("writes");
            let log = Arc::new(Log::default());
            let owner = Arc::new(Owner::of(&path).expect("locks"));
            let thread = start(&path, owner, Arc::clone(&log)).expect("starts");
            log.long.raise();
            Signal::default().wait(Some(Duration::from_millis(round / 6)));
            log.stop();
            assert_ends(thread);
        }
    }

    #[test]
    fn after_a_panic_the_writer_copies_and_the_thread_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.db");
        let _writer = connection::open_writer(&path).expect("opens");
        let connection = connection::open_checkpointer(&path).expect("opens");
        let owner = Arc::new(Owner::of(&path).expect("locks"));
        let checkpointer = Checkpointer { path, connection, owner };
        let log = Arc::new(Log::default());
        let its_log = Arc::clone(&log);
        let mut has_panicked = false;
        let copying = move |connection: &mut SqliteConnection| {
            assert!(std::mem::replace(&mut has_panicked, true), "the fault of this test");
            copy(connection)
        };
        let thread = std::thread::spawn(move || copy_when_long(checkpointer, &its_log, copying));
        for copied in ["by the writer", "by the thread"] {
            log.long.raise();
            let is_left = (0..3_000).any(|_| {
                Signal::default().wait(Some(Duration::from_millis(10)));
                log.nearly_copied.swap(false, Ordering::SeqCst)
            });
            assert!(is_left, "is copied {copied}");
        }
        log.stop();
        assert_ends(thread);
    }

    fn assert_ends(thread: JoinHandle<()>) {
        let (joined, waits) = mpsc::channel();
        std::thread::spawn(move || joined.send(thread.join().is_ok()));
        assert_eq!(waits.recv_timeout(Duration::from_secs(30)), Ok(true), "it ends");
    }

    #[test]
    fn a_reader_that_holds_the_log_back_leaves_nothing_to_the_writer_until_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.db");
        let mut writer = connection::open_writer(&path).expect("opens");
        let mut checkpointer = connection::open_checkpointer(&path).expect("opens");
        let mut reader = connection::open_reader(&path).expect("opens");
        writer.batch_execute("CREATE TABLE filler (bytes BLOB)").expect("creates");
        let more = "INSERT INTO filler VALUES (zeroblob(8000000))";
        writer.batch_execute(more).expect("writes");
        // As a backup does.
        reader.batch_execute("BEGIN; SELECT count(*) FROM filler").expect("reads");
        writer.batch_execute(more).expect("writes");
        assert_eq!(copy(&mut checkpointer), Copied::HeldBack);
        reader.batch_execute("COMMIT").expect("ends");
        assert_eq!(copy(&mut checkpointer), Copied::Nearly);
    }
}
