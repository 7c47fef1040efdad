//! Stores the webhooks of a batch that PostgreSQL has refused one by one, so that one of them does not fail the others.
//!
//! diesel-async drops the SQLSTATE of an error, and tells only violated constraints apart. A value that PostgreSQL
//! cannot store (classes 22 and 54) comes with the same kind of error as a full disk. So the webhooks of a batch are
//! tried after such an error, too, and a database that refuses the first ones is at fault itself. After a fault that
//! cannot be due to a webhook, such as a connection that cannot be opened, no further one is tried: each would wait.

use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error as QueryError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::accept::{Incoming, store};
use super::committer::{answer, not_stored, unknown};
use super::pool::is_fault;
use super::shared::Shared;
use crate::domain::error::{Error, Result};
use crate::store::Accepted;
use crate::telemetry::metrics::Stopwatch;

/// An error of unknown kind that comes later is not due to one webhook: `lock_timeout` and `statement_timeout` are
/// longer.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// After this many faults in a row that may be due to one webhook, the rest of the batch is not tried.
const FAULTS_IN_A_ROW: usize = 2;

/// The caller of a webhook.
pub(super) struct Caller {
    /// The channel for the result.
    pub(super) reply: oneshot::Sender<Result<Accepted>>,
    /// When the caller waits no longer.
    pub(super) late_at: Instant,
}

/// Whether this error, which came after `took`, may be due to one webhook and not to the database.
pub(super) fn may_be_due_to_one(error: &QueryError, took: Duration) -> bool {
    let is_unknown = matches!(error, QueryError::DatabaseError(DatabaseErrorKind::Unknown, _));
    !is_fault(error) || is_unknown && took < REFUSED_WITHIN
}

/// The error for a webhook whose caller is about to give up, or did.
pub(super) fn too_late() -> Error {
    unknown("the webhook waited too long to be stored")
}

/// Stores each webhook in a transaction of its own, and sends its result. Refuses those whose callers are about to give
/// up, or did.
pub(super) async fn store_each(shared: &Shared, batch: &[Incoming], callers: Vec<Caller>) {
    // Since the last webhook that was stored.
    let mut faults_in_a_row = 0;
    // The fault after which the rest is not tried.
    let mut at_fault: Option<QueryError> = None;
    for (single, Caller { reply, late_at }) in batch.iter().zip(callers) {
        if let Some(refusal) = not_tried(at_fault.as_ref(), late_at) {
            answer(reply, Err(refusal));
            continue;
        }
        let took = Stopwatch::start();
        let outcome = match store(shared, std::slice::from_ref(single)).await {
            Ok(mut outcomes) => {
                faults_in_a_row = 0;
                outcomes.pop().unwrap_or_else(|| Err(Error::shutting_down()))
            }
            Err(error) => {
                let refusal = not_stored(&error);
                if is_fault(&error) {
                    shared.failed("accept", &error);
                    faults_in_a_row += 1;
                    let is_of_database = !may_be_due_to_one(&error, took.elapsed());
                    if is_of_database || faults_in_a_row == FAULTS_IN_A_ROW {
                        at_fault = Some(error);
                    }
                }
                Err(refusal)
            }
        };
        answer(reply, outcome);
    }
}

/// The error for a webhook that is not tried; none if it is.
fn not_tried(at_fault: Option<&QueryError>, late_at: Instant) -> Option<Error> {
    match at_fault {
        Some(fault) => Some(not_stored(fault)),
        None => (late_at <= Instant::now()).then(too_late),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::{Reason, causes};
    use crate::store::postgres::pool;

    #[test]
    fn a_webhook_is_tried_unless_its_caller_waits_no_longer_or_the_database_is_at_fault() {
        let (late, in_time) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        assert!(not_tried(None, in_time).is_none());
        let fault = pool::late();
        for (at_fault, late_at, cause) in
            [(None, late, "waited too long"), (Some(&fault), in_time, "did not answer in time")]
        {
            let refusal = not_tried(at_fault, late_at).expect("is not tried");
            assert_eq!(refusal.reason(), Reason::StoreUnavailable);
            assert!(causes(&refusal).contains(cause), "{}", causes(&refusal));
        }
    }
}
