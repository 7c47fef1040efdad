//! Webhook ids: UUIDv7 whose first 60 bits grow with every id of a process.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rand::{Rng, RngExt};
use uuid::Uuid;

use super::error::{Error, Result};

/// The id of a webhook: a UUIDv7 (RFC 9562, section 5.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookId(Uuid);

impl WebhookId {
    /// An id from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The id as 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The time that the id carries.
    pub fn time(&self) -> Timestamp {
        let milliseconds = self.sequence().0 >> COUNTER_BITS;
        Timestamp::from_millisecond(milliseconds.cast_signed()).unwrap_or(Timestamp::MAX)
    }

    /// Milliseconds since the epoch and the 12-bit counter within them, as one number.
    /// Of one [`WebhookIds`] no two ids have the same.
    pub fn sequence(&self) -> Sequence {
        let high = self.0.as_u64_pair().0;
        // 48 bits of time, 4 of version, 12 of counter: the version is cut out.
        Sequence(((high >> 16) << COUNTER_BITS) | (high & COUNTER_MASK))
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for WebhookId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| Error::invalid("id", "must be a UUID, as the acceptance answered it"))
    }
}

/// The first 60 bits of an id without its version: the order of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(u64);

const COUNTER_BITS: u32 = 12;
const COUNTER_MASK: u64 = (1 << COUNTER_BITS) - 1;
/// The version of a UUIDv7, where it is in the first half.
const VERSION: u64 = 7 << COUNTER_BITS;

impl Sequence {
    /// The first sequence of a millisecond; negative times count as the epoch.
    pub fn first_at(time: Timestamp) -> Self {
        Self(u64::try_from(time.as_millisecond()).unwrap_or(0) << COUNTER_BITS)
    }

    /// As a database keeps it. 60 bits always fit.
    pub fn as_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// Back from a database.
    pub fn from_i64(value: i64) -> Self {
        Self(value.cast_unsigned())
    }
}

/// A place between two ids, where a page of a list begins: what comes next is smaller. A token for
/// clients; ids are unique even where several processes make them, sequences are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(Uuid);

impl Position {
    /// After every id.
    pub const END: Self = Self(Uuid::max());

    /// Right before `id`.
    pub fn before(id: WebhookId) -> Self {
        Self(id.0)
    }

    /// Right before every id of `sequence` and of those after it.
    pub fn before_all(sequence: Sequence) -> Self {
        let (milliseconds, counter) = (sequence.0 >> COUNTER_BITS, sequence.0 & COUNTER_MASK);
        Self(Uuid::from_u64_pair(milliseconds << 16 | VERSION | counter, 0))
    }

    /// As 16 bytes, in the order of ids.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The sequence of the id that it is before.
    pub fn sequence(&self) -> Sequence {
        WebhookId(self.0).sequence()
    }
}

impl fmt::Display for Position {
    /// As a page token writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(token: &str) -> Result<Self> {
        Uuid::try_parse(token)
            .ok()
            .filter(|_| token.len() == 32)
            .map(Self)
            .ok_or_else(|| Error::invalid("page_token", "must be the `next_page_token` of the page before"))
    }
}

/// Makes ids. The counter of RFC 9562, section 6.2, method 1; when 4,096 ids of one millisecond
/// are used up, or the clock goes back, it goes on counting ahead of the clock.
#[derive(Debug)]
pub struct WebhookIds<R> {
    last: Sequence,
    random: R,
}

impl<R: Rng> WebhookIds<R> {
    /// Makes ids later than `last`, the latest one in use.
    pub fn after(last: Sequence, random: R) -> Self {
        Self { last, random }
    }

    /// The next id.
    pub fn next(&mut self, now: Timestamp) -> WebhookId {
        let next = Sequence::first_at(now).0.max(self.last.0 + 1);
        self.last = Sequence(next);
        let mut tail: [u8; 10] = self.random.random();
        let counter = next & COUNTER_MASK;
        tail[0] = (counter >> 8) as u8;
        tail[1] = (counter & 0xff) as u8;
        WebhookId(uuid::Builder::from_unix_timestamp_millis(next >> COUNTER_BITS, &tail).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn ids(last: i64) -> WebhookIds<SmallRng> {
        WebhookIds::after(Sequence::from_i64(last), SmallRng::seed_from_u64(7))
    }

    #[test]
    fn ids_are_uuid_v7_of_the_time_they_were_made() {
        let now = Timestamp::from_millisecond(1_733_063_400_123).expect("in range");
        let id = ids(0).next(now);
        assert_eq!(id.0.get_version_num(), 7);
        assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(id.sequence(), Sequence::first_at(now));
        assert_eq!(id.to_string().parse::<WebhookId>().expect("parses"), id);
    }

    #[test]
    fn a_position_lies_right_before_its_id_or_its_sequence() {
        let mut ids = ids(0);
        let now = Timestamp::from_millisecond(1_733_063_400_123).expect("in range");
        let (first, second) = (ids.next(now), ids.next(now));
        assert_eq!(Position::before(second).as_bytes(), second.as_bytes());
        let before_all = Position::before_all(second.sequence());
        assert!(before_all.as_bytes() <= second.as_bytes() && before_all.as_bytes() > first.as_bytes());
        assert_eq!(before_all.sequence(), second.sequence());
        assert_eq!(before_all.to_string().parse::<Position>().expect("parses"), before_all);
        assert!(second.to_string().parse::<Position>().is_err(), "an id is no token");
    }

    #[test]
    fn ids_grow_when_a_millisecond_is_full_and_when_the_clock_goes_back() {
        let mut ids = ids(0);
        let now = Timestamp::from_millisecond(1_733_063_400_123).expect("in range");
        let earlier = Timestamp::from_millisecond(1_733_063_000_000).expect("in range");
        let mut last = ids.next(now);
        for step in 0..10_000 {
            let next = ids.next(if step % 2 == 0 { now } else { earlier });
            assert!(next.sequence() > last.sequence());
            assert!(next > last, "ids sort as they were made");
            last = next;
        }
    }
}
