//! The breakers of routes that are not closed. The database stores them for all replicas.
//!
//! Each process counts failures in memory. Only when a breaker opens or closes does it write, in the transaction that
//! ends the lease of the attempt: no other job of the route can start in between.

use std::collections::{HashMap, HashSet};

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Integer, Nullable, Text, Timestamptz};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;

use super::end_leases::{EndedRow, end_leases};
use super::pool::answer;
use super::rows::{self, pg_time};
use super::schedule::{Finding, Learnt, Moment};
use super::schema::breakers;
use super::shared::Shared;
use crate::domain::breaker::Trip;
use crate::domain::route::RouteName;
use crate::store::breakers::BreakerChange;
use crate::store::statement::statement;
use crate::store::{Finish, TrippedBreaker};

/// A breaker that is not closed.
#[derive(Queryable)]
struct BreakerRow {
    route: String,
    trips: i32,
    open_until: PgTimestamp,
}

impl BreakerRow {
    fn into_breaker(self) -> QueryResult<TrippedBreaker> {
        let route = RouteName::new(self.route).map_err(rows::unreadable)?;
        let trip = Trip { trips: rows::count(self.trips)?, open_until: rows::time(self.open_until)? };
        Ok(TrippedBreaker { route, trip })
    }
}

/// What tells a breaker from all others, and from itself before it opened last, as stored in the database.
pub(super) fn key(breaker: &TrippedBreaker) -> (&str, PgTimestamp) {
    (breaker.route.as_str(), pg_time(breaker.trip.open_until))
}

/// The condition that there is no breaker besides those that the plan knew, as arrays of routes and times.
macro_rules! no_unknown_breaker {
    () => {
        "NOT EXISTS (
             SELECT 1 FROM breakers
             WHERE ((route, open_until) IN (SELECT * FROM unnest(?, ?) AS b (route, open_until))) IS NOT TRUE
         )"
    };
}

pub(super) use no_unknown_breaker;

/// All breakers that are not closed.
pub(super) async fn all(connection: &mut AsyncPgConnection) -> QueryResult<Vec<TrippedBreaker>> {
    let rows = breakers::table.order(breakers::route).load::<BreakerRow>(connection).await?;
    rows.into_iter().map(BreakerRow::into_breaker).collect()
}

/// Reads all breakers into the schedule.
pub(super) async fn refresh(shared: &Shared) -> QueryResult<()> {
    let moment = shared.schedule.moment();
    let mut connection = shared.asking.get().await?;
    let reading = answer(all(&mut connection)).await;
    take(shared, moment, connection.release(reading)?);
    Ok(())
}

/// Takes the breakers that are stored into the schedule. `moment` is from before they were read. Announces changes of
/// this process that are among them although the response to their commit was lost. Returns whether the breakers differ
/// from what was known.
pub(super) fn take(shared: &Shared, moment: Moment, stored: Vec<TrippedBreaker>) -> bool {
    let found = shared.unanswered.found_in(&stored, shared.clock.monotonic());
    let is_other = shared.schedule.set_breakers(moment, stored);
    if !found.is_empty() {
        tell(shared, &found);
    }
    is_other
}

/// Closes the breaker of a route in the current transaction. Returns all breakers after that; none if it was closed
/// already.
pub(super) async fn close(
    connection: &mut AsyncPgConnection,
    route: &RouteName,
) -> QueryResult<Option<Vec<TrippedBreaker>>> {
    let closed = diesel::delete(breakers::table.find(route.as_str())).execute(connection).await?;
    if closed == 0 {
        return Ok(None);
    }
    all(connection).await.map(Some)
}

/// Announces that an operator has closed the breaker of a route. `stored` are all breakers after that. For use after the
/// commit.
pub(super) fn closed_by_operator(shared: &Shared, route: &RouteName, stored: Vec<TrippedBreaker>) {
    let changes = [BreakerChange::by_operator(route)];
    shared.schedule.breakers_written(&changes, stored);
    tell(shared, &changes);
}

/// What the ends of a batch change about breakers, as it was recorded with them.
pub(super) struct Changed {
    learnt: Learnt,
    /// All breakers after the changes; none if none was written.
    stored: Option<Vec<TrippedBreaker>>,
}

/// As [`end_leases`] for leases of `worker`. If the ends open or close a breaker, that is written in the same
/// transaction. [`Changed::announce`] has to be called after the commit.
pub(super) async fn end_leases_and_learn(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    batch: &[&Finish],
    worker: &str,
) -> QueryResult<(HashMap<usize, EndedRow>, Changed)> {
    let now = shared.now();
    if !shared.schedule.learn(&findings(batch, |_| true), now).changes.is_empty() {
        return connection
            .transaction(async |connection| end_and_write(shared, connection, batch, worker, now).await)
            .await;
    }
    let ended = end_leases(connection, batch, Some(worker), shared.slot()).await?;
    // If a lease was lost, the others may have opened a breaker after all. The next attempt opens it.
    let learnt = shared.schedule.learn(&findings(batch, |at| ended.contains_key(&at)), now);
    Ok((ended, Changed { learnt, stored: None }))
}

async fn end_and_write(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    batch: &[&Finish],
    worker: &str,
    now: Timestamp,
) -> QueryResult<(HashMap<usize, EndedRow>, Changed)> {
    let ended = end_leases(connection, batch, Some(worker), shared.slot()).await?;
    let mut learnt = shared.schedule.learn(&findings(batch, |at| ended.contains_key(&at)), now);
    if learnt.changes.is_empty() {
        return Ok((ended, Changed { learnt, stored: None }));
    }
    let written = write(connection, &learnt.changes).await?;
    learnt.changes.retain(|change| written.contains(change.route.as_str()));
    let stored = Some(all(connection).await?);
    // Before the commit, whose response can be lost.
    shared.unanswered.add(&learnt.changes, shared.clock.monotonic());
    Ok((ended, Changed { learnt, stored }))
}

/// What the attempts of a batch found out, the earliest first. Only those count that `counts` names by their index.
fn findings<'a>(batch: &[&'a Finish], counts: impl Fn(usize) -> bool) -> Vec<Finding<'a>> {
    let counted = batch.iter().enumerate().filter(|(at, _)| counts(*at));
    let mut found = counted.filter_map(|(_, finish)| Some((*finish, finish.health?))).collect::<Vec<_>>();
    found.sort_by_key(|(finish, _)| finish.finished_at);
    let finding = |(finish, health): (&'a Finish, _)| Finding {
        queue: finish.lease.job.queue,
        health,
        error: finish.error.as_deref(),
    };
    found.into_iter().map(finding).collect()
}

impl Changed {
    /// Takes the changes into the schedule. Logs the breakers that have opened or closed, wakes the dispatcher, and
    /// notifies the other replicas soon.
    pub(super) fn announce(self, shared: &Shared) {
        shared.schedule.count_failures(&self.learnt);
        if let Some(stored) = self.stored {
            shared.schedule.breakers_written(&self.learnt.changes, stored);
            tell(shared, &shared.unanswered.answered(self.learnt.changes));
        }
    }
}

/// Logs and counts changes of breakers, wakes the dispatcher, and notifies the other replicas soon.
fn tell(shared: &Shared, changes: &[BreakerChange]) {
    changes.iter().for_each(|change| change.tell(&shared.metrics));
    shared.wake();
    shared.notifier.tell_breakers();
}

/// Writes changes, each only if no other replica has opened the breaker first. Returns the routes of those that were
/// written.
async fn write(
    connection: &mut AsyncPgConnection,
    changes: &[BreakerChange],
) -> QueryResult<HashSet<String>> {
    let trips = changes.iter().map(|change| change.after.trip);
    let writing = WriteBreakers {
        routes: changes.iter().map(|change| change.route.as_str()).collect(),
        trips: trips
            .clone()
            .map(|trip| trip.map_or(0, |trip| i32::try_from(trip.trips).unwrap_or(i32::MAX)))
            .collect(),
        open_until: trips.map(|trip| trip.map(|trip| pg_time(trip.open_until))).collect(),
    };
    Ok(writing.load::<String>(connection).await?.into_iter().collect())
}

// 0 trips close a breaker. A breaker opens again only if it was closed, or has opened one time less in a row. The rows
// are locked first, in the order of the routes: two processes that close and open breakers crosswise would deadlock.
statement! { Pg;
    struct WriteBreakers<'a> {
        routes: Vec<&'a str> as Array<Text>,
        trips: Vec<i32> as Array<Integer>,
        open_until: Vec<Option<PgTimestamp>> as Array<Nullable<Timestamptz>>,
    }
    returns Text;
    "WITH given AS MATERIALIZED (
         SELECT * FROM unnest(?, ?, ?) AS g (route, trips, open_until)
     ), locked AS MATERIALIZED (
         SELECT route FROM breakers WHERE route = ANY (ARRAY(SELECT route FROM given)) ORDER BY route FOR UPDATE
     ), closed AS (
         DELETE FROM breakers
         WHERE route = ANY (ARRAY(SELECT route FROM given WHERE trips = 0)) AND (SELECT count(*) FROM locked) >= 0
         RETURNING route
     ), opened AS (
         INSERT INTO breakers AS b (route, trips, open_until)
         SELECT route, trips, open_until FROM given
         WHERE (trips = 1 OR trips > 1 AND route IN (SELECT route FROM breakers))
           AND (SELECT count(*) FROM locked) >= 0
         ORDER BY route COLLATE \"C\"
         ON CONFLICT (route) DO UPDATE SET trips = excluded.trips, open_until = excluded.open_until
         WHERE b.trips = excluded.trips - 1
         RETURNING b.route
     )
     SELECT route FROM closed UNION ALL SELECT route FROM opened"
}
