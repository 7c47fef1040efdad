//! Webhook ids: UUIDv7 whose time and counter grow with every id that a process makes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use rand::{Rng, RngExt};
use uuid::Uuid;

use super::error::{Error, Result};
use super::time::next_millisecond;

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

    /// The place before every id.
    pub const FIRST: Self = Self(Uuid::nil());

    /// The place before every id that is made at this time or later.
    pub fn before_all(time: Timestamp) -> Self {
        Self(Position::before_all(Sequence::first_at(time)).0)
    }

    /// The place before every id that was made less than `by` before this one; the id itself if `by` is zero.
    pub fn earlier(self, by: Duration) -> Self {
        if by.is_zero() {
            return self;
        }
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let time = self.time().as_millisecond().saturating_sub(by);
        Self::before_all(Timestamp::from_millisecond(time).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The time in the id, in whole milliseconds.
    pub fn time(&self) -> Timestamp {
        self.sequence().time()
    }

    /// The milliseconds since the epoch and the 12-bit counter within the millisecond, as one number.
    /// One [`WebhookIds`] never makes two ids with the same sequence.
    pub fn sequence(&self) -> Sequence {
        let high = self.0.as_u64_pair().0;
        // 48 bits of time, 4 bits of version, 12 bits of counter; the version is removed.
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
            .map_err(|_| Error::invalid("id", "must be the UUID from the response that accepted the webhook"))
    }
}

/// The time and counter of an id: 60 bits that order the webhooks of one process by acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(u64);

const COUNTER_BITS: u32 = 12;
const COUNTER_MASK: u64 = (1 << COUNTER_BITS) - 1;
/// The version of a UUIDv7, at its place in the first 64 bits.
const VERSION: u64 = 7 << COUNTER_BITS;

impl Sequence {
    /// The first sequence at or after a time; negative times count as the epoch.
    pub fn first_at(time: Timestamp) -> Self {
        Self(u64::try_from(next_millisecond(time)).unwrap_or(0) << COUNTER_BITS)
    }

    /// The time in the sequence, in whole milliseconds.
    pub fn time(self) -> Timestamp {
        let milliseconds = self.0 >> COUNTER_BITS;
        Timestamp::from_millisecond(milliseconds.cast_signed()).unwrap_or(Timestamp::MAX)
    }

    /// The sequence as a database stores it. 60 bits always fit.
    pub fn as_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// The sequence from a database.
    pub fn from_i64(value: i64) -> Self {
        Self(value.cast_unsigned())
    }
}

/// A place between two ids, at which a page of a list begins. Lists go from newer to older ids, so the page
/// has the ids that are smaller. Clients get it as a page token. It has a whole id, not a sequence, because
/// several processes can make the same sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(Uuid);

impl Position {
    /// The place after every id, where the first page begins.
    pub const END: Self = Self(Uuid::max());

    /// The place right before `id`.
    pub fn before(id: WebhookId) -> Self {
        Self(id.0)
    }

    /// The place right before every id with `sequence`.
    pub fn before_all(sequence: Sequence) -> Self {
        let (milliseconds, counter) = (sequence.0 >> COUNTER_BITS, sequence.0 & COUNTER_MASK);
        Self(Uuid::from_u64_pair(milliseconds << 16 | VERSION | counter, 0))
    }

    /// The position as 16 bytes, which compare as ids do.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The sequence of the id that comes right after this position.
    pub fn sequence(&self) -> Sequence {
        WebhookId(self.0).sequence()
    }

    /// The time in the id that comes right after this position. Ids after the position have this time or a later one.
    pub fn time(&self) -> Timestamp {
        WebhookId(self.0).time()
    }
}

impl fmt::Display for Position {
    /// The page token: 32 hex digits without hyphens.
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
            .ok_or_else(|| Error::invalid("page_token", "must be the `next_page_token` of the previous page"))
    }
}

/// Makes ids with the counter of RFC 9562, section 6.2, method 1. If the 4,096 ids of a millisecond are used
/// up, or the clock goes back, the ids run ahead of the clock.
#[derive(Debug)]
pub struct WebhookIds<R> {
    last: Sequence,
    random: R,
}

impl<R: Rng> WebhookIds<R> {
    /// Makes ids later than `last`, the latest sequence in use.
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
        assert_eq!((before_all.time(), Position::before(first).time()), (now, now));
        assert_eq!(before_all.to_string().parse::<Position>().expect("parses"), before_all);
        assert!(second.to_string().parse::<Position>().is_err(), "an id is no token");
    }

    #[test]
    fn an_earlier_place_is_before_every_id_of_its_time() {
        let mut ids = ids(0);
        let at = |milliseconds: i64| Timestamp::from_millisecond(1_733_063_400_000 + milliseconds);
        let [first, second, third] = [0, 100, 200].map(|time| ids.next(at(time).expect("in range")));
        assert_eq!(third.earlier(Duration::ZERO), third);
        let place = third.earlier(Duration::from_millis(100));
        assert!(first < place && place < second);
        assert_eq!(WebhookId::before_all(second.time()), place);
        assert!(third.earlier(Duration::MAX) < first);
        assert!(WebhookId::FIRST < first && WebhookId::FIRST.earlier(Duration::from_secs(1)) < first);
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
