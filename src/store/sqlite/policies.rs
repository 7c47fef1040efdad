//! Replaces the policies in force, and frees lanes that the new policies do not block.

use std::sync::Arc;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;

use super::lanes::{self, Lane};
use super::transaction::{Refusal, Transaction};
use crate::domain::job::QueueId;
use crate::domain::policy::Policies;
use crate::domain::route::OnDeadLetter;
use crate::store::statement::statement;

/// Maximum number of lanes freed in one transaction.
const FREED_LANES: i64 = 500;

/// Sets the policies. They are in force from the commit on.
pub(super) fn set(transaction: &mut Transaction<'_>, policies: &Arc<Policies>) -> Result<(), Refusal> {
    transaction.context.memory.set_policies(Arc::clone(policies));
    transaction.lets_start();
    Ok(())
}

/// Frees blocked lanes of routes whose policy skips dead letters. Returns how many it freed; 0 if there are
/// no more.
pub(super) fn free_lanes(transaction: &mut Transaction<'_>) -> Result<usize, Refusal> {
    let now = transaction.context.clock.now().as_millisecond();
    for queue in queues_that_skip(transaction) {
        let number = i64::from(queue.0);
        let blocked =
            SelectBlocked { queue: number, limit: FREED_LANES }.load::<String>(transaction.connection)?;
        for value in &blocked {
            UnblockJobs { queue: number, lane: value }.execute(transaction.connection)?;
            lanes::release(transaction, Lane { queue, value }, now)?;
        }
        if !blocked.is_empty() {
            return Ok(blocked.len());
        }
    }
    Ok(0)
}

fn queues_that_skip(transaction: &Transaction<'_>) -> Vec<QueueId> {
    let memory = &transaction.context.memory;
    let skip = memory.policies().iter().filter(|policy| policy.on_dead_letter == OnDeadLetter::Skip);
    skip.flat_map(|policy| memory.queues.of_route(&policy.route)).collect()
}

statement! { Sqlite;
    struct SelectBlocked {
        queue: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns Text;
    "SELECT lane FROM lanes WHERE queue = ? AND state = 2 LIMIT ?"
}

statement! { Sqlite;
    struct UnblockJobs<'a> {
        queue: i64 as BigInt,
        lane: &'a str as Text,
    }
    returns ();
    "UPDATE jobs SET blocks = 0 WHERE queue = ? AND lane = ? AND blocks = 1"
}
