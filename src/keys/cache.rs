//! The keys that were fetched, those that could not be, and the fetches that run. Times are those of a monotonic clock.

mod turns;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::sync::watch;

use self::turns::{Budget, Turns};
use crate::domain::webhook::Source;
use crate::sources::{FetchedKeys, KeyAddress, Known};

/// How long a key is used before it is fetched again: as `Cache-Control` says, but within these limits, and `LONGEST`
/// without it.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How long after it was fetched a key is used while it cannot be fetched again.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a key that could not be fetched is not tried again.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// How old a set of keys is at least when it is fetched again because a key is not in it.
const REFRESH_AFTER: Duration = Duration::from_secs(60);

/// The most keys and failures that are remembered.
const MAX_ENTRIES: usize = 512;

/// The most fetches that run at a time: each takes a socket. If no server answers, 18 of them can be for new keys of one
/// source.
const MAX_RUNNING: usize = 48;

/// How many URLs are visited at once, and after which time one more.
const VISITS_AT_ONCE: u32 = 30;
const VISIT_INTERVAL: Duration = Duration::from_secs(2);

/// What is remembered.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<String, Entry>,
    /// A receiver whose sender is gone belongs to a fetch that is over.
    running: HashMap<String, watch::Receiver<()>>,
    /// Of sources whose requests named new keys lately.
    turns: HashMap<Source, Turns>,
    visits: Budget,
    random: SmallRng,
}

#[derive(Debug)]
struct Entry {
    /// None if they could not be fetched.
    keys: Option<Arc<FetchedKeys>>,
    fetched_at: Duration,
    asked_at: Duration,
    /// Until when nothing is asked again.
    until: Duration,
}

/// What to do about a key that is not known.
#[derive(Debug)]
pub(super) struct Begin {
    /// The keys to fetch now. The sender of each is dropped at the end of its fetch.
    pub(super) fetches: Vec<(KeyAddress, watch::Sender<()>)>,
    /// The fetch of the key itself, to wait for. None if other keys are fetched first; it may still be fetched when the
    /// next request comes.
    pub(super) running: Option<watch::Receiver<()>>,
}

impl Cache {
    /// A cache that knows no keys. `seed` decides the draws.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            entries: HashMap::new(),
            running: HashMap::new(),
            turns: HashMap::new(),
            visits: Budget::default(),
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// What is known about a key.
    pub(super) fn look(&self, address: &KeyAddress, now: Duration) -> Known {
        let Some(entry) = self.entries.get(address.name()).filter(|entry| now < entry.until) else {
            return Known::Nothing;
        };
        match &entry.keys {
            None => Known::Unavailable,
            Some(keys) if address.is_in(keys) => Known::Keys(Arc::clone(keys)),
            Some(_) if now >= entry.asked_at + REFRESH_AFTER => Known::Nothing,
            // The sender may have begun to use the key since the set was fetched.
            Some(_) => Known::Unavailable,
        }
    }

    /// Joins the fetch of a key that a request of a source needs, or begins the fetches whose turn it is.
    pub(super) fn begin(&mut self, source: &Source, address: &KeyAddress, now: Duration) -> Begin {
        self.running.retain(|_, running| running.has_changed().is_ok());
        let mut fetches = Vec::new();
        if !self.running.contains_key(address.name()) {
            for next in self.next(source, address, now) {
                for turns in self.turns.values_mut() {
                    turns.forget(&next);
                }
                let (ended, running) = watch::channel(());
                self.running.insert(next.name().to_owned(), running);
                fetches.push((next, ended));
            }
        }
        Begin { fetches, running: self.running.get(address.name()).cloned() }
    }

    /// The keys to fetch next: this one, if its server has answered with it before, or new ones.
    fn next(&mut self, source: &Source, address: &KeyAddress, now: Duration) -> Vec<KeyAddress> {
        let most = MAX_RUNNING.saturating_sub(self.running.len());
        let was_there = self.entries.get(address.name()).is_some_and(|entry| entry.keys.is_some());
        if was_there {
            return if most > 0 { vec![address.clone()] } else { Vec::new() };
        }
        self.turns.retain(|_, turns| !turns.are_over(now));
        let turns = self.turns.entry(source.clone()).or_default();
        turns.next(address, most, now, &mut self.random)
    }

    /// Remembers what a fetch has brought: keys, and how long they may be used, if the server says it; none if it
    /// failed.
    pub(super) fn end(
        &mut self,
        address: &KeyAddress,
        now: Duration,
        fetched: Option<(Arc<FetchedKeys>, Option<Duration>)>,
    ) {
        self.running.remove(address.name());
        let before = self.entries.remove(address.name()).filter(|entry| now < entry.fetched_at + STALE);
        let entry = match fetched {
            Some((keys, max_age)) => Entry {
                keys: Some(keys),
                fetched_at: now,
                asked_at: now,
                until: now + max_age.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST),
            },
            None => Entry {
                fetched_at: before.as_ref().map_or(now, |entry| entry.fetched_at),
                keys: before.and_then(|entry| entry.keys),
                asked_at: now,
                until: now + FAILED_FOR,
            },
        };
        self.make_room(now);
        self.entries.insert(address.name().to_owned(), entry);
    }

    /// Whether another URL may be visited.
    pub(super) fn may_visit(&mut self, now: Duration) -> bool {
        self.visits.take(now, VISITS_AT_ONCE, VISIT_INTERVAL)
    }

    /// Removes what is of no use any more; if that is not enough, failures, and what was fetched first.
    fn make_room(&mut self, now: Duration) {
        self.entries
            .retain(|_, entry| now < entry.until || (entry.keys.is_some() && now < entry.fetched_at + STALE));
        while self.entries.len() >= MAX_ENTRIES {
            let worth = |entry: &Entry| (entry.keys.is_some(), entry.fetched_at);
            let oldest = self.entries.iter().min_by_key(|(_, entry)| worth(entry));
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { return };
            self.entries.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests;
