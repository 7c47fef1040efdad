//! A write transaction under way: what its commands may use, and what its commit will make known.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use diesel::prelude::*;
use diesel::result::Error as QueryError;
use diesel::sqlite::SqliteConnection;
use jiff::Timestamp;
use rand::rngs::SmallRng;
use tokio::sync::Notify;

use super::committed::Committed;
use super::connection::Owner;
use super::memory::Memory;
use super::schema::queues;
use super::{due, rows, wal};
use crate::domain::clock::Clock;
use crate::domain::error::Error;
use crate::domain::id::WebhookIds;
use crate::domain::job::{JobId, QueueId, Status};
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::changes::{Change, Changes};
use crate::telemetry::metrics::Metrics;

/// What commands need besides the connection.
pub(super) struct Context {
    pub(super) path: PathBuf,
    pub(super) _owner: Owner,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: WebhookIds<SmallRng>,
    pub(super) memory: Memory,
    /// Jobs that may be unfinished.
    pub(super) max_backlog: u64,
    pub(super) committed: Arc<Committed>,
    pub(super) changes: Arc<Changes>,
    pub(super) wake: Arc<OnceLock<Arc<Notify>>>,
    pub(super) log: Arc<wal::Log>,
    pub(super) metrics: Arc<Metrics>,
}

impl Context {
    /// Reads anew what the writer knows, after a transaction that was not committed.
    pub(super) fn reload(&mut self, connection: &mut SqliteConnection) -> QueryResult<()> {
        self.memory = Memory::load(connection, Arc::clone(self.memory.policies()))?;
        self.committed.publish_all(&self.memory);
        Ok(())
    }

    /// Makes known what a transaction changed, now that it is on disk.
    pub(super) fn publish(&mut self, effects: Effects) {
        let changed = self.memory.committed();
        self.committed.publish(&self.memory, changed);
        self.changes.announce(&effects.changes);
        if effects.lets_start
            && let Some(wake) = self.wake.get()
        {
            wake.notify_one();
        }
    }
}

/// Why a command did not go through.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The command is refused; it has written nothing.
    Domain(Error),
    /// A statement failed; the transaction must not be committed.
    Query(QueryError),
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Domain(error)
    }
}

/// What a transaction makes known once it is committed.
#[derive(Default)]
pub(super) struct Effects {
    changes: Vec<Change>,
    /// Whether a job may start now or later.
    lets_start: bool,
}

/// A change of a job that its transaction has written.
pub(super) struct JobChange {
    pub(super) job: JobId,
    pub(super) from: Status,
    pub(super) to: Status,
    pub(super) attempts: u32,
    pub(super) at: Timestamp,
    pub(super) revision: i64,
}

/// See the module.
pub(super) struct Transaction<'a> {
    pub(super) connection: &'a mut SqliteConnection,
    pub(super) context: &'a mut Context,
    effects: Effects,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(connection: &'a mut SqliteConnection, context: &'a mut Context) -> Self {
        Self { connection, context, effects: Effects::default() }
    }

    /// Writes what is written once for all commands, and answers what the commit makes known.
    pub(super) fn end(self) -> QueryResult<Effects> {
        self.context.memory.counts.write(self.connection)?;
        Ok(self.effects)
    }

    /// The queue of a route and a source; made if it is new.
    pub(super) fn queue(&mut self, route: &RouteName, source: &Source) -> QueryResult<QueueId> {
        if let Some(id) = self.context.memory.queues.id(route, source) {
            return Ok(id);
        }
        let id = diesel::insert_into(queues::table)
            .values((queues::route.eq(route.as_str()), queues::source.eq(source.as_str())))
            .returning(queues::id)
            .get_result::<i64>(self.connection)?;
        let id = rows::queue(id)?;
        self.context.memory.queues.add(id, route.clone(), source.clone());
        Ok(id)
    }

    /// A waiting job of a queue is due at that time, and none of its lane comes before it.
    pub(super) fn note_due(&mut self, queue: QueueId, due: Timestamp) {
        self.context.memory.ready.note(queue, due);
        self.effects.lets_start = self.effects.lets_start || self.context.memory.is_open(queue);
    }

    /// A waiting job of a queue was taken out of it: learns which one is due first now.
    pub(super) fn look_again(&mut self, queue: QueueId) -> QueryResult<()> {
        let first = due::first(self.connection, queue)?;
        self.context.memory.ready.found(queue, first);
        Ok(())
    }

    /// Jobs that were held may start now.
    pub(super) fn lets_start(&mut self) {
        self.effects.lets_start = true;
    }

    /// A job changed its status: counts it, and has it announced.
    pub(super) fn record(&mut self, change: JobChange) {
        let JobChange { job, from, to, attempts, at, revision } = change;
        let memory = &mut self.context.memory;
        memory.counts.shift(job.queue, from, to);
        if from == Status::Processing
            && memory.policy(job.queue).is_some_and(|policy| policy.concurrency.is_some())
        {
            // Another job of the route may take its place.
            self.effects.lets_start = true;
        }
        self.announce(job, to, attempts, at, revision);
    }

    /// Has the standing of a job announced.
    pub(super) fn announce(
        &mut self,
        job: JobId,
        status: Status,
        attempts: u32,
        at: Timestamp,
        revision: i64,
    ) {
        let Some((route, _)) = self.context.memory.queues.name(job.queue) else { return };
        self.effects.changes.push(Change {
            job,
            route: route.clone(),
            status,
            attempt_count: attempts,
            updated_at: at,
            revision: revision.cast_unsigned(),
        });
    }
}
