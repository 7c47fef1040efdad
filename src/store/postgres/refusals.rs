//! Notes what the database refuses of webhooks.

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as QueryError};

use super::shared::Shared;

/// Stores webhooks, and notes it if the database refuses them. Leaves out a database that cannot be reached, which the
/// probe finds.
pub(super) async fn noted<T>(
    shared: &Shared,
    storing: impl Future<Output = QueryResult<T>>,
) -> QueryResult<T> {
    let began = shared.clock.monotonic();
    let stored = storing.await;
    if let Err(error @ QueryError::DatabaseError(DatabaseErrorKind::Unknown, _)) = &stored {
        shared.refusals.add(began, shared.clock.monotonic(), error.to_string());
    }
    stored
}
