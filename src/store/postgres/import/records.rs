//! Replays, and the actions of operators.

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Bool, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use crate::domain::id::{Position, Sequence};
use crate::store::actions::StoredAction;
use crate::store::postgres::actions::NewActionRow;
use crate::store::postgres::list::place;
use crate::store::postgres::rows::{pg_time, uuid};
use crate::store::postgres::schema::actions;
use crate::store::statement::statement;
use crate::store::transfer::stored::MovedReplay;

/// Inserts actions in their order. The database numbers them.
pub(super) async fn insert_actions(
    connection: &mut AsyncPgConnection,
    all: &[StoredAction],
) -> QueryResult<()> {
    let rows = all.iter().map(|action| NewActionRow {
        done_at: pg_time(action.at),
        actor: &action.actor,
        kind: &action.kind,
        webhook: action.webhook.map(uuid),
        route: action.route.as_deref(),
        source: action.source.as_deref(),
        replay: action.replay,
        reason: action.reason.as_deref(),
        detail: action.detail.as_deref(),
    });
    let rows = rows.collect::<Vec<_>>();
    diesel::insert_into(actions::table).values(&rows).execute(connection).await.map(drop)
}

/// Inserts replays in their order. A running one goes on where it was.
pub(super) async fn insert_replays(
    connection: &mut AsyncPgConnection,
    all: &[MovedReplay],
) -> QueryResult<()> {
    for MovedReplay { replay, places } in all {
        let [begins_at, position, ends_at] =
            places.map(|sequence| place(Position::before_all(Sequence::from_i64(sequence))));
        let (query, rate) = (replay.filter.to_text(), replay.rate.map(|rate| rate.to_string()));
        let counts = &replay.counts;
        InsertReplay {
            query: &query,
            reason: replay.reason.as_deref(),
            actor: &replay.actor,
            rate: rate.as_deref(),
            dry_run: replay.dry_run,
            state: replay.state as i16,
            begins_at,
            position,
            ends_at,
            webhooks: counts.webhooks.cast_signed(),
            jobs: counts.jobs.cast_signed(),
            unfinished: counts.unfinished.cast_signed(),
            payload_gone: counts.payload_gone.cast_signed(),
            route_gone: counts.route_gone.cast_signed(),
            without_jobs: counts.without_jobs.cast_signed(),
            started_at: pg_time(replay.started_at),
            updated_at: pg_time(replay.updated_at),
            ended_at: replay.ended_at.map(pg_time),
        }
        .execute(connection)
        .await?;
    }
    Ok(())
}

statement! { Pg;
    struct InsertReplay<'a> {
        query: &'a str as Text,
        reason: Option<&'a str> as Nullable<Text>,
        actor: &'a str as Text,
        rate: Option<&'a str> as Nullable<Text>,
        dry_run: bool as Bool,
        state: i16 as SmallInt,
        begins_at: Uuid as SqlUuid,
        position: Uuid as SqlUuid,
        ends_at: Uuid as SqlUuid,
        webhooks: i64 as BigInt,
        jobs: i64 as BigInt,
        unfinished: i64 as BigInt,
        payload_gone: i64 as BigInt,
        route_gone: i64 as BigInt,
        without_jobs: i64 as BigInt,
        started_at: PgTimestamp as Timestamptz,
        updated_at: PgTimestamp as Timestamptz,
        ended_at: Option<PgTimestamp> as Nullable<Timestamptz>,
    }
    returns ();
    "INSERT INTO replays (number, query, reason, actor, rate, dry_run, state, begins_at, position, ends_at, webhooks, jobs,
                          unfinished, payload_gone, route_gone, without_jobs, started_at, updated_at, ended_at)
     SELECT coalesce(max(number), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM replays"
}
