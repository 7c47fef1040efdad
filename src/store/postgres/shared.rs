//! The state that the parts of the store share.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::result::Error as QueryError;
use jiff::Timestamp;
use rand::rngs::SmallRng;

use super::backlog::Backlog;
use super::database_time::DatabaseTime;
use super::notifier::Notifier;
use super::pool::Pool;
use super::purge;
use super::quarantine::Line;
use super::schedule::Schedule;
use super::set_back::SetBack;
use super::unanswered::Unanswered;
use crate::domain::attempt::Lease;
use crate::domain::clock::Clock;
use crate::domain::id::{WebhookId, WebhookIds};
use crate::domain::job::QueueId;
use crate::domain::route::RouteName;
use crate::store::changes::{Change, Changes};
use crate::store::refusals::Refusals;
use crate::store::wakes::Wakes;
use crate::telemetry::metrics::{Metrics, Stopwatch};
use crate::telemetry::repeated::Repeated;

/// Writes of webhooks and outcomes.
static WRITES: Repeated = Repeated::new("the database takes writes again");

/// The number of slots of `status_counts`.
const SLOTS: u32 = 32;

/// The state that the parts of the store share.
pub(super) struct Shared {
    /// Connections for accepting webhooks only.
    pub(super) accepting: Pool,
    /// Connections for claims, outcomes and leases. Separate, so that accepting and reading cannot stop the
    /// worker.
    pub(super) working: Pool,
    /// Connections for reads, operations and upkeep.
    pub(super) asking: Pool,
    /// The clock of this process, for its intervals. What is stored or compared with stored times is the time of the
    /// database, see [`now`](Self::now).
    pub(super) clock: Arc<dyn Clock>,
    pub(super) time: DatabaseTime,
    pub(super) set_back: tokio::sync::Mutex<SetBack>,
    /// How long the leases of jobs that run in this process last, in milliseconds: those of its last claim of such jobs.
    /// 0 before the first one.
    pub(super) lease_ms: AtomicI64,
    pub(super) ids: Mutex<WebhookIds<SmallRng>>,
    pub(super) backlog: Backlog,
    pub(super) schedule: Schedule,
    /// The name of this process in the database and for other replicas.
    pub(super) process: String,
    pub(super) changes: Changes,
    pub(super) wakes: Wakes,
    pub(super) notifier: Notifier,
    pub(super) metrics: Arc<Metrics>,
    /// Locked while this process purges.
    pub(super) purging: tokio::sync::Mutex<purge::Progress>,
    /// The webhooks that wait to be quarantined.
    pub(super) quarantining: Line,
    /// Locked while outcomes are recorded, so that batches are recorded one at a time, and a
    /// connection is left for claims.
    pub(super) unsure: tokio::sync::Mutex<Unsure>,
    /// The changes of breakers whose commit was not answered yet.
    pub(super) unanswered: Unanswered,
    /// What the database has refused of the last webhooks.
    pub(super) refusals: Refusals,
    /// Increased with every statement, so that concurrent statements write to different slots.
    pub(super) next_slot: AtomicU32,
}

/// Leases whose outcome was sent, but whose response was lost: the outcome may be recorded. With the end of each
/// attempt as it was sent, so that it is sent again with the same times.
pub(super) type Unsure = HashMap<Lease, Sent>;

/// The end of an attempt that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// When the attempt ended, by the time of the database.
    pub(super) ended: Timestamp,
    /// The monotonic time at which it was last sent.
    pub(super) at: Duration,
}

impl Shared {
    /// The time of the database.
    pub(super) fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// The slot of `status_counts` that the next statement writes to.
    pub(super) fn slot(&self) -> i16 {
        (self.next_slot.fetch_add(1, Ordering::Relaxed) % SLOTS) as i16
    }

    /// Ids for `count` webhooks, in increasing order.
    pub(super) fn new_ids(&self, count: usize, now: Timestamp) -> Vec<WebhookId> {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        (0..count).map(|_| ids.next(now)).collect()
    }

    /// Announces committed changes to the watchers of this process, and notifies the other replicas soon.
    pub(super) fn changed(&self, changes: &[Change]) {
        self.changes.announce(changes);
        if !changes.is_empty() {
            self.notifier.tell_changed();
        }
    }

    /// Notifies those that follow new webhooks in this process, and the other replicas soon.
    pub(super) fn arrived(&self) {
        self.changes.arrive();
        self.notifier.tell_arrived();
    }

    /// Notes that these queues have something due, wakes the dispatcher, and notifies the other replicas
    /// soon.
    pub(super) fn due(&self, due: &[(QueueId, Timestamp)]) {
        if due.is_empty() {
            return;
        }
        self.schedule.note(due);
        self.wake();
        self.notifier.tell_due(due.iter().map(|(queue, _)| *queue));
    }

    /// Notes that jobs of these routes have ended, so that other jobs may start if the route has `concurrency`
    /// (in other replicas perhaps, if it is not in the settings of this one), or its breaker is half-open. Wakes the
    /// dispatcher if such a route was full, and notifies the other replicas soon.
    pub(super) fn freed<'a>(&self, routes: impl IntoIterator<Item = &'a RouteName>) {
        let policies = self.schedule.policies();
        let tripped = self.schedule.tripped();
        let can_be_full = |route: &&RouteName| {
            policies.get(route).is_none_or(|policy| policy.concurrency.is_some())
                || tripped.iter().any(|breaker| breaker.route == **route)
        };
        let routes = routes.into_iter().filter(can_be_full).collect::<HashSet<_>>();
        if routes.is_empty() {
            return;
        }
        if self.schedule.free(routes.iter().copied()) {
            self.wake();
        }
        self.notifier.tell_freed(routes.into_iter().cloned());
    }

    /// Wakes the dispatcher, and what else claims.
    pub(super) fn wake(&self) {
        self.wakes.notify();
    }

    /// Counts a commit of webhooks or outcomes.
    pub(super) fn committed(&self, took: Stopwatch, commands: usize) {
        WRITES.works();
        self.metrics.committed(took, commands);
    }

    /// Counts and logs a failed commit.
    pub(super) fn failed(&self, operation: &'static str, error: &QueryError) {
        self.metrics.commit_failed();
        WRITES.failed(|times| {
            tracing::error!(times, error = %error, operation, "the database refused a write");
        });
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("process", &self.process).finish_non_exhaustive()
    }
}
