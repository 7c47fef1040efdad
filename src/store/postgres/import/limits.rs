//! What keeps jobs of whole routes and sources from starting.

use diesel::{ExpressionMethods as _, QueryResult};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use crate::store::postgres::rows::pg_time;
use crate::store::postgres::schema::{paces, pauses};
use crate::store::transfer::stored::StoredLimits;

/// Pauses what was paused, and has rates allow the next starts when they did. What is paused in the database
/// stays so.
pub(super) async fn insert(connection: &mut AsyncPgConnection, limits: &StoredLimits) -> QueryResult<()> {
    for pause in &limits.pauses {
        diesel::insert_into(pauses::table)
            .values((
                pauses::scope.eq(pause.target.scope()),
                pauses::name.eq(pause.target.name()),
                pauses::since.eq(pg_time(pause.since)),
                pauses::actor.eq(&pause.actor),
                pauses::reason.eq(pause.reason.as_deref()),
            ))
            .on_conflict_do_nothing()
            .execute(connection)
            .await?;
    }
    for pace in &limits.paces {
        let next_at = paces::next_at.eq(pg_time(pace.next_at));
        diesel::insert_into(paces::table)
            .values((paces::route.eq(&pace.route), next_at))
            .on_conflict(paces::route)
            .do_update()
            .set(next_at)
            .execute(connection)
            .await?;
    }
    Ok(())
}
