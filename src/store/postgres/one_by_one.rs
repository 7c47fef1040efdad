//! Stores the webhooks of a batch that PostgreSQL has refused one by one, so that one of them does not fail the others.
//!
//! diesel-async drops the SQLSTATE of an error, and tells only violated constraints apart. A value that PostgreSQL
//! cannot store (classes 22 and 54) comes with the same kind of error as a full disk. So the webhooks of a batch are
//! tried after such an error, too, and a database that refuses the first ones is at fault itself.

use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error as QueryError};
use tokio::sync::oneshot;

use super::accept::{Incoming, store};
use super::committer::{answer, not_stored};
use super::pool::is_fault;
use super::shared::Shared;
use crate::domain::error::{Error, Result};
use crate::store::Accepted;

/// An error of unknown kind that comes later is not due to one webhook: `lock_timeout` and `statement_timeout` are
/// longer.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// After this many faults in a row the rest of the batch is not tried.
const FAULTS_IN_A_ROW: usize = 2;

/// Whether this error, which came after `took`, may be due to one webhook of the batch.
pub(super) fn may_be_due_to_one(error: &QueryError, took: Duration) -> bool {
    let is_unknown = matches!(error, QueryError::DatabaseError(DatabaseErrorKind::Unknown, _));
    !is_fault(error) || is_unknown && took < REFUSED_WITHIN
}

/// Stores each webhook in a transaction of its own, and sends its result.
pub(super) async fn store_each(
    shared: &Shared,
    batch: &[Incoming],
    replies: Vec<oneshot::Sender<Result<Accepted>>>,
) {
    // Since the last webhook that was stored.
    let mut faults: Vec<QueryError> = Vec::new();
    for (single, reply) in batch.iter().zip(replies) {
        if let Some(fault) = faults.get(FAULTS_IN_A_ROW - 1) {
            answer(reply, Err(not_stored(fault)));
            continue;
        }
        let outcome = match store(shared, std::slice::from_ref(single)).await {
            Ok(mut outcomes) => {
                faults.clear();
                outcomes.pop().unwrap_or_else(|| Err(Error::shutting_down()))
            }
            Err(error) => {
                let refusal = not_stored(&error);
                if is_fault(&error) {
                    shared.failed("accept", &error);
                    faults.push(error);
                }
                Err(refusal)
            }
        };
        answer(reply, outcome);
    }
}
