//! A write transaction: what its commands may use, and what to publish after its commit.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use diesel::prelude::*;
use diesel::result::Error as QueryError;
use diesel::sqlite::SqliteConnection;
use jiff::Timestamp;
use rand::rngs::SmallRng;

use super::committed::Committed;
use super::memory::Memory;
use super::owner::Owner;
use super::schema::queues;
use super::time_of_day::{self, NOTED_EVERY};
use super::{due, rows, wal};
use crate::domain::clock::Clock;
use crate::domain::error::Error;
use crate::domain::id::WebhookIds;
use crate::domain::job::{JobId, QueueId, Status};
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::breakers::BreakerChange;
use crate::store::changes::{Change, Changes};
use crate::store::refusals::Refusals;
use crate::store::wakes::Wakes;
use crate::telemetry::metrics::Metrics;

/// The state that commands need in addition to the connection.
pub(super) struct Context {
    pub(super) path: PathBuf,
    pub(super) owner: Arc<Owner>,
    /// The lead of the time of day by which leases go; the greatest one since the time of day was last set back.
    pub(super) lead: Arc<AtomicI64>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: WebhookIds<SmallRng>,
    pub(super) memory: Memory,
    /// The maximum number of unfinished jobs.
    pub(super) max_backlog: u64,
    pub(super) committed: Arc<Committed>,
    pub(super) changes: Arc<Changes>,
    pub(super) wakes: Arc<Wakes>,
    pub(super) log: Arc<wal::Log>,
    /// What the file has refused of the last webhooks.
    pub(super) refusals: Arc<Refusals>,
    pub(super) metrics: Arc<Metrics>,
}

impl Context {
    /// Reloads the writer's memory from the tables. Call it after a transaction that was not committed.
    pub(super) fn reload(&mut self, connection: &mut SqliteConnection) -> QueryResult<()> {
        self.memory.reload(connection)?;
        self.committed.publish_all(&self.memory);
        Ok(())
    }

    /// Publishes what a transaction changed. Call it only after the commit.
    pub(super) fn publish(&mut self, effects: Effects) {
        let changed = self.memory.committed();
        self.committed.publish(&self.memory, changed);
        self.changes.announce(&effects.changes);
        effects.breakers.iter().for_each(|change| change.tell(&self.metrics));
        if effects.lets_start {
            self.wakes.notify();
        }
        if effects.has_arrivals {
            self.refusals.end(self.clock.monotonic());
            self.changes.arrive();
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The command was refused before it wrote anything. The transaction may be committed.
    Domain(Error),
    /// A statement failed. The transaction must be rolled back.
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

/// What to publish after the commit of a transaction.
#[derive(Default)]
pub(super) struct Effects {
    changes: Vec<Change>,
    breakers: Vec<BreakerChange>,
    /// Whether the transaction lets a job start, now or later.
    lets_start: bool,
    /// Whether the transaction stores new webhooks.
    has_arrivals: bool,
}

/// The state of a job after a change that the transaction has written.
pub(super) struct JobChange {
    pub(super) job: JobId,
    pub(super) status: Status,
    pub(super) attempts: u32,
    pub(super) at: Timestamp,
    pub(super) revision: i64,
    pub(super) last_error: Option<String>,
    pub(super) next_attempt_at: Option<Timestamp>,
}

/// A write transaction.
pub(super) struct Transaction<'a> {
    pub(super) connection: &'a mut SqliteConnection,
    pub(super) context: &'a mut Context,
    effects: Effects,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(connection: &'a mut SqliteConnection, context: &'a mut Context) -> Self {
        Self { connection, context, effects: Effects::default() }
    }

    /// Writes the changed counts, once for all commands, and returns what to publish after the commit. If jobs have
    /// changed, notes the time.
    pub(super) fn end(self) -> QueryResult<Effects> {
        if self.context.memory.counts.write(self.connection)? {
            time_of_day::note(self.connection, self.context, NOTED_EVERY)?;
        }
        Ok(self.effects)
    }

    /// The queue of a route and a source. Creates a missing queue.
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

    /// Notes that a waiting job of a queue is due at `due`. The job must be unordered or the first of its
    /// lane.
    pub(super) fn note_due(&mut self, queue: QueueId, due: Timestamp) {
        self.context.memory.ready.note(queue, due);
        self.effects.lets_start = self.effects.lets_start || self.context.memory.is_open(queue);
    }

    /// Reads again when the first job of a queue is due. Call it after a waiting job has left the queue.
    pub(super) fn look_again(&mut self, queue: QueueId) -> QueryResult<()> {
        let first = due::first(self.connection, queue)?;
        self.context.memory.ready.found(queue, first);
        Ok(())
    }

    /// Has the dispatcher claim after the commit, because held jobs may start now.
    pub(super) fn lets_start(&mut self) {
        self.effects.lets_start = true;
    }

    /// Has those that follow new webhooks notified after the commit.
    pub(super) fn arrived(&mut self) {
        self.effects.has_arrivals = true;
    }

    /// Records a change of a job that had the status `from`: changes the counts, and has the change announced
    /// after the commit.
    pub(super) fn record(&mut self, from: Status, change: JobChange) {
        let job = change.job;
        let memory = &mut self.context.memory;
        memory.counts.shift(job.queue, from, change.status);
        if from == Status::Processing
            && memory.policy(job.queue).is_some_and(|policy| memory.can_be_full(policy))
        {
            // Another job of the route may start now.
            self.effects.lets_start = true;
        }
        self.announce(change);
    }

    /// Has a change of a breaker logged after the commit, and has the dispatcher claim: other jobs may start now, or at
    /// another time.
    pub(super) fn breaker_changed(&mut self, change: BreakerChange) {
        self.effects.breakers.push(change);
        self.effects.lets_start = true;
    }

    /// Has a change of a job announced after the commit.
    pub(super) fn announce(&mut self, change: JobChange) {
        let JobChange { job, status, attempts, at, revision, last_error, next_attempt_at } = change;
        let Some((route, _)) = self.context.memory.queues.name(job.queue) else { return };
        self.effects.changes.push(Change {
            job,
            route: route.clone(),
            status,
            attempt_count: attempts,
            updated_at: at,
            revision: revision.cast_unsigned(),
            last_error,
            next_attempt_at,
        });
    }
}
