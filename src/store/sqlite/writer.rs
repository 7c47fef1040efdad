//! The writer thread: group commit.
//!
//! A thread owns the writing connection. It takes the commands that were enqueued during the last commit,
//! runs all of them in one transaction, commits, and only then sends the results. It never waits for a batch
//! to fill. Of large webhooks and batches, a transaction takes only a few (`queue`).
//!
//! A command that fails or panics does not fail the others: the writer rolls the batch back and runs its commands
//! one by one. If the store itself is at fault (disk full, I/O error), all commands of the batch get an error,
//! and the writer opens a new connection for the next batch. Before each batch it looks whether the file and its write-ahead
//! log are still at their paths: otherwise the next process would not find what is acknowledged. It keeps its connection to
//! files that are not, so that the stop copies the log back into the file.

mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use diesel::connection::SimpleConnection;
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use self::queue::Queue;
use super::accept;
use super::accept_batch::{AcceptBatch, BatchResult};
use super::command::{Batch, Message, Storing, Work};
use super::connection;
use super::open_error::OpenError;
use super::time_of_day;
use super::transaction::{Context, Effects, Refusal, Transaction};
use super::{set_back, set_forward};
use crate::domain::conflict::OnConflict;
use crate::domain::error::{Error, Result, message_of_panic};
use crate::store::acceptance::queue_full;
use crate::store::statement::is_constraint;
use crate::store::{Accepted, Submission};
use crate::telemetry::metrics::Stopwatch;
use crate::telemetry::repeated::Repeated;

/// The capacity of the writer's queue, in commands. When it is full, webhooks are refused, and other commands
/// wait for a free place.
const QUEUE_COMMANDS: usize = 4_096;

/// Maximum number of large webhooks that wait beside that queue. Further ones are refused.
const LARGE_WEBHOOKS: usize = 4_096;

/// Sends commands to the writer.
#[derive(Clone, Debug)]
pub(super) struct WriterHandle {
    queue: mpsc::Sender<Message>,
}

impl WriterHandle {
    /// Stores a webhook. Fails with `BacklogFull` if the queue is full.
    pub(super) async fn accept(&self, submission: Submission, on_conflict: OnConflict) -> Result<Accepted> {
        let (reply, answer) = oneshot::channel();
        self.try_send(Message::Accept(Box::new(accept::Accept::new(submission, on_conflict, reply))))?;
        answer.await.map_err(|_| self.unanswered())?
    }

    /// Stores all webhooks of a batch, or none. Fails with `BacklogFull` if the queue is full.
    pub(super) async fn accept_batch(
        &self,
        submissions: Vec<Submission>,
        on_conflict: OnConflict,
    ) -> BatchResult {
        let (reply, answer) = oneshot::channel();
        let batch = AcceptBatch::new(submissions, on_conflict, reply);
        let bytes = batch.bytes();
        self.try_send(Message::Store(Storing { command: Box::new(batch), bytes }))?;
        answer.await.map_err(|_| self.unanswered())?
    }

    /// Runs `work`, which stores payloads of this many bytes, as [`run`](Self::run) does. Fails with `BacklogFull` if
    /// the queue is full.
    pub(super) async fn store<T, W>(&self, bytes: usize, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnMut(&mut Transaction<'_>) -> std::result::Result<T, Refusal> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.try_send(Message::Store(Storing { command: Box::new(Work::new(work, reply)), bytes }))?;
        answer.await.map_err(|_| self.unanswered())?
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
        answer.await.map_err(|_| self.unanswered())?
    }

    /// Has the writer run the commands that are enqueued already, and stop.
    pub(super) async fn stop(&self) {
        // Sending fails only if the writer has already stopped.
        let _ = self.queue.send(Message::Stop).await;
    }

    fn try_send(&self, message: Message) -> Result<()> {
        self.queue.try_send(message).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => queue_full(QUEUE_COMMANDS),
            mpsc::error::TrySendError::Closed(_) => Error::shutting_down(),
        })
    }

    async fn send(&self, message: Message) -> Result<()> {
        self.queue.send(message).await.map_err(|_| Error::shutting_down())
    }

    /// The error for a command that got no reply: the writer has stopped, or panicked.
    fn unanswered(&self) -> Error {
        if self.queue.is_closed() {
            Error::shutting_down()
        } else {
            Error::internal("the writer of the store panicked, so the command got no reply")
        }
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
        .spawn(move || writer.work(Queue::new(messages, LARGE_WEBHOOKS)))
        .map_err(OpenError::Thread)?;
    Ok((WriterHandle { queue }, thread))
}

struct Writer {
    /// `None` after a fault or a panic, until the next batch opens a new connection.
    connection: Option<SqliteConnection>,
    context: Context,
    commits: u32,
}

impl Writer {
    fn work(mut self, mut queue: Queue) {
        while let Some(batch) = queue.next_batch() {
            // Unwind safe: the next batch opens a new connection and loads the memory anew.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.run(batch))) {
                tracing::error!(
                    error = message_of_panic(panic.as_ref()),
                    "the writer panicked outside of a transaction; its last batch may be stored, but was not fully answered"
                );
                self.connection = None;
            }
        }
        queue.close();
        if let Err(error) = self.finish() {
            tracing::warn!(error = %error, "the write-ahead log could not be copied back at shutdown; keep it beside its file, and the next start copies it");
        }
    }

    /// Notes the time, and copies the write-ahead log back into the file, also if the last batch has failed.
    fn finish(mut self) -> std::result::Result<(), QueryError> {
        let mut connection = match self.connection.take() {
            // To the file that this process has locked, wherever that is now.
            Some(connection) => connection,
            None => {
                self.context.owner.check(&self.context.path)?;
                reopen(&mut self.context)?
            }
        };
        // If it fails, the next start goes by the time that was noted last.
        let _ = time_of_day::note(&mut connection, &mut self.context, 0);
        connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    fn run(&mut self, mut batch: Batch) {
        let started = Stopwatch::start();
        // Unwind safe: closing the connection rolls the transaction back, and the next one loads the memory anew.
        let written = catch_unwind(AssertUnwindSafe(|| self.transact(&mut batch))).unwrap_or_else(|panic| {
            self.connection = None;
            let text = format!("a command panicked: {}", message_of_panic(panic.as_ref()));
            Err(QueryError::QueryBuilderError(text.into()))
        });
        match written {
            Ok(effects) => {
                self.context.publish(effects);
                // A small write, such as that of the probe, can fit where no webhook does.
                if !self.context.refusals.are_in_a_row(self.context.clock.monotonic()) {
                    WRITING.works();
                }
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

    /// Runs the batch in one transaction. Returns what to publish after the commit.
    fn transact(&mut self, batch: &mut Batch) -> std::result::Result<Effects, QueryError> {
        let Self { connection, context, .. } = self;
        context.owner.check(&context.path)?;
        let began = context.clock.monotonic();
        let open = match connection {
            Some(open) => open,
            None => connection.insert(reopen(context)?),
        };
        let lead = set_back::lead(context.clock.as_ref());
        let set_forward_by = set_forward::step(context.lead.load(Ordering::SeqCst), lead);
        let written = open.immediate_transaction(|open| {
            let mut transaction = Transaction::new(open, context);
            if let Some(step) = set_forward_by {
                set_forward::move_leases(&mut transaction, step)?;
            }
            accept::accept_all(&mut transaction, &mut batch.accepts)?;
            for command in &mut batch.commands {
                command.run(&mut transaction)?;
            }
            transaction.end()
        });
        if written.is_ok() {
            // Only now: until then leases go by the time of day before the step.
            context.lead.fetch_max(lead, Ordering::SeqCst);
            if let Some(step) = set_forward_by {
                set_forward::log(step);
            }
        }
        if let Err(error) = &written
            && batch.has_webhooks()
            && is_store_fault(error)
        {
            context.refusals.add(began, context.clock.monotonic(), error.to_string());
        }
        // After a fault of the store, or if the reload fails, the next batch opens a new connection and reloads from it.
        if let Err(error) = &written
            && (is_store_fault(error) || context.reload(open).is_err())
        {
            *connection = None;
        }
        written
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
        QueryError::DatabaseError(kind, _) => !is_constraint(kind),
        QueryError::RollbackErrorOnCommit { .. }
        | QueryError::RollbackTransaction
        | QueryError::AlreadyInTransaction
        | QueryError::NotInTransaction
        | QueryError::BrokenTransactionManager => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
