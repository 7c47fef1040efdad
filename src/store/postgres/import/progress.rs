//! The row of a transfer: how far the transfer has come.

use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Standing, row_counts};
use crate::store::postgres::rows::{self, pg_time};
use crate::store::postgres::schema::transfers;

/// The row, as far as it says where the transfer stands.
#[derive(Queryable, Selectable)]
#[diesel(table_name = transfers)]
struct TransferRow {
    position: i64,
    webhooks: i64,
    finished_at: Option<PgTimestamp>,
}

/// The state of the database with regard to the transfer with this id.
pub(super) async fn standing(connection: &mut AsyncPgConnection, id: Uuid) -> QueryResult<Standing> {
    let known = transfers::table.find(id).select(TransferRow::as_select());
    if let Some(row) = known.first::<TransferRow>(connection).await.optional()? {
        return Ok(match row.finished_at {
            Some(finished_at) => Standing::Finished(rows::time(finished_at)?),
            None => Standing::UnderWay { position: row.position, moved: row.webhooks.cast_unsigned() },
        });
    }
    Ok(match row_counts::webhooks(connection).await? {
        0 => Standing::Empty,
        webhooks => Standing::Occupied(webhooks),
    })
}

/// Adds the transfer. Removes other transfers, which have not moved anything. If such a transfer is still running, its
/// first batch fails.
pub(super) async fn begin(connection: &mut AsyncPgConnection, id: Uuid, now: Timestamp) -> QueryResult<()> {
    let unfinished = transfers::table.filter(transfers::finished_at.is_null());
    diesel::delete(unfinished).execute(connection).await?;
    diesel::insert_into(transfers::table)
        .values((
            transfers::id.eq(id),
            transfers::position.eq(0),
            transfers::webhooks.eq(0),
            transfers::started_at.eq(pg_time(now)),
        ))
        .execute(connection)
        .await
        .map(drop)
}

/// Moves the position from `after` to `position`, past this number of webhooks. Fails with `NotFound` if the stored
/// position differs from `after`.
pub(super) async fn move_on(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    after: i64,
    position: i64,
    moved: i64,
) -> QueryResult<()> {
    let stands = transfers::position.eq(after).and(transfers::finished_at.is_null());
    diesel::update(transfers::table.find(id).filter(stands))
        .set((transfers::position.eq(position), transfers::webhooks.eq(transfers::webhooks + moved)))
        .returning(transfers::id)
        .get_result::<Uuid>(connection)
        .await
        .map(drop)
}

/// The number of the last moved action, as in the file.
pub(super) async fn moved_actions(connection: &mut AsyncPgConnection, id: Uuid) -> QueryResult<i64> {
    transfers::table.find(id).select(transfers::actions).first(connection).await
}

/// Replaces the number of the last moved action. Fails with `NotFound` if the stored number differs from `after`.
pub(super) async fn move_actions(
    connection: &mut AsyncPgConnection,
    id: Uuid,
    after: i64,
    last: i64,
) -> QueryResult<()> {
    let stands = transfers::actions.eq(after).and(transfers::finished_at.is_null());
    diesel::update(transfers::table.find(id).filter(stands))
        .set(transfers::actions.eq(last))
        .returning(transfers::id)
        .get_result::<Uuid>(connection)
        .await
        .map(drop)
}

/// Marks the transfer as finished. Fails with `NotFound` if another transfer has removed it.
pub(super) async fn finish(connection: &mut AsyncPgConnection, id: Uuid, now: Timestamp) -> QueryResult<()> {
    diesel::update(transfers::table.find(id))
        .set(transfers::finished_at.eq(pg_time(now)))
        .returning(transfers::id)
        .get_result::<Uuid>(connection)
        .await
        .map(drop)
}
