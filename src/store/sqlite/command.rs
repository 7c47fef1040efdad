//! The commands of the writer, and the batch that runs in one transaction.

use diesel::result::Error as QueryError;
use tokio::sync::oneshot;

use super::accept;
use super::transaction::{Refusal, Transaction};
use crate::domain::error::{Error, Result};

/// A unit of work for the writer. The writer may run a command again after a rollback.
pub(super) trait Command: Send {
    /// Runs in the transaction and keeps the result. After an error the writer rolls the transaction back.
    fn run(&mut self, transaction: &mut Transaction<'_>) -> std::result::Result<(), QueryError>;
    /// Sends the kept result to the caller. The writer calls this after the commit.
    fn committed(self: Box<Self>);
    /// Sends an error to the caller. If the store itself has failed, the transaction may be on disk all the same.
    fn failed(self: Box<Self>, error: Error);
}

/// A message to the writer.
pub(super) enum Message {
    Accept(Box<accept::Accept>),
    /// Another command that stores payloads.
    Store(Storing),
    Command(Box<dyn Command>),
    Stop,
}

/// A command that stores payloads.
pub(super) struct Storing {
    pub(super) command: Box<dyn Command>,
    /// The length of the payloads and of the kept headers, in bytes; more if the command takes longer than these say.
    pub(super) bytes: usize,
}

/// A command made of a function.
pub(super) struct Work<T, W> {
    work: W,
    reply: oneshot::Sender<Result<T>>,
    result: Option<Result<T>>,
}

impl<T, W> Work<T, W> {
    /// Makes a command that sends the result of `work` to `reply`.
    pub(super) fn new(work: W, reply: oneshot::Sender<Result<T>>) -> Self {
        Self { work, reply, result: None }
    }
}

impl<T, W> Command for Work<T, W>
where
    T: Send,
    W: FnMut(&mut Transaction<'_>) -> std::result::Result<T, Refusal> + Send,
{
    fn run(&mut self, transaction: &mut Transaction<'_>) -> std::result::Result<(), QueryError> {
        self.result = Some(match (self.work)(transaction) {
            Ok(value) => Ok(value),
            Err(Refusal::Domain(error)) => Err(error),
            Err(Refusal::Query(error)) => return Err(error),
        });
        Ok(())
    }

    fn committed(self: Box<Self>) {
        // Sending fails if the caller is gone. The write is committed all the same.
        let _ = self.reply.send(self.result.unwrap_or_else(|| Err(Error::shutting_down())));
    }

    fn failed(self: Box<Self>, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}

/// The commands that run in one transaction.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) accepts: Vec<accept::Accept>,
    pub(super) commands: Vec<Box<dyn Command>>,
    bytes: usize,
    has_webhooks: bool,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.accepts.len() + self.commands.len()
    }

    /// The length of all payloads of webhooks to store, in bytes; see [`Storing::bytes`].
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it stores webhooks.
    pub(super) fn has_webhooks(&self) -> bool {
        self.has_webhooks
    }

    /// Adds a webhook to store.
    pub(super) fn accept(&mut self, accept: accept::Accept) {
        self.has_webhooks = true;
        self.bytes += accept.bytes();
        self.accepts.push(accept);
    }

    /// Adds another command that stores payloads.
    pub(super) fn store(&mut self, storing: Storing) {
        self.has_webhooks = true;
        self.bytes += storing.bytes;
        self.commands.push(storing.command);
    }

    pub(super) fn committed(self) {
        self.accepts.into_iter().for_each(accept::Accept::committed);
        self.commands.into_iter().for_each(Command::committed);
    }

    pub(super) fn failed(self, error: impl Fn() -> Error) {
        self.accepts.into_iter().for_each(|accept| accept.failed(error()));
        self.commands.into_iter().for_each(|command| command.failed(error()));
    }

    /// Each command in a batch of its own.
    pub(super) fn singly(self) -> impl Iterator<Item = Self> {
        // Of a command it is not known any more whether it stores webhooks.
        let has_webhooks = self.has_webhooks;
        let accepts = self.accepts.into_iter().map(|accept| {
            let mut single = Self::default();
            single.accept(accept);
            single
        });
        let commands = self.commands.into_iter().map(move |command| Self {
            commands: vec![command],
            has_webhooks,
            ..Self::default()
        });
        accepts.chain(commands)
    }
}
