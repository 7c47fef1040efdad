//! Transactions that are rolled back although none of their statements failed.

use diesel::QueryResult;
use diesel::result::Error as QueryError;

/// Why a transaction is rolled back, so that it changes nothing.
pub(super) enum Undone<R> {
    /// A statement failed.
    Query(QueryError),
    /// The operation is refused.
    Refused(R),
    /// Another transaction has changed what this one has read. Another try may succeed.
    Overtaken,
}

impl<R> From<QueryError> for Undone<R> {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

/// The result of a transaction without a failed statement.
pub(super) enum Tried<T, R> {
    Done(T),
    Refused(R),
    Overtaken,
}

/// Separates a failed statement from the other results of a transaction.
pub(super) fn tried<T, R>(transaction: Result<T, Undone<R>>) -> QueryResult<Tried<T, R>> {
    match transaction {
        Ok(done) => Ok(Tried::Done(done)),
        Err(Undone::Refused(refusal)) => Ok(Tried::Refused(refusal)),
        Err(Undone::Overtaken) => Ok(Tried::Overtaken),
        Err(Undone::Query(error)) => Err(error),
    }
}
