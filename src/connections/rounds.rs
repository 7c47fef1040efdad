//! Finds parts of answers that the client of a connection does not take in time. Time is counted in rounds.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

/// How long a round takes.
pub(super) const ROUND_TIME: Duration = Duration::from_secs(15);

/// When a part of an answer with reserved memory is due, in rounds: after 30 to 45 seconds.
pub(super) const LARGE_ROUNDS: usize = 3;

/// When a part of any other answer is due, in rounds: after nearly 5 minutes. A client that reads the answers of a
/// stream one by one may be slow, and they take little memory.
pub(super) const SMALL_ROUNDS: usize = 20;

/// How many rounds are told apart.
const ROUNDS: usize = SMALL_ROUNDS + 1;

/// The parts of answers that were handed out and not taken yet.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The current round.
    number: AtomicUsize,
    /// How many parts are due when a round begins, by its number modulo [`ROUNDS`].
    untaken: [AtomicU32; ROUNDS],
}

/// When a part is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due(usize);

impl Rounds {
    /// Notes that a part is handed out, and is due after so many rounds.
    pub(super) fn hand_out(&self, rounds: usize) -> Due {
        let due = (self.number.load(Ordering::Relaxed) + rounds) % ROUNDS;
        self.untaken[due].fetch_add(1, Ordering::Relaxed);
        Due(due)
    }

    /// Notes that a part was taken.
    pub(super) fn taken(&self, due: Due) {
        self.untaken[due.0].fetch_sub(1, Ordering::Relaxed);
    }

    /// Begins the next round. Returns false if a part is overdue.
    pub(super) fn next(&self) -> bool {
        let next = self.number.load(Ordering::Relaxed) + 1;
        if self.untaken[next % ROUNDS].load(Ordering::Relaxed) > 0 {
            return false;
        }
        self.number.store(next, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_not_taken_is_overdue_after_its_rounds() {
        for rounds in [LARGE_ROUNDS, SMALL_ROUNDS] {
            let all = Rounds::default();
            assert!(all.next());
            let part = all.hand_out(rounds);
            for round in 1..rounds {
                assert!(all.next(), "round {round} of {rounds}");
                all.taken(all.hand_out(rounds));
            }
            assert!(!all.next() && !all.next());
            all.taken(part);
            assert!(all.next());
        }
    }
}
