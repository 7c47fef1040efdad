//! Which keys are fetched next when the requests of a source name more new keys than may be fetched.
//!
//! Only a fetch tells a made-up key from a genuine one. So the next key is drawn at random from those that were named
//! lately: the timing of forged requests does not matter, only their number lowers the chance of a genuine key.

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::sources::KeyAddress;

/// How many new keys of a source are fetched at once, and after which time one more.
pub(super) const AT_ONCE: u32 = 8;
pub(super) const INTERVAL: Duration = Duration::from_millis(500);

/// How long a key takes part in the draw after it was named. Shorter than the budget takes to be whole again.
const WANTED_FOR: Duration = Duration::from_secs(2);

/// The most keys in the draw of a source.
const MAX_WANTED: usize = 256;

/// The turns of the new keys of a source.
#[derive(Debug, Default)]
pub(super) struct Turns {
    budget: Budget,
    wanted: Vec<Wanted>,
}

#[derive(Debug)]
struct Wanted {
    address: KeyAddress,
    until: Duration,
}

/// How often something may happen: a number of times at once, and after that evenly.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    /// When nothing of it is used any more.
    whole_at: Duration,
}

impl Turns {
    /// Adds a key to the draw, and draws those that are fetched next, at most `most`.
    pub(super) fn next(
        &mut self,
        address: &KeyAddress,
        most: usize,
        now: Duration,
        random: &mut impl Rng,
    ) -> Vec<KeyAddress> {
        self.wanted.retain(|wanted| now < wanted.until && wanted.address.name() != address.name());
        if self.wanted.len() >= MAX_WANTED {
            self.draw(random);
        }
        self.wanted.push(Wanted { address: address.clone(), until: now + WANTED_FOR });
        let mut drawn = Vec::new();
        while !self.wanted.is_empty() && drawn.len() < most && self.budget.take(now, AT_ONCE, INTERVAL) {
            drawn.push(self.draw(random));
        }
        drawn
    }

    /// Takes a key that is being fetched for another source out of the draw.
    pub(super) fn forget(&mut self, address: &KeyAddress) {
        self.wanted.retain(|wanted| wanted.address.name() != address.name());
    }

    /// Whether no key was drawn lately: then none waits either.
    pub(super) fn are_over(&self, now: Duration) -> bool {
        self.budget.whole_at <= now
    }

    /// There must be a key in the draw.
    fn draw(&mut self, random: &mut impl Rng) -> KeyAddress {
        let index = random.random_range(..self.wanted.len());
        self.wanted.swap_remove(index).address
    }
}

impl Budget {
    /// Uses one time, if it is left.
    pub(super) fn take(&mut self, now: Duration, at_once: u32, interval: Duration) -> bool {
        let used = self.whole_at.saturating_sub(now) + interval;
        let is_left = used <= interval * at_once;
        if is_left {
            self.whole_at = now + used;
        }
        is_left
    }
}
