//! Moves the leases of workers elsewhere after the clock of the database was set forward.
//!
//! Processes renew their own leases before any lease is taken over. Workers elsewhere renew theirs when they please, so
//! these leases would seem to have expired although the workers still run. Every process notices the step by itself, and
//! the first one moves the leases. The row of `clock` counts the steps that leases have followed: a process that finds
//! more of them than it has read before the step moves nothing.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};

use super::database_time::Forward;
use super::pool::answer;
use super::shared::Shared;
use crate::domain::attempt::LONGEST_LEASE;
use crate::store::statement::statement;

/// Moves leases by the step, unless another process has done it. Returns how many steps leases have followed then.
pub(super) async fn move_leases(shared: &Shared, step: Forward) -> QueryResult<i64> {
    let mut connection = shared.working.get().await?;
    let moving = connection.transaction(async |connection| {
        let steps = LockSteps {}.get_result::<i64>(connection).await?;
        if steps > step.steps_before {
            return Ok(steps);
        }
        CountStep {}.execute(connection).await?;
        let longest_ms = i64::try_from(LONGEST_LEASE.as_millis()).unwrap_or(i64::MAX);
        let (step_ms, rest_ms) = (step.by, longest_ms.saturating_sub(step.by));
        LockPulledLeases { step_ms, rest_ms }.execute(connection).await?;
        MovePulledLeases { step_ms, rest_ms }.execute(connection).await.map(|_| steps + 1)
    });
    let moving = answer(moving).await;
    connection.release(moving)
}

statement! { Pg;
    struct LockSteps {}
    returns BigInt;
    "SELECT steps_forward FROM clock WHERE id = 1 FOR UPDATE"
}

statement! { Pg;
    struct CountStep {}
    returns ();
    "UPDATE clock SET steps_forward = steps_forward + 1 WHERE id = 1"
}

// The leases to move. Names of processes have a space, and those of workers have none. A lease was claimed by the new time
// if the claim is less long ago than the step. It was renewed by the new time if it ends later than a lease that was claimed
// or renewed by the old time can end.
macro_rules! by_the_old_time {
    ($step:literal, $rest:literal) => {
        concat!(
            "status = 1 AND strpos(worker, ' ') = 0 AND updated_at <= now() - ",
            $step,
            " AND lease_until <= now() + ",
            $rest
        )
    };
}

statement! { Pg;
    /// Locks the leases in the order in which other statements lock jobs. A statement of its own, so that the next one sees
    /// what was renewed while this one waited.
    struct LockPulledLeases {
        step_ms: i64 as BigInt,
        rest_ms: i64 as BigInt,
    }
    returns ();
    concat!(
        "SELECT 1 FROM jobs WHERE ",
        by_the_old_time!("? * interval '1 millisecond'", "? * interval '1 millisecond'"),
        " ORDER BY webhook, queue FOR UPDATE"
    )
}

statement! { Pg;
    struct MovePulledLeases {
        step_ms: i64 as BigInt,
        rest_ms: i64 as BigInt,
    }
    returns ();
    concat!(
        "UPDATE jobs SET lease_until = lease_until + m.step, updated_at = updated_at + m.step
         FROM (SELECT ? * interval '1 millisecond' AS step, ? * interval '1 millisecond' AS rest) AS m
         WHERE ",
        by_the_old_time!("m.step", "m.rest")
    )
}
