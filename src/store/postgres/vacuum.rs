//! Vacuums the hot tables. Every webhook leaves dead rows in `jobs`. Autovacuum is too slow for that: it runs
//! once a minute at most, and may be busy with large tables.

use std::time::Duration;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::sql_types::BigInt;
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};

use super::background::Background;
use super::pool::{answer, not_connected};
use super::shared::Shared;
use super::target::Connector;
use crate::store::statement::statement;
use crate::telemetry::repeated::Repeated;

/// How often to check the number of dead rows.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The number of dead rows in `jobs` from which on the tables are vacuumed.
const DEAD_ROWS: i64 = 20_000;

/// Disables timeouts for the session that vacuums. A vacuum does not block other statements.
const WITHOUT_TIMEOUTS: &str = "SET statement_timeout = 0; SET lock_timeout = 0";

/// The statements that vacuum. With `SKIP_LOCKED`, a table that another replica is vacuuming is skipped.
const VACUUMS: [&str; 3] = [
    "VACUUM (SKIP_LOCKED, TRUNCATE false) jobs",
    "VACUUM (SKIP_LOCKED, TRUNCATE false) lanes",
    "VACUUM (SKIP_LOCKED, TRUNCATE false) status_counts",
];

static VACUUMING: Repeated = Repeated::new("the hot tables are kept clean again");

/// Vacuums the hot tables whenever they have many dead rows, until the store closes.
pub(super) async fn keep_clean(Background { shared, connector, closing }: Background) {
    while closing.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        match closing.run_until_cancelled(clean(&shared, &connector)).await {
            None => {}
            Some(Ok(())) => VACUUMING.works(),
            Some(Err(error)) => VACUUMING.failed(|times| {
                tracing::warn!(times, error = %error, "the hot tables could not be vacuumed; relying on autovacuum");
            }),
        }
    }
}

async fn clean(shared: &Shared, connector: &Connector) -> QueryResult<()> {
    let mut connection = shared.asking.get().await?;
    let dead = answer(SelectDead {}.get_result::<i64>(&mut *connection)).await;
    if connection.release(dead)? < DEAD_ROWS {
        return Ok(());
    }
    // Uses a connection of its own: a vacuum can take long, and no request should wait for a connection
    // meanwhile.
    let mut connection = connector.connect().await.map_err(not_connected)?;
    connection.batch_execute(WITHOUT_TIMEOUTS).await?;
    for vacuum in VACUUMS {
        connection.batch_execute(vacuum).await?;
    }
    Ok(())
}

statement! { Pg;
    struct SelectDead {}
    returns BigInt;
    "SELECT coalesce(sum(pg_stat_get_dead_tuples(oid)), 0)::bigint FROM pg_class WHERE oid = 'jobs'::regclass"
}
