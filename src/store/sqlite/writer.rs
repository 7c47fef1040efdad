//! The writer thread: group commit.
//!
//! A thread owns the writing connection. It takes the commands that were enqueued during the last commit,
//! runs all of them in one transaction, commits, and only then sends the results. It never waits for a batch
//! to fill.
//!
//! A command that fails does not fail the others: the writer rolls the batch back and runs its commands one
//! by one. If the store itself is at fault (disk full, I/O error), all commands of the batch get an error,
//! and the writer opens a new connection for the next batch.

use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use diesel::connection::SimpleConnection;
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use super::accept;
use super::command::{Batch, Message, Work};
use super::connection;
use super::open_error::OpenError;
use super::set_back;
use super::transaction::{Context, Refusal, Transaction};
use crate::domain::error::{Error, Result};
use crate::domain::route::NewJob;
use crate::domain::webhook::NewWebhook;
use crate::store::Accepted;
use crate::store::acceptance::queue_full;
use crate::telemetry::metrics::Stopwatch;
use crate::telemetry::repeated::Repeated;

/// The capacity of the writer's queue, in commands. When it is full, webhooks are refused, and other commands
/// wait for a free place.
const QUEUE_COMMANDS: usize = 4_096;

/// Maximum number of commands in one transaction. Bounds how long the first command waits for the last.
const BATCH_COMMANDS: usize = 1_024;

/// Sends commands to the writer.
#[derive(Clone, Debug)]
pub(super) struct WriterHandle {
    queue: mpsc::Sender<Message>,
}

impl WriterHandle {
    /// Stores a webhook. Fails with `BacklogFull` if the queue is full.
    pub(super) async fn accept(&self, webhook: NewWebhook, jobs: Vec<NewJob>) -> Result<Accepted> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Accept(Box::new(accept::Accept::new(webhook, jobs, reply)));
        self.queue.try_send(message).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => queue_full(QUEUE_COMMANDS),
            mpsc::error::TrySendError::Closed(_) => Error::shutting_down(),
        })?;
        answer.await.map_err(|_| Error::shutting_down())?
    }

    /// Runs `work` in a transaction, and returns its result once the transaction is on disk. `work` must not
    /// write anything before it returns `Refusal::Domain`, and may run twice.
    pub(super) async fn run<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnMut(&mut Transaction<'_>) -> std::result::Result<T, Refusal> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Command(Box::new(Work::new(work, reply)))).await?;
        answer.await.map_err(|_| Error::shutting_down())?
    }

    /// Has the writer run the commands that are enqueued already, and stop.
    pub(super) async fn stop(&self) {
        // Sending fails only if the writer has already stopped.
        let _ = self.queue.send(Message::Stop).await;
    }

    async fn send(&self, message: Message) -> Result<()> {
        self.queue.send(message).await.map_err(|_| Error::shutting_down())
    }
}

/// Starts the writer's thread.
pub(super) fn start(
    connection: SqliteConnection,
    context: Context,
) -> std::result::Result<(WriterHandle, JoinHandle<()>), OpenError> {
    let (queue, messages) = mpsc::channel(QUEUE_COMMANDS);
    let writer = Writer { connection: Some(connection), context, commits: 0 };
    let thread = std::thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || writer.work(messages))
        .map_err(OpenError::Thread)?;
    Ok((WriterHandle { queue }, thread))
}

struct Writer {
    /// `None` after a fault, until the next batch opens a new connection.
    connection: Option<SqliteConnection>,
    context: Context,
    commits: u32,
}

impl Writer {
    fn work(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut going_on = true;
        while going_on {
            let Some(first) = messages.blocking_recv() else { break };
            let mut batch = Batch::default();
            going_on = batch.push(first);
            // Lets other ready threads run first. On busy cores more of their commands join this batch; on
            // idle cores the call returns immediately.
            std::thread::yield_now();
            while going_on && batch.len() < BATCH_COMMANDS {
                let Ok(message) = messages.try_recv() else { break };
                going_on = batch.push(message);
            }
            self.run(batch);
        }
        messages.close();
        // Commands behind the stop get an error, because their reply channel is dropped. The queue is read to
        // its end: otherwise a command that is being enqueued at this moment would never get a reply.
        while messages.blocking_recv().is_some() {}
        let copied = self
            .connection
            .take()
            .map(|mut connection| connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)"));
        if let Some(Err(error)) = copied {
            tracing::warn!(error = %error, "the write-ahead log could not be copied back at shutdown; the next start copies it");
        }
    }

    fn run(&mut self, mut batch: Batch) {
        let started = Stopwatch::start();
        match self.transact(&mut batch) {
            Ok(()) => {
                WRITING.works();
                self.context.metrics.committed(started, batch.len());
                batch.committed();
                let Self { connection, context, commits } = self;
                if let Some(connection) = connection {
                    context.log.after_commit(connection, commits);
                }
            }
            Err(error) if is_store_fault(&error) => {
                let commands = batch.len();
                WRITING.failed(|times| {
                    tracing::error!(times, error = %error, commands, "the store cannot write; nothing of this batch was acknowledged");
                });
                self.context.metrics.commit_failed();
                self.connection = None;
                let error = error.to_string();
                batch.failed(|| {
                    Error::store_unavailable(
                        "the store cannot write at the moment; the request may or may not be stored, send it again",
                        error.clone(),
                    )
                });
            }
            Err(error) if batch.len() > 1 => {
                tracing::error!(error = %error, "a command failed; its batch is run one by one");
                for single in batch.singly() {
                    self.run(single);
                }
            }
            Err(error) => {
                tracing::error!(error = %error, "a command failed");
                let error = error.to_string();
                batch.failed(|| Error::internal(error.clone()));
            }
        }
    }

    /// Runs the batch in one transaction, and publishes its effects after the commit.
    fn transact(&mut self, batch: &mut Batch) -> std::result::Result<(), QueryError> {
        let Self { connection, context, .. } = self;
        let open = match connection {
            Some(open) => open,
            None => connection.insert(reopen(context)?),
        };
        context.lead.fetch_max(set_back::lead(context.clock.as_ref()), Ordering::SeqCst);
        let effects = open.immediate_transaction(|open| {
            let mut transaction = Transaction::new(open, context);
            accept::accept_all(&mut transaction, &mut batch.accepts)?;
            for command in &mut batch.commands {
                command.run(&mut transaction)?;
            }
            transaction.end()
        });
        match effects {
            Ok(effects) => {
                context.publish(effects);
                Ok(())
            }
            Err(error) => {
                // If the reload fails, the next batch opens a new connection and reloads from it.
                if !is_store_fault(&error) && context.reload(open).is_err() {
                    *connection = None;
                }
                Err(error)
            }
        }
    }
}

static WRITING: Repeated = Repeated::new("the store can be written again");

/// Opens a connection after a fault, and reloads the context: a commit that reported an error may be in the
/// file.
fn reopen(context: &mut Context) -> std::result::Result<SqliteConnection, QueryError> {
    let mut connection = connection::open_writer(&context.path).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        QueryError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(format!("{error}: {cause}")))
    })?;
    context.reload(&mut connection)?;
    Ok(connection)
}

/// Whether the store itself is at fault, and not the command.
fn is_store_fault(error: &QueryError) -> bool {
    match error {
        QueryError::DatabaseError(kind, _) => !matches!(
            kind,
            DatabaseErrorKind::UniqueViolation
                | DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::CheckViolation
        ),
        QueryError::RollbackErrorOnCommit { .. }
        | QueryError::RollbackTransaction
        | QueryError::AlreadyInTransaction
        | QueryError::NotInTransaction
        | QueryError::BrokenTransactionManager => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::clock::ManualClock;
    use crate::store::sqlite::fixture;

    #[tokio::test]
    async fn commands_enqueued_during_shutdown_get_an_error() {
        let (_folder, store) =
            fixture::open([], Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH))).await;
        let queue = &store.writer.queue;
        let place = queue.reserve().await.expect("is open");
        store.writer.stop().await;
        queue.closed().await;
        let (reply, answer) = oneshot::channel();
        place.send(Message::Command(Box::new(Work::new(|_: &mut Transaction<'_>| Ok(()), reply))));
        let answer = tokio::time::timeout(Duration::from_secs(30), answer).await;
        assert!(answer.expect("is answered").is_err());
    }
}
