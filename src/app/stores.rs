//! Opens the store that the settings name, and waits for a database that is starting.

use std::sync::Arc;
use std::time::Duration;

use super::RunError;
use crate::config::{Config, Database};
use crate::domain::clock::Clock;
use crate::domain::duration::whole_seconds;
use crate::domain::error::causes;
use crate::store::Store;
use crate::store::postgres::{self, PostgresStore};
use crate::store::sqlite::{self, SqliteStore};
use crate::telemetry::metrics::Metrics;

/// How long to wait between two tries to reach the database at the start.
const CONNECT_AGAIN: Duration = Duration::from_secs(1);

/// Opens the store that the settings name. Its background tasks run in the caller's tokio runtime.
pub(super) async fn open_store(
    config: &Config,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    seed: u64,
) -> Result<Arc<dyn Store>, RunError> {
    let (max_backlog, policies) = (config.max_backlog, config.routes.policies());
    let (clock, metrics) = (Arc::clone(clock), Arc::clone(metrics));
    Ok(match &config.database {
        Database::Sqlite(path) => {
            let options = sqlite::Options { path: path.clone(), max_backlog, policies, seed };
            Arc::new(SqliteStore::open(options, clock, metrics).await?)
        }
        Database::Postgres(target) => {
            let (target, worker) = (target.clone(), worker_name(config, seed));
            let options = postgres::Options { target, max_backlog, policies, worker, seed };
            let opened = open_postgres(options, clock, metrics, config.startup_wait).await;
            Arc::new(opened.map_err(|error| RunError::Postgres(Box::new(error)))?)
        }
    })
}

/// The name of this process in the history of attempts.
pub(super) fn worker_name(config: &Config, seed: u64) -> String {
    match &config.database {
        Database::Sqlite(_) => config.worker.clone(),
        // Two containers can have the same host name and process id; a random suffix keeps the names apart.
        Database::Postgres(_) => format!("{}-{:08x}", config.worker, seed as u32),
    }
}

/// Opens the store in a PostgreSQL database. Tries again for `wait` if the server cannot be reached: it may be
/// starting at the same time.
async fn open_postgres(
    options: postgres::Options,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    wait: Duration,
) -> Result<PostgresStore, postgres::OpenError> {
    let until = clock.monotonic().saturating_add(wait);
    loop {
        let opened = PostgresStore::open(options.clone(), Arc::clone(&clock), Arc::clone(&metrics)).await;
        let left = until.saturating_sub(clock.monotonic());
        match opened {
            Err(error) if error.is_temporary() && !left.is_zero() => {
                tracing::warn!(
                    error = %causes(&error),
                    left = ?Duration::from_secs(whole_seconds(left)),
                    "the database cannot be reached yet; trying again"
                );
                clock.sleep(CONNECT_AGAIN.min(left)).await;
            }
            opened => return opened,
        }
    }
}
