//! The breakers of routes that are not closed.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use super::rows;
use super::schema::breakers;
use super::transaction::{Refusal, Transaction};
use crate::domain::breaker::{Health, Trip};
use crate::domain::route::RouteName;
use crate::store::breakers::BreakerChange;
use crate::store::{Finish, TrippedBreaker};

#[derive(Queryable)]
struct BreakerRow {
    route: String,
    trips: i64,
    open_until: i64,
}

/// Every breaker that is not closed.
pub(super) fn load(connection: &mut SqliteConnection) -> QueryResult<Vec<TrippedBreaker>> {
    let rows = breakers::table.order(breakers::route).load::<BreakerRow>(connection)?;
    rows.into_iter()
        .map(|BreakerRow { route, trips, open_until }| {
            let route = RouteName::new(route).map_err(rows::unreadable)?;
            let trip = Trip { trips: rows::count(trips)?, open_until: rows::time(open_until)? };
            Ok(TrippedBreaker { route, trip })
        })
        .collect()
}

/// Takes what an attempt that has ended found out about the target of its route.
pub(super) fn learn(transaction: &mut Transaction<'_>, finish: &Finish, health: Health) -> QueryResult<()> {
    let now = transaction.context.clock.now();
    let memory = &mut transaction.context.memory;
    let Some((route, source)) = memory.queues.name(finish.lease.job.queue) else { return Ok(()) };
    let policy = memory.policies().get(route).and_then(|policy| policy.breaker());
    let before = memory.breakers.of(route);
    let after = before.after(health, policy, now);
    if after == before {
        return Ok(());
    }
    let change = BreakerChange::of_attempt(route, source, before, after, finish.error.as_deref());
    memory.breakers.set(route, after);
    match change {
        Some(change) => write(transaction, change),
        None => Ok(()),
    }
}

/// Closes the breaker of a route, because an operator has resumed the route.
pub(super) fn close(transaction: &mut Transaction<'_>, route: &RouteName) -> Result<(), Refusal> {
    if transaction.context.memory.breakers.trip(route).is_some() {
        let change = BreakerChange::by_operator(route);
        transaction.context.memory.breakers.set(route, change.after);
        write(transaction, change)?;
    }
    Ok(())
}

/// Writes a change that is in the memory already.
fn write(transaction: &mut Transaction<'_>, change: BreakerChange) -> QueryResult<()> {
    let route = change.route.as_str();
    match change.after.trip {
        Some(Trip { trips, open_until }) => diesel::replace_into(breakers::table)
            .values((
                breakers::route.eq(route),
                breakers::trips.eq(i64::from(trips)),
                breakers::open_until.eq(open_until.as_millisecond()),
            ))
            .execute(transaction.connection)?,
        None => diesel::delete(breakers::table.find(route)).execute(transaction.connection)?,
    };
    transaction.breaker_changed(change);
    Ok(())
}
