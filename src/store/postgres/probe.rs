//! Updates a row, to check that the store can be written, and looks at the last webhooks.

use diesel::QueryResult;
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::migrations;
use super::pool::{answer, refused};
use super::schema::probe;
use super::shared::Shared;
use crate::domain::error::{Error, Result};
use crate::store::Probe;

/// Updates a row, and checks the migrations. An error also if the database has refused the last webhooks.
pub(super) async fn probe(shared: &Shared) -> Result<Probe> {
    let probe = write(shared).await.map_err(refused)?;
    match shared.refusals.current(shared.clock.monotonic()) {
        None => Ok(probe),
        Some(error) => Err(Error::store_unavailable(
            "the database answers, but has refused every webhook for some seconds; the log has its error",
            error,
        )),
    }
}

async fn write(shared: &Shared) -> QueryResult<Probe> {
    let mut connection = shared.asking.get().await?;
    let probing = answer(async {
        diesel::update(probe::table).set(probe::written_at.eq(now)).execute(&mut *connection).await?;
        migrations::is_current(&mut connection).await
    });
    let probing = probing.await;
    Ok(Probe { migrations_current: connection.release(probing)? })
}
