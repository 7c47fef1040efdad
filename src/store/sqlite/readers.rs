//! A few threads, each with a reading connection. Reads never wait for the writer.

use std::path::Path;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};
use diesel::QueryResult;
use diesel::sqlite::SqliteConnection;
use tokio::sync::oneshot;

use super::connection::{self, OpenError};
use crate::domain::error::{Error, Result};

/// Reads that may wait for one of them; beyond that they are refused, not piled up.
const QUEUE_READS: usize = 1_024;

type Read = Box<dyn FnOnce(&mut SqliteConnection) + Send>;

/// The way to the readers.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Sender<Read>,
}

impl Readers {
    /// Opens `count` connections and starts their threads, which end when this is dropped.
    pub(super) fn start(
        path: &Path,
        count: usize,
    ) -> std::result::Result<(Self, Vec<JoinHandle<()>>), OpenError> {
        let (queue, reads) = crossbeam_channel::bounded::<Read>(QUEUE_READS);
        let threads = (0..count)
            .map(|number| {
                let connection = connection::open_reader(path)?;
                let reads = reads.clone();
                std::thread::Builder::new()
                    .name(format!("store-reader-{number}"))
                    .spawn(move || serve(connection, &reads))
                    .map_err(OpenError::Thread)
            })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok((Self { queue }, threads))
    }

    /// Runs a read and answers what it found.
    pub(super) async fn run<T, R>(&self, read: R) -> Result<T>
    where
        T: Send + 'static,
        R: FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            // Who asked may be gone.
            let _ = reply.send(read(connection));
        });
        self.queue.try_send(read).map_err(|refused| {
            Error::store_unavailable(
                "more reads wait than the store can serve; try again",
                refused.to_string(),
            )
        })?;
        let found = answer.await.map_err(|_| Error::shutting_down())?;
        found.map_err(|error| {
            Error::store_unavailable("the store cannot be read at the moment; try again", error)
        })
    }
}

fn serve(mut connection: SqliteConnection, reads: &Receiver<Read>) {
    for read in reads {
        read(&mut connection);
    }
}
