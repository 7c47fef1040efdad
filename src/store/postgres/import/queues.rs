//! The queues of a transfer, which keep their numbers.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::store::postgres::rows::{self, NO_ROUTE_QUEUE};
use crate::store::postgres::schema::{lanes, queues};
use crate::store::statement::statement;
use crate::store::transfer::stored::StoredQueue;

/// Makes the queues with their numbers. Those of webhooks that were purged are forgotten: no job is in
/// them, and no process that knows them serves from here.
pub(super) async fn insert(connection: &mut AsyncPgConnection, queues: &[StoredQueue]) -> QueryResult<()> {
    diesel::delete(lanes::table).execute(connection).await?;
    let of_routes = queues::table.filter(queues::id.ne(rows::queue_number(NO_ROUTE_QUEUE)));
    diesel::delete(of_routes).execute(connection).await?;
    let inserting = InsertQueues {
        ids: queues.iter().map(|queue| rows::queue_number(queue.id)).collect(),
        routes: queues.iter().map(|queue| queue.route.as_str()).collect(),
        sources: queues.iter().map(|queue| queue.source.as_str()).collect(),
    };
    inserting.execute(connection).await?;
    SetQueueNumber {}.get_result::<i64>(connection).await.map(|_| ())
}

statement! { Pg;
    struct InsertQueues<'a> {
        ids: Vec<i32> as Array<Integer>,
        routes: Vec<&'a str> as Array<Text>,
        sources: Vec<&'a str> as Array<Text>,
    }
    returns ();
    "INSERT INTO queues (id, route, source) SELECT * FROM unnest(?, ?, ?)"
}

statement! { Pg;
    struct SetQueueNumber {}
    returns BigInt;
    "SELECT setval(pg_get_serial_sequence('queues', 'id'), greatest(max(id), 1), max(id) > 0) FROM queues"
}
