//! What a store has refused of the last webhooks.
//!
//! The probe updates a row, which needs little room, and in PostgreSQL only the lock of its own table. So it succeeds
//! although no webhook can be stored: on a full disk, or while another session has locked `webhooks`. The last webhooks show
//! it. Refusals count only for a while, because a process that is not ready may get no webhook that shows that they are over.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long no webhook was stored before refusals make the process unready.
const REFUSED_FOR: Duration = Duration::from_secs(3);

/// How long after the last refusal the process is ready again, so that it gets a webhook to try.
const COUNT_FOR: Duration = Duration::from_secs(10);

/// How long after the last refusal a further one is not in a row with it.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The refusals since a webhook was stored. Times are monotonic.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When a webhook was last stored.
    stored: Duration,
    /// The refusals since then.
    refused: Option<Refused>,
}

/// Refusals in a row.
#[derive(Debug)]
struct Refused {
    /// When the first refused transaction began, or when a webhook was last stored, if that was later.
    since: Duration,
    /// When the last one was refused.
    last: Duration,
    /// Why the last one was refused.
    error: String,
}

impl Refusals {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a transaction that began at `began` and was refused now.
    pub(super) fn add(&self, began: Duration, now: Duration, error: String) {
        let mut state = self.lock();
        let refused = state.refused.as_ref();
        let in_a_row = refused.filter(|refused| now.saturating_sub(refused.last) < FORGOTTEN_AFTER);
        let since = in_a_row.map_or(began.max(state.stored), |refused| refused.since);
        state.refused = Some(Refused { since, last: now, error });
    }

    /// Notes that a webhook was stored now.
    pub(super) fn end(&self, now: Duration) {
        *self.lock() = State { stored: now, refused: None };
    }

    /// Whether webhooks were refused a short time ago, and none was stored since then.
    pub(super) fn are_in_a_row(&self, now: Duration) -> bool {
        let state = self.lock();
        state.refused.as_ref().is_some_and(|refused| now.saturating_sub(refused.last) < FORGOTTEN_AFTER)
    }

    /// Why the store takes no webhooks, as far as the last ones show it.
    pub(super) fn current(&self, now: Duration) -> Option<String> {
        let state = self.lock();
        let Refused { since, last, error } = state.refused.as_ref()?;
        let is_current = last.saturating_sub(*since) >= REFUSED_FOR && now.saturating_sub(*last) < COUNT_FOR;
        is_current.then(|| error.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why no webhooks are stored, `after` this many seconds, after refusals of transactions that took a second.
    fn current(refused_at: &[u64], after: u64) -> Option<String> {
        let refusals = Refusals::default();
        let seconds = Duration::from_secs;
        for at in refused_at {
            refusals.add(seconds(at - 1), seconds(*at), format!("at {at}"));
        }
        refusals.current(seconds(after))
    }

    #[test]
    fn refusals_in_a_row_count_until_the_next_try_is_due() {
        for (refused_at, after, counts) in [
            (vec![1, 2], 2, false),
            (vec![1, 3], 3, true),
            (vec![1, 3], 12, true),
            (vec![1, 3], 13, false),
            (vec![1, 3, 20], 20, true),
            (vec![1, 61], 61, false),
        ] {
            let last = refused_at.last().expect("one was refused");
            let error = counts.then(|| format!("at {last}"));
            assert_eq!(current(&refused_at, after), error, "{refused_at:?}, at {after}");
        }
    }

    #[test]
    fn a_slow_refusal_does_not_count_the_time_before_a_webhook_was_stored() {
        let refusals = Refusals::default();
        let now = Duration::from_secs(5);
        refusals.end(Duration::from_millis(4_900));
        refusals.add(Duration::ZERO, now, "locked".into());
        assert_eq!(refusals.current(now), None);
    }
}
