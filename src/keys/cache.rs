//! The keys that were fetched, those that could not be, and the fetches that run. Times are those of a monotonic clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::sources::{FetchedKeys, KeyAddress, KeyServer, Known};

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

/// The most fetches that run at a time.
const MAX_RUNNING: usize = 16;

/// How many keys that were never fetched before are fetched from one sender in a minute. All hosts of a sender count
/// together, because a request can name any of them.
const NEW_KEYS_PER_MINUTE: u32 = 30;

/// How many URLs are visited in a minute.
const VISITS_PER_MINUTE: u32 = 30;

const MINUTE: Duration = Duration::from_secs(60);

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<String, Entry>,
    /// A receiver whose sender is gone belongs to a fetch that is over.
    running: HashMap<String, watch::Receiver<()>>,
    new_keys: BTreeMap<KeyServer, Budget>,
    visits: Budget,
}

#[derive(Debug)]
struct Entry {
    /// None if they could not be fetched.
    keys: Option<Arc<FetchedKeys>>,
    fetched_at: Duration,
    asked_at: Duration,
    /// Until when nothing is asked again.
    until: Duration,
    /// Whether the server did not answer with keys when it was asked last.
    has_failed: bool,
}

/// How often something may happen in a minute.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    since: Duration,
    used: u32,
}

/// What to do about a key that is not known.
#[derive(Debug)]
pub(super) enum Begin {
    /// Wait for a fetch that runs.
    Join(watch::Receiver<()>),
    /// Fetch it, and drop the sender at the end.
    Fetch(watch::Sender<()>, watch::Receiver<()>),
    /// There are too many fetches.
    Refused,
}

impl Cache {
    /// What is known about a key.
    pub(super) fn look(&self, address: &KeyAddress, now: Duration) -> Known {
        let Some(entry) = self.entries.get(address.name()).filter(|entry| now < entry.until) else {
            return Known::Nothing;
        };
        match &entry.keys {
            None => Known::Unavailable,
            Some(keys) if address.is_in(keys) => Known::Keys(Arc::clone(keys)),
            Some(_) if now >= entry.asked_at + REFRESH_AFTER => Known::Nothing,
            Some(_) if entry.has_failed => Known::Unavailable,
            Some(keys) => Known::Keys(Arc::clone(keys)),
        }
    }

    /// Joins the fetch of a key, or begins it.
    pub(super) fn begin(&mut self, address: &KeyAddress, now: Duration) -> Begin {
        self.running.retain(|_, running| running.has_changed().is_ok());
        if let Some(running) = self.running.get(address.name()) {
            return Begin::Join(running.clone());
        }
        let was_there = self.entries.get(address.name()).is_some_and(|entry| entry.keys.is_some());
        if self.running.len() >= MAX_RUNNING || !(was_there || self.may_be_new(address.server(), now)) {
            return Begin::Refused;
        }
        let (ended, running) = watch::channel(());
        self.running.insert(address.name().to_owned(), running.clone());
        Begin::Fetch(ended, running)
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
                has_failed: false,
            },
            None => Entry {
                fetched_at: before.as_ref().map_or(now, |entry| entry.fetched_at),
                keys: before.and_then(|entry| entry.keys),
                asked_at: now,
                until: now + FAILED_FOR,
                has_failed: true,
            },
        };
        self.make_room(now);
        self.entries.insert(address.name().to_owned(), entry);
    }

    /// Whether another URL may be visited.
    pub(super) fn may_visit(&mut self, now: Duration) -> bool {
        self.visits.take(now, VISITS_PER_MINUTE)
    }

    fn may_be_new(&mut self, server: KeyServer, now: Duration) -> bool {
        self.new_keys.entry(server).or_default().take(now, NEW_KEYS_PER_MINUTE)
    }

    /// Removes what is of no use any more, and what was fetched first if that is not enough.
    fn make_room(&mut self, now: Duration) {
        self.entries
            .retain(|_, entry| now < entry.until || (entry.keys.is_some() && now < entry.fetched_at + STALE));
        while self.entries.len() >= MAX_ENTRIES {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.fetched_at);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { return };
            self.entries.remove(&name);
        }
    }
}

impl Budget {
    fn take(&mut self, now: Duration, of: u32) -> bool {
        if now.saturating_sub(self.since) >= MINUTE {
            *self = Self { since: now, used: 0 };
        }
        let is_left = self.used < of;
        self.used += u32::from(is_left);
        is_left
    }
}

#[cfg(test)]
mod tests;
