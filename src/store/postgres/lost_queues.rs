//! Gives a name to queues that have waiting jobs and no row in `queues`: a failover has lost it.
//!
//! Which route the queue had is lost, too. It gets the route under which its jobs are shown, so that operators can move
//! and cancel these jobs like those of any other route that is gone from the settings.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::rows;
use crate::domain::job::QueueId;
use crate::store::statement::statement;

/// Adds rows for these queues, if they have none.
pub(super) async fn add(connection: &mut AsyncPgConnection, lost: &[QueueId]) -> QueryResult<()> {
    let ids = lost.iter().map(|queue| rows::queue_number(*queue)).collect::<Vec<_>>();
    let routes = lost.iter().map(|queue| rows::unknown_route(*queue)).collect();
    let to = ids.iter().max().map_or(0, |id| i64::from(*id));
    SkipNumbers { to }.get_result::<i64>(connection).await?;
    let queues = InsertLost { ids, routes }.execute(connection).await?;
    if queues > 0 {
        tracing::warn!(
            queues,
            "the database has lost the routes of waiting jobs; they are held as jobs of routes named unknown-<number>; move or cancel them"
        );
    }
    Ok(())
}

// The source is that of any waiting job: a queue has the jobs of one source. The key of a lane is `queue:value`, see
// `move_jobs`. In order, so that replicas that add the same queues at the same time do not deadlock.
statement! { Pg;
    struct InsertLost {
        ids: Vec<i32> as Array<Integer>,
        routes: Vec<String> as Array<Text>,
    }
    returns ();
    "INSERT INTO queues (id, route, source)
     SELECT q.id, q.route, w.source FROM unnest(?, ?) AS q (id, route)
     CROSS JOIN LATERAL (
         (SELECT webhook FROM jobs
          WHERE queue = q.id AND status IN (0, 2) AND lane IS NULL LIMIT 1)
         UNION ALL
         (SELECT webhook FROM jobs
          WHERE lane >= q.id || ':' AND lane < q.id || ';' AND status IN (0, 2) LIMIT 1)
         LIMIT 1
     ) AS j
     CROSS JOIN LATERAL (SELECT source FROM webhooks WHERE id = j.webhook OFFSET 0) AS w
     ORDER BY q.id
     ON CONFLICT DO NOTHING"
}

// A promoted standby may not have counted so far. Otherwise the next new queue would get a number that is taken. Draws the
// numbers one by one: a `setval` could set the sequence back behind numbers that another replica has just drawn.
statement! { Pg;
    struct SkipNumbers { to: i64 as BigInt, }
    returns BigInt;
    "SELECT count(nextval(pg_get_serial_sequence('queues', 'id')::regclass))
     FROM generate_series(
         coalesce(pg_sequence_last_value(pg_get_serial_sequence('queues', 'id')::regclass), 0) + 1,
         ?
     )"
}
