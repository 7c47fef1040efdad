//! Moves leases when the time of day was set forward, or the machine slept.
//!
//! Workers elsewhere renew their leases when they please, so their leases would seem to have expired although the workers
//! still run. The writer compares the time of day with the monotonic time before each transaction, and the transaction
//! moves the leases first: whatever it leases, renews or takes over goes by the new time. If it fails, the next one tries
//! again. Times are in milliseconds.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;

use super::set_back;
use super::transaction::Transaction;
use crate::store::statement::statement;

/// By how much the time of day was set forward since its lead was `known`; see [`set_back::lead`]. `None` if it was not.
pub(super) fn step(known: i64, lead: i64) -> Option<i64> {
    set_back::step(lead, known)
}

/// Moves all leases, and when they began, by the step.
pub(super) fn move_leases(transaction: &mut Transaction<'_>, step: i64) -> QueryResult<()> {
    let now = transaction.context.clock.now().as_millisecond();
    MoveLeasesForward { step, now, after: 0 }.execute(transaction.connection)?;
    Ok(())
}

/// Logs that the time of day was set forward.
pub(super) fn log(step: i64) {
    tracing::warn!(seconds = step / 1_000, "the time of day was set forward; leases end later by as much");
}

statement! { Sqlite;
    /// All leases end after 1970: the last condition is there for the index.
    struct MoveLeasesForward {
        step: i64 as BigInt,
        now: i64 as BigInt,
        after: i64 as BigInt,
    }
    returns ();
    "UPDATE jobs SET lease_until = lease_until + m.step, updated_at = min(m.now, updated_at + m.step)
     FROM (SELECT ? AS step, ? AS now) AS m WHERE status = 1 AND lease_until > ?"
}
