//! Signed values that come with one idempotency key only, such as the token of Mailgun, which does not sign the key.
//!
//! In memory of this process: a restart forgets them, and replicas do not share them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::domain::webhook::{NewWebhook, Source};

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
    /// Takes a value for its keys. Returns whether no other keys have it. [`end`](Self::end) has to follow; if the
    /// request is dropped before, the keys keep the value, which a repeated request has too. `now` is monotonic.
    pub(super) fn begin(&self, source: &Source, used: Use, now: Duration) -> bool {
        self.lock().entry(source.clone()).or_default().begin(used, now)
    }

    /// Keeps a value for its keys if their webhooks are stored. Otherwise any keys can have it, unless another request
    /// has stored these.
    pub(super) fn end(&self, source: &Source, used: Use, is_stored: bool) {
        self.lock().entry(source.clone()).or_default().end(used, is_stored);
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
}

/// The keys that have a value.
#[derive(Clone, Copy, Debug)]
struct Taken {
    keys: Half,
    is_stored: bool,
}

impl Values {
    fn begin(&mut self, used: Use, now: Duration) -> bool {
        let is_over = now.saturating_sub(self.since) >= used.counts_for;
        if is_over || self.newer.len() >= MAX_VALUES / 2 {
            self.older = std::mem::take(&mut self.newer);
            self.since = now;
        }
        let Some(taken) = self.get(used) else {
            self.newer.insert(used.value, Taken { keys: used.keys, is_stored: false });
            return true;
        };
        taken.keys == used.keys
    }

    fn end(&mut self, used: Use, is_stored: bool) {
        let taken = self.get(used);
        if is_stored && taken.is_none_or(|taken| taken.keys == used.keys) {
            self.newer.insert(used.value, Taken { keys: used.keys, is_stored });
        } else if taken.is_some_and(|taken| taken.keys == used.keys && !taken.is_stored) {
            self.newer.remove(&used.value);
            self.older.remove(&used.value);
        }
    }

    fn get(&self, used: Use) -> Option<Taken> {
        self.newer.get(&used.value).or_else(|| self.older.get(&used.value)).copied()
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

    fn end(once: &Once, keys: &str, is_stored: bool) {
        once.end(&Source::default(), used("token", keys), is_stored);
    }

    #[test]
    fn other_keys_do_not_get_a_value_for_as_long_as_its_signature_counts() {
        let once = Once::default();
        assert!(gets(&once, "token", "a", 30));
        end(&once, "a", true);
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
    fn other_keys_get_a_value_whose_webhooks_were_not_stored() {
        let once = Once::default();
        assert!(gets(&once, "token", "a", 0));
        assert!(!gets(&once, "token", "b", 0), "the first request is being stored");
        end(&once, "a", false);
        assert!(gets(&once, "token", "b", 0));
    }

    #[test]
    fn a_value_is_kept_if_any_request_with_it_was_stored() {
        for first_is_stored in [true, false] {
            let once = Once::default();
            assert!(gets(&once, "token", "a", 0) && gets(&once, "token", "a", 0));
            end(&once, "a", first_is_stored);
            end(&once, "a", !first_is_stored);
            assert!(!gets(&once, "token", "b", 0), "{first_is_stored}");
        }
    }

    #[test]
    fn of_too_many_values_the_newer_ones_are_remembered() {
        let once = Once::default();
        for number in 0..=MAX_VALUES {
            assert!(gets(&once, &number.to_string(), "a", 0));
        }
        let sources = once.lock();
        let values = &sources[&Source::default()];
        assert!(values.newer.len() + values.older.len() <= MAX_VALUES);
        assert!(values.get(used(&(MAX_VALUES / 2).to_string(), "a")).is_some());
        assert!(values.get(used("0", "a")).is_none());
    }
}
