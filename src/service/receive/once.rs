//! Signed values that come with one idempotency key only, such as the token of Mailgun, which does not sign the key.
//!
//! In memory of this process: a restart forgets them, and replicas do not share them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::domain::webhook::{NewWebhook, Source};
use crate::sources::SourceMap;

/// How many values of a source are remembered.
const MAX_VALUES: usize = 65_536;

/// The first half of a SHA-256.
type Half = [u8; 16];

/// A value, and the keys with which a request brought it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    value: Half,
    keys: Half,
    counts_for: Duration,
}

impl Use {
    /// The use of a value, which counts for this time, by a request with these webhooks.
    pub(super) fn new((value, counts_for): &(String, Duration), webhooks: &[NewWebhook]) -> Self {
        // No key has a line break.
        let keys = webhooks.iter().map(|webhook| webhook.idempotency_key.as_str()).collect::<Vec<_>>();
        Self { value: half(value), keys: half(&keys.join("\n")), counts_for: *counts_for }
    }
}

/// The values of all sources that were used.
#[derive(Debug, Default)]
pub(super) struct Once(Mutex<HashMap<Source, Values>>);

impl Once {
    /// Takes a value for its keys. Returns whether no other keys have it. A request that is dropped later keeps the value,
    /// because its webhooks may be stored. `now` is monotonic.
    pub(super) fn begin(&self, source: &Source, used: Use, now: Duration) -> bool {
        self.lock().entry(source.clone()).or_default().begin(used, now)
    }

    /// Gives back a value that [`begin`](Self::begin) has taken, for a request of which nothing is stored. Other keys can
    /// have the value once every request with these keys has given it back.
    pub(super) fn give_back(&self, source: &Source, used: Use) {
        if let Some(values) = self.lock().get_mut(source) {
            values.give_back(used);
        }
    }

    /// Forgets the values of sources that are not in the settings.
    pub(super) fn keep(&self, sources: &SourceMap) {
        self.lock().retain(|source, _| sources.contains_key(source));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Source, Values>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The values of a source. When their time is over, or there are too many, the older ones are forgotten.
#[derive(Debug, Default)]
struct Values {
    newer: HashMap<Half, Taken>,
    older: HashMap<Half, Taken>,
    /// When the first of the newer ones can have come.
    since: Duration,
    /// The longest time for which one of the newer ones counts. The schemes of a source can have different ones, and a
    /// reload can change them.
    newer_count_for: Duration,
    /// The longest time for which one of the older ones counts.
    older_count_for: Duration,
}

/// The keys that have a value.
#[derive(Clone, Copy, Debug)]
struct Taken {
    keys: Half,
    /// How many requests with these keys are stored, or may be.
    requests: u32,
}

impl Values {
    fn begin(&mut self, used: Use, now: Duration) -> bool {
        let longest = used.counts_for.max(self.newer_count_for).max(self.older_count_for);
        let is_over = now.saturating_sub(self.since) >= longest;
        if is_over || self.newer.len() >= MAX_VALUES / 2 {
            self.older = std::mem::take(&mut self.newer);
            self.older_count_for = std::mem::take(&mut self.newer_count_for);
            self.since = now;
        }
        self.newer_count_for = self.newer_count_for.max(used.counts_for);
        let Some(taken) = self.get_mut(&used.value) else {
            self.newer.insert(used.value, Taken { keys: used.keys, requests: 1 });
            return true;
        };
        if taken.keys != used.keys {
            return false;
        }
        taken.requests = taken.requests.saturating_add(1);
        true
    }

    fn give_back(&mut self, used: Use) {
        let Some(taken) = self.get_mut(&used.value).filter(|taken| taken.keys == used.keys) else { return };
        taken.requests = taken.requests.saturating_sub(1);
        if taken.requests == 0 {
            self.newer.remove(&used.value);
            self.older.remove(&used.value);
        }
    }

    fn get_mut(&mut self, value: &Half) -> Option<&mut Taken> {
        match self.newer.get_mut(value) {
            None => self.older.get_mut(value),
            newer => newer,
        }
    }
}

fn half(text: &str) -> Half {
    let mut half = Half::default();
    half.copy_from_slice(&Sha256::digest(text)[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// The use of a value that counts for an hour.
    fn used(value: &str, keys: &str) -> Use {
        Use { value: half(value), keys: half(keys), counts_for: 60 * MINUTE }
    }

    /// Whether these keys get a value, so many minutes after the start.
    fn gets(once: &Once, value: &str, keys: &str, minutes: u32) -> bool {
        once.begin(&Source::default(), used(value, keys), minutes * MINUTE)
    }

    fn give_back(once: &Once, keys: &str) {
        once.give_back(&Source::default(), used("token", keys));
    }

    #[test]
    fn other_keys_do_not_get_a_value_for_as_long_as_its_signature_counts() {
        let once = Once::default();
        assert!(gets(&once, "token", "a", 30));
        for minutes in [30, 59, 60, 89, 90] {
            assert!(!gets(&once, "token", "b", minutes), "{minutes}");
            assert!(gets(&once, "token", "a", minutes), "{minutes}");
        }
        assert!(gets(&once, "other", "b", 90), "another value");
        let of_another_source = Source::new("other").expect("valid");
        assert!(once.begin(&of_another_source, used("token", "b"), 90 * MINUTE));
        assert!(gets(&once, "token", "b", 150), "nothing has to be remembered any more");
    }

    #[test]
    fn a_value_is_not_forgotten_earlier_because_others_count_for_a_shorter_time() {
        let once = Once::default();
        assert!(gets(&once, "token", "a", 30));
        for minutes in 31_u32..90 {
            let short = Use { counts_for: MINUTE, ..used(&minutes.to_string(), "b") };
            assert!(once.begin(&Source::default(), short, minutes * MINUTE), "{minutes}");
        }
        assert!(!gets(&once, "token", "b", 90));
    }

    #[test]
    fn other_keys_get_a_value_once_every_request_with_it_has_given_it_back() {
        let once = Once::default();
        assert!(gets(&once, "token", "a", 0) && gets(&once, "token", "a", 0));
        assert!(!gets(&once, "token", "b", 0), "two requests are being stored");
        give_back(&once, "a");
        assert!(!gets(&once, "token", "b", 0), "one request is being stored");
        give_back(&once, "b");
        assert!(!gets(&once, "token", "b", 0), "other keys do not have the value");
        give_back(&once, "a");
        assert!(gets(&once, "token", "b", 0));
        assert!(!gets(&once, "token", "a", 0));
    }

    #[test]
    fn a_reload_that_removes_a_source_forgets_its_values() {
        let once = Once::default();
        assert!(gets(&once, "token", "a", 0));
        once.keep(&SourceMap::default());
        assert!(once.lock().is_empty());
    }

    #[test]
    fn of_too_many_values_the_newer_ones_are_remembered() {
        let once = Once::default();
        for number in 0..=MAX_VALUES {
            assert!(gets(&once, &number.to_string(), "a", 0));
        }
        let mut sources = once.lock();
        let values = sources.entry(Source::default()).or_default();
        assert!(values.newer.len() + values.older.len() <= MAX_VALUES);
        assert!(values.get_mut(&half(&(MAX_VALUES / 2).to_string())).is_some());
        assert!(values.get_mut(&half("0")).is_none());
    }
}
