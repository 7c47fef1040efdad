//! Lanes: jobs of a queue with the same order value, which run one at a time.
//!
//! A lane has a row while it has an unfinished job or a dead letter that blocks it. Its first job is the
//! waiting job with the smallest webhook number. One process accepts all webhooks, so their numbers are in
//! the order of acceptance. Times in this module are in milliseconds since the epoch.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};

use super::rows;
use super::transaction::Transaction;
use crate::domain::job::QueueId;
use crate::store::statement::statement;

/// The key of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane<'a> {
    pub(super) queue: QueueId,
    pub(super) value: &'a str,
}

/// The first waiting job of a lane.
#[derive(Queryable)]
pub(super) struct FirstJob {
    pub(super) webhook: i64,
    pub(super) status: i64,
    available_at: i64,
}

/// Call it after a new job was inserted, behind all other jobs of the lane.
pub(super) fn append(transaction: &mut Transaction<'_>, lane: Lane<'_>, now: i64) -> QueryResult<()> {
    transaction.context.memory.ordered.insert(lane.queue);
    let is_first = InsertLane { queue: lane.queue.0.into(), lane: lane.value, available_at: now }
        .execute(transaction.connection)?
        == 1;
    if is_first {
        transaction.note_due(lane.queue, rows::time(now)?);
    }
    Ok(())
}

/// The first waiting job of a lane, if it has one.
pub(super) fn first_job(connection: &mut SqliteConnection, lane: Lane<'_>) -> QueryResult<Option<FirstJob>> {
    SelectFirst { queue: lane.queue.0.into(), lane: lane.value }.get_result(connection).optional()
}

/// Marks a lane as processing: its first job starts, and the other jobs wait for its end.
pub(super) fn occupy(connection: &mut SqliteConnection, lane: Lane<'_>) -> QueryResult<()> {
    SetState { state: PROCESSING, queue: lane.queue.0.into(), lane: lane.value }
        .execute(connection)
        .map(|_| ())
}

/// Marks a lane as blocked by a dead letter.
pub(super) fn block(connection: &mut SqliteConnection, lane: Lane<'_>) -> QueryResult<()> {
    SetState { state: BLOCKED, queue: lane.queue.0.into(), lane: lane.value }.execute(connection).map(|_| ())
}

/// Frees a lane whose job has ended, or whose blocking dead letter is gone: its first job may start from `at`
/// on. Removes the lane if no job waits in it.
pub(super) fn release(transaction: &mut Transaction<'_>, lane: Lane<'_>, at: i64) -> QueryResult<()> {
    let first = first_job(transaction.connection, lane)?;
    open(transaction, lane, first, at, true)
}

/// Call it after the job of `webhook` has entered or left a lane as a waiting job. If no job of the lane is
/// processing or blocks it, its first job may start from `at` on.
pub(super) fn changed(
    transaction: &mut Transaction<'_>,
    lane: Lane<'_>,
    webhook: i64,
    at: i64,
) -> QueryResult<()> {
    let first = first_job(transaction.connection, lane)?;
    if first.as_ref().is_some_and(|first| first.webhook < webhook) {
        // A job behind the first one does not change when the first one may start.
        return Ok(());
    }
    open(transaction, lane, first, at, false)
}

/// Lets the first job of a lane start from `at` on if the lane is free, or in any state if `release` is set.
fn open(
    transaction: &mut Transaction<'_>,
    Lane { queue, value }: Lane<'_>,
    first: Option<FirstJob>,
    at: i64,
    release: bool,
) -> QueryResult<()> {
    let Some(first) = first else {
        DeleteLane { queue: queue.0.into(), lane: value, release }.execute(transaction.connection)?;
        return Ok(());
    };
    transaction.context.memory.ordered.insert(queue);
    let available_at = at.max(first.available_at);
    let opened = OpenLane { queue: queue.0.into(), lane: value, available_at, release }
        .execute(transaction.connection)?;
    if opened == 1 {
        transaction.note_due(queue, rows::time(available_at)?);
    }
    Ok(())
}

/// The states of a lane. In the other state, 0, its first job may start.
const PROCESSING: i64 = 1;
const BLOCKED: i64 = 2;

statement! { Sqlite;
    struct InsertLane<'a> {
        queue: i64 as BigInt,
        lane: &'a str as Text,
        available_at: i64 as BigInt,
    }
    returns ();
    "INSERT INTO lanes (queue, lane, state, available_at) VALUES (?, ?, 0, ?) ON CONFLICT DO NOTHING"
}

statement! { Sqlite;
    struct SelectFirst<'a> {
        queue: i64 as BigInt,
        lane: &'a str as Text,
    }
    returns (BigInt, BigInt, BigInt);
    "SELECT webhook, status, available_at FROM jobs
     WHERE queue = ? AND lane = ? AND status IN (0, 2) AND lane IS NOT NULL
     ORDER BY webhook LIMIT 1"
}

statement! { Sqlite;
    struct SetState<'a> {
        state: i64 as BigInt,
        queue: i64 as BigInt,
        lane: &'a str as Text,
    }
    returns ();
    "UPDATE lanes SET state = ? WHERE queue = ? AND lane = ?"
}

statement! { Sqlite;
    struct OpenLane<'a> {
        queue: i64 as BigInt,
        lane: &'a str as Text,
        available_at: i64 as BigInt,
        release: bool as Bool,
    }
    returns ();
    "INSERT INTO lanes (queue, lane, state, available_at) VALUES (?, ?, 0, ?)
     ON CONFLICT (queue, lane) DO UPDATE SET state = 0, available_at = excluded.available_at
     WHERE state = 0 OR ?"
}

statement! { Sqlite;
    struct DeleteLane<'a> {
        queue: i64 as BigInt,
        lane: &'a str as Text,
        release: bool as Bool,
    }
    returns ();
    "DELETE FROM lanes WHERE queue = ? AND lane = ? AND (state = 0 OR ?)"
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::{SignedDuration, Timestamp};

    use crate::domain::clock::ManualClock;
    use crate::domain::route::{NewJob, RouteName};
    use crate::store::sqlite::SqliteStore;
    use crate::store::sqlite::fixture::{claim, job, open, policy, webhook};
    use crate::store::{Inbox as _, JobQueue as _, Operations as _, Store as _};

    struct Shop {
        store: SqliteStore,
        clock: Arc<ManualClock>,
        _folder: tempfile::TempDir,
    }

    impl Shop {
        async fn new() -> Self {
            let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("in range")));
            let (folder, store) = open([policy("orders")], Arc::clone(&clock) as _).await;
            Self { store, clock, _folder: folder }
        }

        /// Advances the clock by a second, accepts a webhook, and returns its id.
        async fn accept(&self, key: &str, job: NewJob) -> crate::domain::id::WebhookId {
            self.clock.advance(SignedDuration::from_secs(1));
            self.store.accept(webhook(key), vec![job]).await.expect("accepted").webhook.id
        }

        /// The key that a claim finds first.
        async fn first(&self) -> Option<String> {
            let mut claimed = self.store.claim(claim(1)).await.expect("claims");
            claimed.jobs.pop().map(|job| job.idempotency_key.to_string())
        }
    }

    #[tokio::test]
    async fn a_job_cancelled_behind_the_first_does_not_cost_the_first_its_place() {
        let shop = Shop::new().await;
        shop.accept("first", job("orders", Some("a"))).await;
        shop.accept("other", job("orders", None)).await;
        let behind = shop.accept("behind", job("orders", Some("a"))).await;
        shop.store.cancel(behind, None).await.expect("cancels");
        assert_eq!(shop.first().await.as_deref(), Some("first"));
        shop.store.close().await;
    }

    #[tokio::test]
    async fn a_lane_is_gone_with_its_last_job() {
        let shop = Shop::new().await;
        let only = shop.accept("only", job("orders", Some("a"))).await;
        shop.store.cancel(only, None).await.expect("cancels");
        let lanes = shop.store.writer.run(|transaction| {
            use diesel::prelude::*;
            let lanes = crate::store::sqlite::schema::lanes::table.count();
            Ok(lanes.get_result::<i64>(transaction.connection)?)
        });
        assert_eq!(lanes.await.expect("reads"), 0);
        assert_eq!(shop.first().await, None);
        shop.store.close().await;
    }

    #[tokio::test]
    async fn jobs_of_a_lane_that_move_keep_their_order_and_free_the_lane_they_leave() {
        let shop = Shop::new().await;
        let route = |name| RouteName::new(name).expect("valid");
        shop.accept("first", job("gone", Some("a"))).await;
        shop.accept("second", job("gone", Some("a"))).await;
        assert_eq!(shop.first().await, None, "the settings have no such route");
        let moved = shop.store.move_jobs(route("gone"), route("orders")).await.expect("moves");
        assert_eq!((moved.moved, moved.cancelled), (2, 0));
        assert_eq!(shop.first().await.as_deref(), Some("first"));
        assert_eq!(shop.first().await, None, "the second waits for the first");
        shop.store.close().await;
    }
}
