//! Claims for routes with `concurrency` or `rate`, and for those whose breaker is not closed: of all replicas, one
//! process at a time claims for such a route.
//!
//! A claim first locks the row of the route in `paces`. The next statement counts the running jobs, and so
//! sees every earlier claim that was made under the same lock.

use std::collections::{BTreeMap, HashMap, HashSet};

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use futures::future::try_join;

use super::lease_jobs::{Leased, Leasing, lease};
use super::pool::answer;
use super::rows::{self, pg_time};
use super::schedule::Share;
use super::schema::paces;
use super::shared::Shared;
use crate::domain::breaker::Trip;
use crate::domain::policy::{Policies, Policy};
use crate::domain::route::RouteName;
use crate::store::rule::{Pace, allowance, most_at_once, time_of};
use crate::store::statement::statement;

/// Whether starts of a route are limited. `trip` is what is known of its breaker.
pub(super) fn is_limited(policy: &Policy, trip: Option<Trip>) -> bool {
    policy.concurrency.is_some() || policy.rate.is_some() || trip.is_some() && policy.breaker().is_some()
}

/// Whether starts of a route are limited, or will be once its breaker has opened.
fn can_be_limited(policy: &Policy) -> bool {
    is_limited(policy, None) || policy.breaker().is_some()
}

/// The state of a route's limits after a claim.
pub(super) struct Standing {
    pub(super) route: RouteName,
    pub(super) pace: Pace,
    /// Whether as many of its jobs run as its `concurrency` or its breaker allows.
    pub(super) is_full: bool,
}

/// The result of a claim for routes with a limit.
#[derive(Default)]
pub(super) struct Limited {
    pub(super) leased: Leased,
    pub(super) standings: Vec<Standing>,
    /// Whether another process was claiming for one of the routes.
    pub(super) is_contended: bool,
    /// Whether one of the routes may start nothing now.
    pub(super) is_refused: bool,
}

#[derive(Queryable)]
struct PaceRow {
    route: String,
    next_at: Option<PgTimestamp>,
}

#[derive(Queryable)]
struct RunningRow {
    route: String,
    jobs: i64,
}

/// Adds the missing rows of `paces`: one for each route that can have a limit. Writes nothing if none is missing.
pub(super) async fn add_routes(connection: &mut AsyncPgConnection, policies: &Policies) -> QueryResult<()> {
    let known = paces::table.select(paces::route).load::<String>(connection).await?;
    let known = known.into_iter().collect::<HashSet<_>>();
    let mut routes = policies
        .iter()
        .filter(|policy| can_be_limited(policy))
        .map(|policy| policy.route.as_str())
        .filter(|route| !known.contains(*route))
        .collect::<Vec<_>>();
    if routes.is_empty() {
        return Ok(());
    }
    routes.sort_unstable();
    let rows = routes.into_iter().map(|route| paces::route.eq(route)).collect::<Vec<_>>();
    diesel::insert_into(paces::table)
        .values(rows)
        .on_conflict_do_nothing()
        .execute(connection)
        .await
        .map(drop)
}

/// Leases jobs of these routes, as many as their threads and limits allow, in one transaction.
pub(super) async fn claim(
    connection: &mut AsyncPgConnection,
    shares: Vec<Share>,
    leasing: &Leasing<'_>,
) -> QueryResult<Limited> {
    if shares.is_empty() {
        return Ok(Limited::default());
    }
    connection.transaction(async |connection| claim_locked(connection, shares, leasing).await).await
}

async fn claim_locked(
    connection: &mut AsyncPgConnection,
    shares: Vec<Share>,
    leasing: &Leasing<'_>,
) -> QueryResult<Limited> {
    let now = leasing.now;
    let mut routes = shares.iter().map(|share| share.policy.route.as_str()).collect::<Vec<_>>();
    routes.sort_unstable();
    let locking = LockPaces { routes: routes.clone() };
    let counting = CountRunning { routes };
    let (locked, running) = {
        let mut shared: (&AsyncPgConnection, &AsyncPgConnection) = (connection, connection);
        // Sent together. The server starts the second statement after it has finished the first.
        try_join(locking.load::<PaceRow>(&mut shared.0), counting.load::<RunningRow>(&mut shared.1)).await?
    };
    let mut paces = HashMap::new();
    for PaceRow { route, next_at } in locked {
        paces.insert(route, Pace(next_at.map(rows::time).transpose()?));
    }
    let running = running.into_iter().map(|row| (row.route, row.jobs)).collect::<HashMap<_, _>>();
    let running =
        |route: &RouteName| usize::try_from(running.get(route.as_str()).copied().unwrap_or(0)).unwrap_or(0);
    let mut limited = Limited::default();
    let mut allowed = Vec::with_capacity(shares.len());
    let mut refused = Vec::new();
    for mut share in shares {
        let Some(pace) = paces.get(share.policy.route.as_str()).copied() else {
            // Or a failover has lost the row. `look` adds it again.
            limited.is_contended = true;
            continue;
        };
        let starts = allowance(&share.policy, running(&share.policy.route), pace, share.trip, now).starts;
        share.threads = share.threads.min(starts);
        if share.threads > 0 { allowed.push((share, pace)) } else { refused.push((share, pace)) }
    }
    limited.is_refused = !refused.is_empty();
    if !allowed.is_empty() {
        lease(connection, allowed.iter().map(|(share, _)| share), leasing, &mut limited.leased).await?;
    }
    let mut moved = Vec::new();
    for (share, pace) in allowed.into_iter().chain(refused) {
        let policy = &share.policy;
        let is_of = |queue: i32| share.queues.iter().any(|shared| rows::queue_number(shared.id) == queue);
        let started = limited.leased.jobs.iter().filter(|job| is_of(job.queue)).count();
        let pace = match policy.rate {
            Some(rate) if started > 0 => {
                let pace = pace.after(started, rate, now);
                moved.push((policy.route.clone(), pace));
                pace
            }
            _ => pace,
        };
        let most = most_at_once(policy, share.trip, now);
        let is_full = most.is_some_and(|most| running(&policy.route) + started >= most);
        limited.standings.push(Standing { route: policy.route.clone(), pace, is_full });
    }
    if !moved.is_empty() {
        let moving = MovePaces {
            routes: moved.iter().map(|(route, _)| route.as_str()).collect(),
            next_at: moved.iter().map(|(_, pace)| pace.0.map(pg_time)).collect(),
        };
        moving.execute(connection).await?;
    }
    Ok(limited)
}

/// Gives starts back to the rates of these routes: as many of their jobs were leased, and given back before they started.
/// A statement of its own, because a claim locks the pace of a route before it locks jobs.
pub(super) async fn return_starts(shared: &Shared, starts: BTreeMap<&RouteName, usize>) -> QueryResult<()> {
    let policies = shared.schedule.policies();
    let limited = starts.into_iter().filter_map(|(route, starts)| {
        let rate = policies.get(route)?.rate?;
        let time = i64::try_from(time_of(starts, rate).as_micros()).unwrap_or(i64::MAX);
        Some((route, time))
    });
    let (routes, times): (Vec<&RouteName>, Vec<i64>) = limited.unzip();
    if routes.is_empty() {
        return Ok(());
    }
    let returning = ReturnStarts { routes: routes.iter().map(|route| route.as_str()).collect(), times };
    let mut connection = shared.working.get().await?;
    let returned = answer(returning.execute(&mut *connection)).await;
    connection.release(returned)?;
    routes.into_iter().for_each(|route| shared.schedule.forget_pace(route));
    Ok(())
}

statement! { Pg;
    /// `times` are in microseconds.
    struct ReturnStarts<'a> {
        routes: Vec<&'a str> as Array<Text>,
        times: Vec<i64> as Array<BigInt>,
    }
    returns ();
    "WITH given AS MATERIALIZED (
         SELECT * FROM unnest(?, ?) AS g (route, back)
     ), locked AS MATERIALIZED (
         SELECT route FROM paces WHERE route = ANY (ARRAY(SELECT route FROM given)) ORDER BY route FOR UPDATE
     )
     UPDATE paces p SET next_at = p.next_at - g.back * interval '1 microsecond'
     FROM given g WHERE p.route = g.route AND (SELECT count(*) FROM locked) >= 0"
}

statement! { Pg;
    struct LockPaces<'a> {
        routes: Vec<&'a str> as Array<Text>,
    }
    returns (Text, Nullable<Timestamptz>);
    "SELECT route, next_at FROM paces WHERE route = ANY (?) ORDER BY route FOR UPDATE SKIP LOCKED"
}

statement! { Pg;
    struct CountRunning<'a> {
        routes: Vec<&'a str> as Array<Text>,
    }
    returns (Text, BigInt);
    "SELECT q.route, sum(j.jobs)::bigint FROM queues q
     CROSS JOIN LATERAL (SELECT count(*) AS jobs FROM jobs WHERE queue = q.id AND status = 1 OFFSET 0) AS j
     WHERE q.route = ANY (?) GROUP BY q.route"
}

// The rows exist and are locked.
statement! { Pg;
    struct MovePaces<'a> {
        routes: Vec<&'a str> as Array<Text>,
        next_at: Vec<Option<PgTimestamp>> as Array<Nullable<Timestamptz>>,
    }
    returns ();
    "INSERT INTO paces (route, next_at) SELECT * FROM unnest(?, ?)
     ON CONFLICT (route) DO UPDATE SET next_at = excluded.next_at"
}
