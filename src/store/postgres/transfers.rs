//! Checks for an unfinished transfer to this database.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::transfers;

/// Whether a transfer to this database is not finished.
pub(super) async fn is_under_way(connection: &mut AsyncPgConnection) -> QueryResult<bool> {
    let unfinished = transfers::table.filter(transfers::finished_at.is_null());
    diesel::select(exists(unfinished)).get_result(connection).await
}
