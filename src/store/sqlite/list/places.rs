//! Where a window looks: at the places that an index has, or at all webhooks of a range.

use std::collections::BTreeSet;
use std::ops::Range;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;

use crate::domain::id::Sequence;
use crate::domain::job::Status;
use crate::domain::webhook::IdempotencyKey;
use crate::store::ListQuery;
use crate::store::list::{INDEX_ROWS, Look, Names, merge};
use crate::store::sqlite::keys::key_name;
use crate::store::sqlite::schema::{idempotency_keys, jobs};
use crate::store::statement::statement;

/// If there are more unfinished jobs than this, they are not collected to be put in order.
const MOST_UNFINISHED: i64 = 5_000;

/// The statuses of the index `jobs_by_status`.
const INDEXED: [Status; 5] =
    [Status::Retrying, Status::DeadLettered, Status::Cancelled, Status::Filtered, Status::Quarantined];

/// Where to look.
pub(super) enum Places {
    /// At all webhooks from this one on.
    From(i64),
    /// At these.
    Among(Vec<i64>),
}

/// What the next window looks at.
pub(super) struct Area {
    pub(super) places: Places,
    /// The number of rows, at most.
    pub(super) rows: i64,
    /// The next window looks at the webhooks before this one; `None` if this window is the last.
    pub(super) next: Option<i64>,
}

/// What the next window looks at.
pub(super) fn next(
    connection: &mut SqliteConnection,
    query: &ListQuery,
    names: &Names<i64>,
    look: Look,
) -> QueryResult<Area> {
    let lowest = query.accepted_after.map_or(0, |time| Sequence::first_at(time).as_i64());
    let within = lowest..look.before.sequence().as_i64();
    let most = look.rows.min(INDEX_ROWS);
    let lists = match &query.idempotency_key {
        Some(key) => Some(with_key(connection, key, names, &within, most)?),
        None => with_status(connection, query, &within, most)?,
    };
    match lists {
        Some(lists) => {
            let (places, next) = merge(&lists, usize::try_from(most).unwrap_or(usize::MAX));
            let rows = i64::try_from(places.len()).unwrap_or(i64::MAX);
            Ok(Area { places: Places::Among(places), rows, next })
        }
        None => range(connection, &within, look.rows),
    }
}

/// The next webhooks, whatever they are: those of this number of jobs.
fn range(connection: &mut SqliteConnection, within: &Range<i64>, rows: i64) -> QueryResult<Area> {
    let next = jobs::table
        .filter(jobs::webhook.lt(within.end).and(jobs::webhook.gt(within.start)))
        .order(jobs::webhook.desc())
        .offset(rows - 1)
        .limit(1)
        .select(jobs::webhook)
        .get_result::<i64>(connection)
        .optional()?;
    Ok(Area { places: Places::From(next.unwrap_or(within.start)), rows, next })
}

/// The webhooks with a key: of each source, the one that has taken it, and those in quarantine.
fn with_key(
    connection: &mut SqliteConnection,
    key: &IdempotencyKey,
    names: &Names<i64>,
    within: &Range<i64>,
    most: i64,
) -> QueryResult<Vec<Vec<i64>>> {
    let mut lists = Vec::new();
    for source in names.sources.iter().flatten() {
        let holder = idempotency_keys::table
            .find(key_name(source, key))
            .select(idempotency_keys::webhook)
            .get_result::<i64>(connection)
            .optional()?;
        lists.push(holder.into_iter().filter(|place| within.contains(place)).collect());
        let quarantined = SelectQuarantined {
            source: source.as_str(),
            key: key.as_str(),
            before: within.end,
            from: within.start,
            limit: most,
        };
        lists.push(quarantined.load::<i64>(connection)?);
    }
    Ok(lists)
}

/// The webhooks with a job in one of the wanted statuses, by the indexes that have these; `None` if there is no such
/// index, or too many jobs would have to be put in order.
fn with_status(
    connection: &mut SqliteConnection,
    query: &ListQuery,
    within: &Range<i64>,
    most: i64,
) -> QueryResult<Option<Vec<Vec<i64>>>> {
    let Some(mut wanted) = query.statuses_of_jobs() else { return Ok(Some(Vec::new())) };
    if wanted.is_empty() || wanted.contains(&Status::Completed) {
        return Ok(None);
    }
    let mut lists = Vec::new();
    let mut collected = Vec::new();
    if wanted.contains(&Status::Processing) {
        collected.extend(SelectProcessing { limit: MOST_UNFINISHED + 1 }.load::<(i64, i64)>(connection)?);
    }
    if wanted.contains(&Status::Pending) {
        let limit = MOST_UNFINISHED + 1;
        let waiting = SelectWaiting { limit, limit_of_lanes: limit };
        collected.extend(waiting.load::<(i64, i64)>(connection)?);
    }
    if i64::try_from(collected.len()).unwrap_or(i64::MAX) > MOST_UNFINISHED {
        return Ok(None);
    }
    lists.push(in_order(&collected, &wanted, within, most));
    if wanted.contains(&Status::Pending) {
        // They are among those that wait.
        wanted.remove(&Status::Retrying);
    }
    for status in INDEXED.into_iter().filter(|status| wanted.contains(status)) {
        let indexed =
            SelectByStatus { status: status as i64, before: within.end, from: within.start, limit: most };
        lists.push(indexed.load::<i64>(connection)?);
    }
    Ok(Some(lists))
}

/// The webhooks of collected jobs with a wanted status, newest first. A job has its webhook and its status.
fn in_order(jobs: &[(i64, i64)], wanted: &BTreeSet<Status>, within: &Range<i64>, most: i64) -> Vec<i64> {
    let is_wanted = |number: i64| wanted.iter().any(|status| *status as i64 == number);
    let fitting = jobs.iter().filter(|(webhook, status)| within.contains(webhook) && is_wanted(*status));
    let mut places = fitting.map(|(webhook, _)| *webhook).collect::<Vec<_>>();
    places.sort_unstable_by(|one, other| other.cmp(one));
    places.dedup();
    places.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    places
}

statement! { Sqlite;
    struct SelectByStatus {
        status: i64 as BigInt,
        before: i64 as BigInt,
        from: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns BigInt;
    "SELECT webhook FROM jobs
     WHERE status = ? AND status IN (2, 4, 5, 6, 7) AND webhook < ? AND webhook >= ?
     ORDER BY webhook DESC LIMIT ?"
}

statement! { Sqlite;
    struct SelectProcessing {
        limit: i64 as BigInt,
    }
    returns (BigInt, BigInt);
    "SELECT webhook, status FROM jobs INDEXED BY jobs_leased WHERE status = 1 LIMIT ?"
}

statement! { Sqlite;
    struct SelectWaiting {
        limit: i64 as BigInt,
        limit_of_lanes: i64 as BigInt,
    }
    returns (BigInt, BigInt);
    "SELECT * FROM (
         SELECT webhook, status FROM jobs INDEXED BY jobs_due WHERE status IN (0, 2) AND lane IS NULL LIMIT ?
     ) UNION ALL SELECT * FROM (
         SELECT webhook, status FROM jobs INDEXED BY jobs_in_lane WHERE status IN (0, 2) AND lane IS NOT NULL LIMIT ?
     )"
}

statement! { Sqlite;
    struct SelectQuarantined<'a> {
        source: &'a str as Text,
        key: &'a str as Text,
        before: i64 as BigInt,
        from: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns BigInt;
    "SELECT sequence FROM webhooks
     WHERE quarantined = 1 AND source = ? AND idempotency_key = ? AND sequence < ? AND sequence >= ?
     ORDER BY sequence DESC LIMIT ?"
}
