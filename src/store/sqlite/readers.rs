//! Reader threads, each with a reading connection. Reads never wait for the writer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use diesel::QueryResult;
use diesel::sqlite::SqliteConnection;
use tokio::sync::oneshot;

use super::connection;
use super::open_error::OpenError;
use super::owner::Owner;
use crate::domain::error::{Error, Result, message_of_panic};

/// The capacity of the queue of reads. When it is full, reads are refused with `StoreUnavailable`.
const QUEUE_READS: usize = 1_024;

/// A read. Returns true if it failed: then the thread opens a new connection.
type Read = Box<dyn FnOnce(&mut SqliteConnection) -> bool + Send>;

/// Sends reads to the reader threads.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Sender<Read>,
}

impl Readers {
    /// Opens `count` connections and starts a thread for each. The threads end when the returned `Readers` is
    /// dropped.
    pub(super) fn start(
        path: &Path,
        owner: &Arc<Owner>,
        name: &str,
        count: usize,
    ) -> std::result::Result<(Self, Vec<JoinHandle<()>>), OpenError> {
        let (queue, reads) = crossbeam_channel::bounded::<Read>(QUEUE_READS);
        let threads = (0..count)
            .map(|number| {
                let connection = connection::open_reader(path)?;
                let reads = reads.clone();
                let (path, owner) = (path.to_owned(), Arc::clone(owner));
                std::thread::Builder::new()
                    .name(format!("{name}-{number}"))
                    .spawn(move || {
                        serve(connection, &reads, &path, &owner);
                        drop(owner);
                    })
                    .map_err(OpenError::Thread)
            })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok((Self { queue }, threads))
    }

    /// Runs a read on one of the threads, and returns its result. Any failure of the read is
    /// `StoreUnavailable`, but a panic is `Internal`.
    pub(super) async fn run<T, R>(&self, read: R) -> Result<T>
    where
        T: Send + 'static,
        R: FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            let found = read(connection);
            let failed = found.is_err();
            // Sending fails if the caller is gone.
            let _ = reply.send(found);
            failed
        });
        self.queue.try_send(read).map_err(|refused| match refused {
            TrySendError::Full(_) => Error::store_unavailable(
                "more reads wait than the store can serve; try again",
                "the queue is full",
            ),
            TrySendError::Disconnected(_) => Error::shutting_down(),
        })?;
        // The threads answer all that is in the queue before they end, so only a panic drops the reply.
        let found = answer.await.map_err(|_| Error::internal("a read of the store panicked"))?;
        found.map_err(|error| {
            Error::store_unavailable("the store cannot be read at the moment; try again", error)
        })
    }
}

fn serve(mut connection: SqliteConnection, reads: &Receiver<Read>, path: &Path, owner: &Owner) {
    for read in reads {
        // Unwind safe: the connection is replaced if it can be.
        let read = catch_unwind(AssertUnwindSafe(|| read(&mut connection)));
        let failed = read.unwrap_or_else(|panic| {
            let error = message_of_panic(panic.as_ref());
            tracing::error!(error, "a read panicked; its thread goes on with a new connection");
            true
        });
        // Opening a path without the file would create an empty one.
        if failed
            && owner.is_at(path)
            && let Ok(anew) = connection::open_reader(path)
        {
            connection = anew;
        }
    }
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection as _;

    use super::*;
    use crate::domain::error::Reason;

    #[tokio::test]
    async fn a_failed_read_makes_no_new_file_in_place_of_a_moved_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("read.db");
        let _writer = connection::open_writer(&path).expect("opens");
        let owner = Arc::new(Owner::of(&path).expect("locks"));
        let (readers, threads) = Readers::start(&path, &owner, "reader", 1).expect("starts");
        std::fs::rename(&path, folder.path().join("away.db")).expect("moves");
        let failed = readers.run(|_| -> QueryResult<()> { Err(diesel::result::Error::NotFound) }).await;
        assert_eq!(failed.expect_err("fails").reason(), Reason::StoreUnavailable);
        drop(readers);
        threads.into_iter().for_each(|thread| thread.join().expect("ends"));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_read_that_panics_fails_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("read.db");
        let mut writer = connection::open_writer(&path).expect("opens");
        writer.batch_execute("CREATE TABLE filler (bytes BLOB)").expect("creates");
        let owner = Arc::new(Owner::of(&path).expect("locks"));
        let (readers, threads) = Readers::start(&path, &owner, "reader", 1).expect("starts");
        let panicked = readers.run(|_| -> QueryResult<()> { panic!("a fault of the read") }).await;
        assert_eq!(panicked.expect_err("fails").reason(), Reason::Internal);
        let read = readers.run(|connection| connection.batch_execute("SELECT 1")).await;
        read.expect("the only thread goes on");
        drop(readers);
        threads.into_iter().for_each(|thread| thread.join().expect("ends"));
    }
}
