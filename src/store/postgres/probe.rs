//! Updates a row, to check that the store can be written.

use diesel::QueryResult;
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::migrations;
use super::pool::answer;
use super::schema::probe;
use super::shared::Shared;
use crate::store::Probe;

/// Updates a row, and checks the migrations.
pub(super) async fn probe(shared: &Shared) -> QueryResult<Probe> {
    let mut connection = shared.asking.get().await?;
    let probing = answer(async {
        diesel::update(probe::table).set(probe::written_at.eq(now)).execute(&mut *connection).await?;
        migrations::is_current(&mut connection).await
    });
    let probing = probing.await;
    Ok(Probe { migrations_current: connection.release(probing)? })
}
