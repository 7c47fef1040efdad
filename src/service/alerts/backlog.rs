//! Raises an alert when the backlog becomes high.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::alert::Alert;
use crate::service::Service;

/// The seconds between two looks at the backlog. All replicas look at the same times of day, so that their alerts are
/// of the same minute.
const LOOK_EVERY_SECONDS: u64 = 10;

/// When the backlog is high, in unfinished jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BacklogLevels {
    /// From this many on.
    high: u64,
    /// The most there may be.
    max: u64,
}

impl BacklogLevels {
    /// The backlog is high from the share `high`, of 0 to 1, of `max` on.
    pub fn new(max: u64, high: f64) -> Self {
        Self { high: ((max as f64 * high).round() as u64).max(1), max }
    }

    /// Whether this many unfinished jobs are a high backlog.
    pub fn is_high(self, backlog: u64) -> bool {
        backlog >= self.high
    }

    /// The most unfinished jobs there may be.
    pub fn max(self) -> u64 {
        self.max
    }
}

/// Looks at the backlog while alerts are wanted. Raises an alert when it becomes high, and then not before it was below
/// that level.
pub(super) async fn watch(service: Service, levels: BacklogLevels) {
    let mut is_high = false;
    loop {
        service.clock.sleep(until_next_look(service.clock.now())).await;
        if !service.metrics.alerts().are_wanted() {
            is_high = false;
            continue;
        }
        // While the store is away, nothing is known of the backlog.
        let Ok(stats) = service.stats().await else { continue };
        let backlog = stats.counts.unfinished();
        let was_high = std::mem::replace(&mut is_high, levels.is_high(backlog));
        if is_high && !was_high {
            service.metrics.alerts().raise(|| Alert::BacklogHigh {
                backlog,
                max_backlog: levels.max,
                oldest_due_seconds: stats.oldest_due_seconds,
            });
        }
    }
}

fn until_next_look(now: Timestamp) -> Duration {
    let every = Duration::from_secs(LOOK_EVERY_SECONDS);
    let milliseconds = now.as_millisecond().rem_euclid(every.as_millis() as i64);
    every.saturating_sub(Duration::from_millis(milliseconds.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backlog_is_high_from_a_share_of_its_limit_on() {
        for (max, share, high) in [(1_000_000, 0.8, 800_000), (10, 0.8, 8), (1, 0.01, 1), (3, 1.0, 3)] {
            assert_eq!(BacklogLevels::new(max, share), BacklogLevels { high, max });
        }
    }

    #[test]
    fn looks_are_at_full_ten_seconds() {
        for (now, milliseconds) in [(0, 10_000), (1, 9_999), (9_999, 1), (10_000, 10_000), (-1, 1)] {
            let now = Timestamp::from_millisecond(now).expect("in range");
            assert_eq!(until_next_look(now), Duration::from_millis(milliseconds), "{now}");
        }
    }
}
