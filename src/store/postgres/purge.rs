//! Retention: first the payload goes, later the key and all the rest. A bounded number of rows in a
//! statement of its own each time, so that none holds back vacuum. Replicas that purge at once skip
//! each other's rows.

use std::time::Duration;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, SmallInt, Timestamptz};
use diesel_async::RunQueryDsl as _;

use super::core::Core;
use super::pool::answer;
use super::rows::pg_time;
use crate::domain::job::Status;
use crate::domain::retention::Retention;
use crate::store::Purged;
use crate::store::statement::statement;

/// Webhooks in one statement. Of one status there can be as many payloads and as many keys in a call.
const PURGE_ROWS: i64 = 500;

const FINAL: [Status; 3] = [Status::Completed, Status::DeadLettered, Status::Cancelled];

/// Removes what is past its retention.
pub(super) async fn purge(core: &Core, retention: &Retention) -> QueryResult<Purged> {
    let now = core.clock.now();
    let before = |kept: Duration| pg_time(now.saturating_sub(kept).unwrap_or(jiff::Timestamp::MIN));
    let mut connection = core.asking.get().await?;
    let purging = async {
        let mut purged = Purged::default();
        for status in FINAL {
            let kept =
                if status == Status::Completed { retention.completed } else { retention.dead_lettered };
            let payloads = DropPayloads { status: status as i16, before: before(kept), limit: PURGE_ROWS };
            purged.payloads +=
                usize::try_from(payloads.get_result::<i64>(&mut *connection).await?).unwrap_or(0);
            let webhooks = DeleteWebhooks {
                status: status as i16,
                before: before(retention.keys),
                limit: PURGE_ROWS,
                slot: core.slot(),
            };
            purged.webhooks +=
                usize::try_from(webhooks.get_result::<i64>(&mut *connection).await?).unwrap_or(0);
        }
        purged.more = purged.payloads + purged.webhooks > 0;
        Ok(purged)
    };
    let purging = answer(purging).await;
    connection.settle(purging)
}

statement! { Pg;
    struct DropPayloads {
        status: i16 as SmallInt,
        before: PgTimestamp as Timestamptz,
        limit: i64 as BigInt,
    }
    returns BigInt;
    "WITH due AS MATERIALIZED (
         SELECT webhook FROM finished_jobs
         WHERE NOT purged AND status = ? AND completed_at <= ?
         ORDER BY completed_at LIMIT ?
         FOR UPDATE SKIP LOCKED
     ), payloads AS (
         UPDATE webhooks w SET payload = NULL WHERE w.id = ANY (ARRAY(SELECT webhook FROM due))
     ), results AS (
         UPDATE attempts a SET result = NULL WHERE a.webhook = ANY (ARRAY(SELECT webhook FROM due)) AND a.result IS NOT NULL
     ), marked AS (
         UPDATE finished_jobs f SET purged = true, result = NULL WHERE f.webhook = ANY (ARRAY(SELECT webhook FROM due))
     )
     SELECT count(*) FROM due"
}

statement! { Pg;
    struct DeleteWebhooks {
        status: i16 as SmallInt,
        before: PgTimestamp as Timestamptz,
        limit: i64 as BigInt,
        slot: i16 as SmallInt,
    }
    returns BigInt;
    "WITH due AS MATERIALIZED (
         SELECT webhook, status FROM finished_jobs
         WHERE purged AND status = ? AND completed_at <= ?
         ORDER BY completed_at LIMIT ?
         FOR UPDATE SKIP LOCKED
     ), webhooks AS (
         DELETE FROM webhooks w WHERE w.id = ANY (ARRAY(SELECT webhook FROM due))
     ), attempts AS (
         DELETE FROM attempts a WHERE a.webhook = ANY (ARRAY(SELECT webhook FROM due))
     ), finished AS (
         DELETE FROM finished_jobs f WHERE f.webhook = ANY (ARRAY(SELECT webhook FROM due))
     ), counted AS (
         UPDATE status_counts c
         SET completed = c.completed - n.completed, dead_lettered = c.dead_lettered - n.dead_lettered,
             cancelled = c.cancelled - n.cancelled
         FROM (SELECT count(*) AS removed,
                      count(*) FILTER (WHERE status = 3) AS completed,
                      count(*) FILTER (WHERE status = 4) AS dead_lettered,
                      count(*) FILTER (WHERE status = 5) AS cancelled FROM due) AS n
         WHERE c.slot = ? AND n.removed > 0
     )
     SELECT count(*) FROM due"
}
