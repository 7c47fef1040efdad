//! The places of the open connections, and which of them gives way to a new one.

mod stopping;
mod waiting;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Connection;

/// How many connections are found at once that give way, if none is silent. Looking at all of them for every new
/// connection would take too long. While hookbox still waits for the clients of those that are found, others that become
/// idle do not give way.
const FOUND_AT_ONCE: usize = 64;

/// How long a new connection has to send its first request. Before that, others give way first, so that a client that
/// has just connected is not closed by a flood of new connections.
const FIRST_MOMENT: Duration = Duration::from_secs(1);

/// The share of the limit, as a divisor, that silent connections may hold in their first moment. Beyond it the oldest
/// gives way, so that a flood does not close connections that clients keep for their next request.
const SILENT_SHARE: usize = 8;

/// How long to wait between two warnings about the limit.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How little a connection is worth: the least gives way first. Two connections never have the same.
pub(super) type Rank = (u8, u64);

/// Closes a connection when it is dropped.
type Closer = oneshot::Sender<Infallible>;

/// The open connections, at most `limit`.
#[derive(Debug)]
pub(super) struct Places {
    limit: usize,
    next: u64,
    connections: HashMap<u64, (Connection, Closer)>,
    /// Those that have sent no request, and when they were accepted. The smallest number is the one that is silent for
    /// longest.
    silent: BTreeMap<u64, Instant>,
    /// Those that do least of the others, as of the last look at all. The least is the last.
    least: Vec<(Rank, u64)>,
    /// Connections that had to give way or were refused, and were not told of yet.
    untold: usize,
    told: Option<Instant>,
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            next: 0,
            connections: HashMap::new(),
            silent: BTreeMap::new(),
            least: Vec::new(),
            untold: 0,
            told: None,
        }
    }

    /// The number of a new connection. At the limit, another one gives way; none if no connection may.
    pub(super) fn find(&mut self, now: Instant) -> Option<u64> {
        if self.connections.len() >= self.limit {
            self.tell(now);
            let gives_way =
                self.silent_too_long(now).or_else(|| self.least_busy()).or_else(|| self.longest_silent())?;
            self.free(gives_way);
        }
        let number = self.next;
        self.next += 1;
        Some(number)
    }

    /// Gives the connection its place. The receiver is ready when it has to give way.
    pub(super) fn take(
        &mut self,
        number: u64,
        connection: Connection,
        now: Instant,
    ) -> oneshot::Receiver<Infallible> {
        let (closer, closed) = oneshot::channel();
        self.connections.insert(number, (connection, closer));
        self.silent.insert(number, now);
        closed
    }

    /// Notes that a connection has sent its first request.
    pub(super) fn has_asked(&mut self, number: u64) {
        self.silent.remove(&number);
    }

    /// Notes that a connection is closed.
    pub(super) fn free(&mut self, number: u64) {
        self.connections.remove(&number);
        self.silent.remove(&number);
    }

    /// The connection that is silent for longest, unless this is its first moment.
    fn silent_too_long(&self, now: Instant) -> Option<u64> {
        let (number, accepted) = self.silent.first_key_value()?;
        let is_first_moment = now.duration_since(*accepted) < FIRST_MOMENT;
        let is_first_moment = is_first_moment && self.silent.len() <= self.limit / SILENT_SHARE;
        (!is_first_moment).then_some(*number)
    }

    fn longest_silent(&self) -> Option<u64> {
        self.silent.first_key_value().map(|(number, _)| *number)
    }

    /// The connection that does least of those that have sent a request. None if hookbox works on a request of each of
    /// them.
    fn least_busy(&mut self) -> Option<u64> {
        self.least_found().or_else(|| {
            self.look();
            self.least_found()
        })
    }

    /// The least of those that were found before and did nothing since. A connection that became idle after the
    /// look is worth more than those that were idle then.
    fn least_found(&mut self) -> Option<u64> {
        while let Some((rank, number)) = self.least.pop() {
            let connection = self.connections.get(&number);
            if connection.is_some_and(|(connection, _)| connection.rank() == Some(rank)) {
                return Some(number);
            }
        }
        None
    }

    /// Looks at all connections.
    fn look(&mut self) {
        let asked = self.connections.iter().filter(|(number, _)| !self.silent.contains_key(number));
        let ranked = asked.filter_map(|(number, (connection, _))| {
            let rank = connection.rank()?;
            Some((rank, *number))
        });
        self.least = ranked.collect();
        self.least.sort_unstable();
        // Once these have given way, there may be others in the first tier.
        let first_tier = self.least.first().map(|((tier, _), _)| *tier);
        self.least.retain(|((tier, _), _)| Some(*tier) == first_tier);
        self.least.truncate(FOUND_AT_ONCE);
        self.least.reverse();
    }

    /// Warns that the limit is reached, but not for each connection.
    fn tell(&mut self, now: Instant) {
        self.untold += 1;
        if self.told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY) {
            tracing::warn!(
                connections = self.limit,
                closed = self.untold,
                "the connection limit is reached; closing connections that hookbox does not work for"
            );
            (self.untold, self.told) = (0, Some(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::{Connections, Place};

    const CLIENT: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// More connections than are found at once.
    const LIMIT: usize = 200;

    struct Admitted {
        _place: Place,
        connection: Connection,
        closed: oneshot::Receiver<Infallible>,
    }

    impl Admitted {
        fn is_closed(&mut self) -> bool {
            self.closed.try_recv() == Err(oneshot::error::TryRecvError::Closed)
        }

        /// Sends a request and is answered.
        fn asks(&self) {
            drop(self.connection.begin());
        }
    }

    fn admit(connections: &Connections) -> Admitted {
        admit_at(connections, Instant::now())
    }

    fn admit_at(connections: &Connections, now: Instant) -> Admitted {
        let (place, connection, closed) = connections.admit(CLIENT, now).expect("a place");
        Admitted { _place: place, connection, closed }
    }

    fn count_closed(admitted: &mut [Admitted]) -> usize {
        admitted.iter_mut().filter_map(|admitted| admitted.is_closed().then_some(())).count()
    }

    #[tokio::test]
    async fn the_longest_idle_connection_gives_way_first() {
        let connections = Connections::new(LIMIT);
        let mut first: Vec<_> = (0..LIMIT).map(|_| admit(&connections)).collect();
        // The last one is idle for longest.
        first.iter().rev().for_each(Admitted::asks);
        let mut later = Vec::new();
        while let Some(mut idle_for_longest) = first.pop() {
            assert!(!idle_for_longest.is_closed());
            let new = admit(&connections);
            new.asks();
            later.push(new);
            assert!(idle_for_longest.is_closed(), "beside {} others", first.len());
        }
        assert!(!later.iter_mut().any(Admitted::is_closed));
    }

    #[tokio::test]
    async fn a_silent_connection_gives_way_before_idle_ones_that_were_found_earlier() {
        let connections = Connections::new(3);
        let mut idle = [admit(&connections), admit(&connections), admit(&connections)];
        idle.iter().for_each(Admitted::asks);
        let mut silent = admit(&connections);
        assert!(idle[0].is_closed());
        let _new = admit(&connections);
        assert!(silent.is_closed() && !idle[1].is_closed() && !idle[2].is_closed());
    }

    #[tokio::test]
    async fn a_connection_that_was_just_accepted_is_kept_for_a_moment() {
        let (connections, now) = (Connections::new(LIMIT), Instant::now());
        let mut arriving: Vec<_> = (0..LIMIT - 1).map(|_| admit_at(&connections, now)).collect();
        let _requests: Vec<_> = arriving.iter().map(|admitted| admitted.connection.begin()).collect();
        let mut silent = admit_at(&connections, now);
        let flood: Vec<_> = (1..LIMIT / SILENT_SHARE).map(|_| admit_at(&connections, now)).collect();
        assert!(!silent.is_closed());
        assert_eq!(count_closed(&mut arriving), flood.len());
        let _new = admit_at(&connections, now + FIRST_MOMENT);
        assert!(silent.is_closed(), "its moment is over");
    }

    #[tokio::test]
    async fn a_flood_of_silent_connections_closes_few_others() {
        let (connections, now) = (Connections::new(LIMIT), Instant::now());
        let mut idle: Vec<_> = (0..LIMIT).map(|_| admit_at(&connections, now)).collect();
        idle.iter().for_each(Admitted::asks);
        let _flood: Vec<_> = (0..10 * LIMIT).map(|_| admit_at(&connections, now)).collect();
        assert_eq!(count_closed(&mut idle), LIMIT / SILENT_SHARE + 1);
    }

    #[tokio::test]
    async fn an_idle_connection_that_was_found_and_became_busy_does_not_give_way() {
        let connections = Connections::new(3);
        let mut idle = [admit(&connections), admit(&connections), admit(&connections)];
        idle.iter().for_each(Admitted::asks);
        let new = admit(&connections);
        assert!(idle[0].is_closed());
        new.asks();
        idle[1].asks();
        let _newer = admit(&connections);
        assert!(idle[2].is_closed() && !idle[1].is_closed());
    }
}
