//! The writer's copy of small tables, and what is derived from them. Only the writer uses it.
//!
//! Each transaction changes the copy together with the tables. After a transaction that was not committed,
//! the whole copy is loaded again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use jiff::Timestamp;

use super::counts::Counts;
use super::quarantine::Quarantined;
use super::queries::NO_ROUTE_QUEUE;
use super::schema::{lanes, paces, queues};
use super::time_of_day::TimeOfDay;
use super::{breakers, due, pauses, rows};
use crate::domain::job::{QueueId, Status};
use crate::domain::policy::{Policies, Policy};
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::breakers::Breakers;
use crate::store::ready::{Circumstances, Queues, Ready, Share};
use crate::store::rule::{Allowance, Pace, Paused, allowance};
use crate::store::{Pause, Wanted};

/// The writer's copy of small tables.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) queues: Queues,
    pub(super) counts: Counts,
    pub(super) ready: Ready,
    /// Queues that have or had lanes.
    pub(super) ordered: HashSet<QueueId>,
    pub(super) breakers: Breakers,
    /// The breakers after the last commit.
    committed_breakers: Breakers,
    pub(super) quarantined: Quarantined,
    pub(super) time_of_day: TimeOfDay,
    pauses: Vec<Pause>,
    paused: Paused,
    paces: HashMap<RouteName, Pace>,
    policies: Arc<Policies>,
    /// The policies that come into force when the current transaction is committed.
    new_policies: Option<Arc<Policies>>,
}

#[derive(Queryable)]
struct QueueRow {
    id: i64,
    route: String,
    source: String,
}

#[derive(Queryable)]
struct PaceRow {
    route: String,
    next_at: i64,
}

impl Memory {
    /// Loads the copy from the tables anew. Failures of breakers are in no table, so those up to the last commit are kept.
    pub(super) fn reload(&mut self, connection: &mut SqliteConnection) -> QueryResult<()> {
        let mut loaded = Self::load(connection, Arc::clone(&self.policies))?;
        let stored = loaded.breakers.tripped();
        loaded.breakers.clone_from(&self.committed_breakers);
        loaded.breakers.set_stored(&stored);
        loaded.committed_breakers.clone_from(&loaded.breakers);
        *self = loaded;
        Ok(())
    }

    /// Loads the copy from the tables.
    pub(super) fn load(connection: &mut SqliteConnection, policies: Arc<Policies>) -> QueryResult<Self> {
        let (counts, quarantined) = (Counts::load(connection)?, Quarantined::load(connection)?);
        let time_of_day = TimeOfDay::load(connection)?;
        let mut memory = Self { counts, quarantined, time_of_day, policies, ..Self::default() };
        let named = queues::table.filter(queues::id.ne(i64::from(NO_ROUTE_QUEUE.0)));
        for row in named.load::<QueueRow>(connection)? {
            let id = rows::queue(row.id)?;
            let route = RouteName::new(row.route).map_err(rows::unreadable)?;
            let source = Source::new(row.source).map_err(rows::unreadable)?;
            memory.queues.add(id, route, source);
            memory.ready.found(id, due::first(connection, id)?);
            let of_queue = lanes::table.filter(lanes::queue.eq(row.id));
            if diesel::select(exists(of_queue)).get_result(connection)? {
                memory.ordered.insert(id);
            }
        }
        memory.set_pauses(pauses::load(connection)?);
        memory.breakers.set_stored(&breakers::load(connection)?);
        for row in paces::table.load::<PaceRow>(connection)? {
            let route = RouteName::new(row.route).map_err(rows::unreadable)?;
            let next_at = Timestamp::from_microsecond(row.next_at).map_err(rows::unreadable)?;
            memory.paces.insert(route, Pace(Some(next_at)));
        }
        Ok(memory)
    }

    /// Call it after the commit of the current transaction. Returns the queues whose counts changed.
    pub(super) fn committed(&mut self) -> impl Iterator<Item = QueueId> + use<> {
        if let Some(policies) = self.new_policies.take() {
            self.policies = policies;
        }
        self.committed_breakers.clone_from(&self.breakers);
        self.counts.committed()
    }

    pub(super) fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// Sets the policies. They are in force from the commit on.
    pub(super) fn set_policies(&mut self, policies: Arc<Policies>) {
        self.new_policies = Some(policies);
    }

    pub(super) fn pauses(&self) -> &[Pause] {
        &self.pauses
    }

    /// Replaces all pauses.
    pub(super) fn set_pauses(&mut self, pauses: Vec<Pause>) {
        self.paused = Paused::new(&pauses);
        self.pauses = pauses;
    }

    /// The policy of a queue's route; `None` if the settings have no such route.
    pub(super) fn policy(&self, queue: QueueId) -> Option<&Arc<Policy>> {
        self.policies.get(&self.queues.name(queue)?.0)
    }

    /// Whether jobs of a queue are neither held nor paused.
    pub(super) fn is_open(&self, queue: QueueId) -> bool {
        self.queues.name(queue).is_some_and(|(route, source)| {
            self.policies.get(route).is_some() && !self.paused.holds(route, source)
        })
    }

    /// Shares idle threads between the wanted routes that have jobs to start.
    pub(super) fn plan(
        &self,
        now: Timestamp,
        threads: usize,
        running: &HashMap<RouteName, usize>,
        wanted: &Wanted,
    ) -> Vec<Share> {
        let circumstances = self.circumstances(now, wanted);
        self.ready.plan(&circumstances, threads, running, |policy| self.allowance(policy, now))
    }

    /// The earliest time at which a wanted job may start; see [`Ready::next`].
    pub(super) fn next_start(&self, now: Timestamp, wanted: &Wanted) -> Option<Timestamp> {
        self.ready.next(&self.circumstances(now, wanted), |policy| self.allowance(policy, now))
    }

    fn circumstances<'a>(&'a self, now: Timestamp, wanted: &'a Wanted) -> Circumstances<'a> {
        let Self { queues, policies, paused, .. } = self;
        Circumstances { now, wanted, queues, policies, paused }
    }

    /// How many jobs of a route may start now.
    fn allowance(&self, policy: &Policy, now: Timestamp) -> Allowance {
        let running = if self.can_be_full(policy) {
            let queues = self.queues.of_route(&policy.route).into_iter();
            queues.map(|queue| self.counts.count(queue, Status::Processing)).sum::<u64>()
        } else {
            0
        };
        let pace = self.paces.get(&policy.route).copied().unwrap_or_default();
        let trip = self.breakers.trip(&policy.route);
        allowance(policy, running.try_into().unwrap_or(usize::MAX), pace, trip, now)
    }

    /// Whether the running jobs of a route can keep others of it from starting.
    pub(super) fn can_be_full(&self, policy: &Policy) -> bool {
        policy.concurrency.is_some() || self.breakers.trip(&policy.route).is_some()
    }

    /// Updates the pace of a route after `jobs` of its jobs have started. Returns when its rate allows the
    /// next start, for the table `paces`; `None` if the route has no rate.
    pub(super) fn started(&mut self, route: &RouteName, jobs: usize, now: Timestamp) -> Option<Timestamp> {
        let rate = self.policies.get(route)?.rate?;
        let pace = self.paces.entry(route.clone()).or_default();
        *pace = pace.after(jobs, rate, now);
        pace.0
    }

    /// Updates the pace of a route of which `jobs` jobs were claimed, and given back before they started. Returns the same
    /// as [`started`](Self::started).
    pub(super) fn not_started(&mut self, route: &RouteName, jobs: usize) -> Option<Timestamp> {
        let rate = self.policies.get(route)?.rate?;
        let pace = self.paces.get_mut(route)?;
        *pace = pace.without(jobs, rate);
        pace.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::breaker::{Breaker, Trip};
    use crate::domain::clock::ManualClock;
    use crate::domain::route::Rate;
    use crate::store::sqlite::fixture::{claim, job, open, policy, webhook};
    use crate::store::sqlite::transaction::Refusal;
    use crate::store::{Inbox as _, JobQueue as _, PauseTarget, Store as _};

    #[tokio::test]
    async fn a_transaction_that_is_rolled_back_leaves_the_memory_as_the_tables_are() {
        let rate = Rate { quota: 10.try_into().expect("not zero"), window: Duration::from_secs(1) };
        let policies = ["a", "b"].map(|route| Policy { rate: Some(rate), ..policy(route) });
        let (_folder, store) = open(policies, Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH))).await;
        store.accept(webhook("1"), vec![job("a", None)]).await.expect("accepted");

        let failing = store.writer.run(|transaction| {
            let now = transaction.context.clock.now();
            let (a, b) = (RouteName::new("a")?, RouteName::new("b")?);
            let queue = transaction.queue(&b, &Source::default())?;
            let memory = &mut transaction.context.memory;
            memory.counts.add(queue, Status::Pending);
            let first = memory.queues.id(&a, &Source::default()).expect("is known");
            memory.ready.found(first, None);
            memory.started(&a, 1_000, now);
            memory.set_policies(Arc::default());
            memory.set_pauses(vec![Pause::of(PauseTarget::Everything, now)]);
            memory.breakers.set(&a, Breaker { failures: 1, trip: Some(Trip { trips: 1, open_until: now }) });
            Err::<(), _>(Refusal::Query(diesel::result::Error::NotFound))
        });
        failing.await.expect_err("is rolled back");

        let stats = store.stats().await.expect("reads");
        assert_eq!((stats.queues.len(), stats.counts().total(), stats.pauses.len()), (1, 1, 0));
        assert_eq!(stats.breakers, []);
        store.accept(webhook("2"), vec![job("b", None)]).await.expect("accepted");
        let claimed = store.claim(claim(10)).await.expect("claims");
        let mut routes = claimed.jobs.iter().map(|job| job.route.as_str()).collect::<Vec<_>>();
        routes.sort_unstable();
        assert_eq!(routes, ["a", "b"]);
        assert_eq!(claimed.next, None, "nothing is left");
        assert_eq!(store.stats().await.expect("reads").counts().of(Status::Processing), 2);
        store.close().await;
    }

    #[tokio::test]
    async fn a_command_that_fails_leaves_the_failures_of_a_breaker_as_they_were() {
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let (_folder, store) = open([policy("a")], clock).await;
        let a = RouteName::new("a").expect("valid");
        let of = |failures| Breaker { failures, trip: None };
        let route = a.clone();
        let counting = store.writer.run(move |transaction| {
            transaction.context.memory.breakers.set(&route, of(2));
            Ok::<_, Refusal>(())
        });
        counting.await.expect("is committed");
        let route = a.clone();
        let failing = store.writer.run(move |transaction| {
            transaction.context.memory.breakers.set(&route, of(3));
            Err::<(), _>(Refusal::Query(diesel::result::Error::NotFound))
        });
        failing.await.expect_err("is rolled back");
        let reading =
            store.writer.run(move |transaction| Ok::<_, Refusal>(transaction.context.memory.breakers.of(&a)));
        assert_eq!(reading.await.expect("reads"), of(2));
        store.close().await;
    }
}
