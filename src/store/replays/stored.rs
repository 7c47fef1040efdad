//! A replay as both stores keep it.

use diesel::QueryResult;
use diesel::result::Error as QueryError;
use jiff::Timestamp;

use super::{Replay, ReplayFilter};
use crate::domain::replay::{ReplayCounts, ReplayState, WaitsFor};
use crate::domain::route::{Rate, RouteName};
use crate::store::columns::unreadable;

/// The columns of a replay that mean the same in both stores.
pub(in crate::store) struct StoredReplay {
    pub(in crate::store) number: i64,
    pub(in crate::store) query: String,
    pub(in crate::store) reason: Option<String>,
    pub(in crate::store) actor: String,
    pub(in crate::store) rate: Option<String>,
    pub(in crate::store) dry_run: bool,
    pub(in crate::store) state: i64,
    pub(in crate::store) counts: ReplayCounts,
    pub(in crate::store) waits_for: Option<String>,
    /// The times of its first place, of its position and of its end.
    pub(in crate::store) places: [Timestamp; 3],
    pub(in crate::store) started_at: Timestamp,
    pub(in crate::store) updated_at: Timestamp,
    pub(in crate::store) ended_at: Option<Timestamp>,
}

impl StoredReplay {
    /// The replay.
    pub(in crate::store) fn into_replay(self) -> QueryResult<Replay> {
        let state = ReplayState::from_number(self.state)
            .ok_or_else(|| unreadable(format!("{} is no state of a replay", self.state)))?;
        let [begins, position, ends] = self.places;
        Ok(Replay {
            number: self.number.try_into().map_err(unreadable)?,
            filter: ReplayFilter::from_text(&self.query)?,
            reason: self.reason,
            actor: self.actor,
            rate: self.rate.as_deref().map(rate).transpose()?,
            dry_run: self.dry_run,
            state,
            counts: self.counts,
            progress: if state == ReplayState::Completed { 1.0 } else { share(begins, position, ends) },
            looked_to: position,
            waits_for: self.waits_for.map(waits_for).transpose()?,
            started_at: self.started_at,
            updated_at: self.updated_at,
            ended_at: self.ended_at,
        })
    }
}

/// What a replay waits for, from the column `waits_for`.
fn waits_for(stored: String) -> Result<WaitsFor, QueryError> {
    if stored.is_empty() {
        return Ok(WaitsFor::Backlog);
    }
    RouteName::new(stored).map(WaitsFor::Route).map_err(unreadable)
}

fn rate(text: &str) -> Result<Rate, QueryError> {
    text.parse().map_err(|()| unreadable(format!("{text:?} is no rate")))
}

/// The share of the time from `begins` to `ends` that is over at `position`.
fn share(begins: Timestamp, position: Timestamp, ends: Timestamp) -> f64 {
    let all = ends.duration_since(begins).as_secs_f64();
    if all <= 0.0 {
        return 0.0;
    }
    (position.duration_since(begins).as_secs_f64() / all).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_the_share_of_the_time_that_was_looked_at() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        for (begins, position, ends, expected) in
            [(0, 0, 0, 0.0), (10, 10, 20, 0.0), (10, 15, 20, 0.5), (10, 20, 20, 1.0), (10, 30, 20, 1.0)]
        {
            assert_eq!(share(at(begins), at(position), at(ends)), expected, "{begins} {position} {ends}");
        }
    }
}
